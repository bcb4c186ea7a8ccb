package send

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Template is a text with placeholders, which are filled in anew for each record:
//
//	{n}            the number of the record, from 1
//	{uuid}         a random UUID
//	{now}          the time, as in RFC 3339 with milliseconds, in UTC
//	{choice a b c} one of the words, by chance
//
// {{ is a brace. Any other brace stands for itself, so that JSON can be written as it is.
type Template struct {
	parts []func(dst []byte, n int64) []byte
}

// ParseTemplate reads a template. A placeholder that does not exist is an error, because it
// would otherwise be written into every record.
func ParseTemplate(text string) (*Template, error) {
	t := &Template{}
	literal := func(s string) {
		if s != "" {
			t.parts = append(t.parts, func(dst []byte, _ int64) []byte { return append(dst, s...) })
		}
	}
	for {
		at := strings.IndexByte(text, '{')
		if at < 0 {
			literal(text)
			return t, nil
		}
		literal(text[:at])
		text = text[at:]
		inside, rest, closed := strings.Cut(text[1:], "}")
		word, arguments, _ := strings.Cut(inside, " ")
		switch {
		case strings.HasPrefix(text, "{{"):
			literal("{")
			text = text[2:]
		case closed && isWord(word):
			part, err := placeholder(word, strings.Fields(arguments))
			if err != nil {
				return nil, err
			}
			t.parts = append(t.parts, part)
			text = rest
		default:
			literal("{")
			text = text[1:]
		}
	}
}

// isWord reports whether s could name a placeholder: small letters only. JSON has no
// such word right behind a brace.
func isWord(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < 'a' || r > 'z' }) < 0
}

func placeholder(word string, arguments []string) (func([]byte, int64) []byte, error) {
	if len(arguments) > 0 && (word == "n" || word == "uuid" || word == "now") {
		return nil, fmt.Errorf("the placeholder {%s} takes nothing behind its name", word)
	}
	switch word {
	case "n":
		return func(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }, nil
	case "uuid":
		return func(dst []byte, _ int64) []byte { return append(dst, UUID()...) }, nil
	case "now":
		return func(dst []byte, _ int64) []byte {
			return time.Now().UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		}, nil
	case "choice":
		if len(arguments) == 0 {
			return nil, errors.New("the placeholder {choice} needs words to choose from: {choice a b c}")
		}
		return func(dst []byte, _ int64) []byte {
			return append(dst, arguments[mathrand.IntN(len(arguments))]...)
		}, nil
	}
	return nil, fmt.Errorf("the placeholder {%s} is unknown: there are {n}, {uuid}, {now} and {choice a b c}; write {{ for a brace", word)
}

// UUID is a random UUID (version 4).
func UUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Append appends the text of record n.
func (t *Template) Append(dst []byte, n int64) []byte {
	for _, part := range t.parts {
		dst = part(dst, n)
	}
	return dst
}

// Templates is an input of generated records. Its texts are templates, in turn, and so are
// the key and the values of the headers.
type Templates struct {
	how     Text
	texts   []*Template
	key     *Template // nil for none
	headers []*Template
	next    int64 // record
	last    int64
	pace    *pace // nil for as fast as possible
}

// NewTemplates makes count records from texts, at most rate a second; 0 is as fast as
// possible. Their numbers begin at first.
func NewTemplates(how Text, texts []string, first, count int64, rate float64) (*Templates, error) {
	t := &Templates{how: how, next: first, last: first + count - 1}
	if rate > 0 {
		t.pace = newPace(rate)
	}
	parse := func(text []byte) (*Template, error) { return ParseTemplate(string(text)) }
	for _, text := range texts {
		parsed, err := ParseTemplate(text)
		if err != nil {
			return nil, err
		}
		t.texts = append(t.texts, parsed)
	}
	if how.Key != nil {
		parsed, err := parse(how.Key)
		if err != nil {
			return nil, fmt.Errorf("the key: %w", err)
		}
		t.key = parsed
	}
	for _, h := range how.Headers {
		parsed, err := parse(h.Value)
		if err != nil {
			return nil, fmt.Errorf("the header %q: %w", h.Key, err)
		}
		t.headers = append(t.headers, parsed)
	}
	return t, nil
}

// Unit implements Input.
func (t *Templates) Unit() string { return "record" }

// together is how many generated records are sent together at most.
const together = 256

// Next implements Input.
func (t *Templates) Next(ctx context.Context) (*Batch, error) {
	n := int(min(t.last-t.next+1, together))
	if n <= 0 {
		return nil, io.EOF
	}
	if t.pace != nil {
		var err error
		if n, err = t.pace.take(ctx, n); err != nil {
			return nil, err
		}
	}
	b := &Batch{Records: make([]kgo.Record, n), First: t.next}
	for i := range b.Records {
		if err := t.record(&b.Records[i], t.next); err != nil {
			return nil, fmt.Errorf("record %d: %w", t.next, err)
		}
		t.next++
	}
	return b, nil
}

func (t *Templates) record(r *kgo.Record, n int64) error {
	how := t.how
	if t.key != nil {
		how.Key = t.key.Append([]byte{}, n)
	}
	if len(t.headers) > 0 {
		how.Headers = make([]kgo.RecordHeader, len(t.headers))
		for i, h := range t.how.Headers {
			if how.Headers[i].Key = h.Key; h.Value != nil {
				how.Headers[i].Value = t.headers[i].Append([]byte{}, n)
			}
		}
	}
	return how.Record(t.texts[(n-1)%int64(len(t.texts))].Append([]byte{}, n), r)
}

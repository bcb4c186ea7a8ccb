package send_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/send"
)

// FuzzJSON writes a record as weir messages does and reads it as weir send does; and it reads any line.
func FuzzJSON(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "name", []byte("x"), int64(1730176462123), `{"value":"a"}`)
	f.Add([]byte{}, []byte("\xff\x00"), "\xff", []byte{}, int64(-1), `{"value":null,"key_base64":"AA=="}`)
	f.Add([]byte("\u2028"), []byte(nil), "", []byte("\ufffd"), int64(0), `{"value":"a","time":"2026-01-01T00:00:00Z"} x`)
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, ms int64, line string) {
		ms %= 9_000_000_000_000
		m := inspect.Message{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: name, Value: header}}, Timestamp: time.UnixMilli(ms)}
		text, err := json.Marshal(m.Wire(0))
		if err != nil {
			t.Fatal(err)
		}
		var r kgo.Record
		if skip, err := (&send.JSON{Partition: -1}).Record(text, &r); err != nil || skip {
			t.Fatalf("%s: %v", text, err)
		}
		if !bytes.Equal(r.Key, key) || !bytes.Equal(r.Value, value) || r.Headers[0].Key != name || !bytes.Equal(r.Headers[0].Value, header) || r.Timestamp.UnixMilli() != ms {
			t.Errorf("%s is read as %+v", text, r)
		}
		if skip, err := (&send.JSON{Partition: -1}).Record([]byte(line), &r); err == nil && !skip && !json.Valid([]byte(line)) {
			t.Errorf("%q is taken, and is not JSON", line)
		}
	})
}

// FuzzTemplate fills templates of any text. One whose braces are doubled comes out as the text.
func FuzzTemplate(f *testing.F) {
	f.Add(`{"a":{n},"b":"{uuid}"}`)
	f.Add("{choice a b} {{ {now} {")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := send.ParseTemplate(text); err == nil {
			if got := parsed.Append(nil, 1<<62); !strings.Contains(text, "{") && string(got) != text {
				t.Errorf("%q becomes %q", text, got)
			}
		}
		parsed, err := send.ParseTemplate(strings.ReplaceAll(text, "{", "{{"))
		if err != nil || string(parsed.Append([]byte("before "), 7)) != "before "+text {
			t.Errorf("%q with doubled braces: %v", text, err)
		}
	})
}

// FuzzLines reads records from lines in any pieces. They are the lines that bytes.Split finds, each whole and
// with its number, however they are cut.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nlast"), uint8(3), uint16(0))
	f.Add([]byte("\n"), uint8(1), uint16(300))
	f.Add([]byte("x\r\r\n\r"), uint8(255), uint16(7))
	f.Add([]byte("skip\na\nskip\nskip\nb"), uint8(2), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, piece uint8, repeat uint16) {
		text = bytes.Repeat(text, 1+int(repeat)%512)
		var want []string
		for _, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
			want = append(want, string(bytes.TrimSuffix(line, []byte("\r"))))
		}
		if len(text) == 0 {
			want = nil
		}
		lines := send.NewLines(&pieces{text, 1 + int(piece)*64}, func(line []byte, r *kgo.Record) (bool, error) {
			r.Value = line
			return string(line) == "skip", nil
		})
		for at := 0; ; {
			b, err := lines.Next(t.Context())
			if err != nil {
				for ; at < len(want) && want[at] == "skip"; at++ {
				}
				if !errors.Is(err, io.EOF) || at != len(want) {
					t.Errorf("%d of %d lines, then %v", at, len(want), err)
				}
				return
			}
			for ; at < len(want) && want[at] == "skip"; at++ {
			}
			if b.First != int64(at+1) {
				t.Fatalf("line %d is called %d", at+1, b.First)
			}
			for _, r := range b.Records {
				if at >= len(want) || string(r.Value) != want[at] {
					t.Fatalf("line %d is %q", at+1, r.Value)
				}
				at++
			}
		}
	})
}

// pieces is a reader of a text in pieces.
type pieces struct {
	text []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

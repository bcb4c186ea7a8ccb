package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/inspect"
)

// messageJSON is one line of `weir messages -o jsonl`. Key and value are text
// where they are UTF-8, which loses nothing, and base64 where not.
type messageJSON struct {
	Topic       string       `json:"topic"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	Time        string       `json:"time"`
	Headers     []headerJSON `json:"headers"`
	Key         *string      `json:"key"` // null where there is none
	KeyBase64   string       `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 string       `json:"value_base64,omitempty"`
}

type headerJSON struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Base64 string  `json:"value_base64,omitempty"`
}

// jsonBytes returns p as text, or else in base64.
func jsonBytes(p []byte) (text *string, b64 string) {
	if p == nil {
		return nil, ""
	}
	if !utf8.Valid(p) {
		return nil, base64.StdEncoding.EncodeToString(p)
	}
	s := string(p)
	return &s, ""
}

func toMessageJSON(r inspect.Message) messageJSON {
	m := messageJSON{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UTC().Format(time.RFC3339Nano), Headers: []headerJSON{}}
	m.Key, m.KeyBase64 = jsonBytes(r.Key)
	m.Value, m.ValueBase64 = jsonBytes(r.Value)
	for _, h := range r.Headers {
		j := headerJSON{Name: strings.ToValidUTF8(h.Key, "\uFFFD")}
		j.Value, j.Base64 = jsonBytes(h.Value)
		m.Headers = append(m.Headers, j)
	}
	return m
}

// writeMessageJSON writes a message as one line of JSON in which no character can
// steer a terminal: what hidden says is escaped, which JSON readers undo.
func writeMessageJSON(out io.Writer, r inspect.Message) error {
	var line bytes.Buffer
	if err := writeJSONL(&line, toMessageJSON(r)); err != nil {
		return err
	}
	_, err := io.WriteString(out, escapeJSON(strings.TrimSuffix(line.String(), "\n"))+"\n")
	return err
}

// escapeJSON writes the hidden characters of JSON text as \u escapes. They can only
// stand inside strings, so the text keeps its meaning.
func escapeJSON(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
	}
	return b.String()
}

// messageLine is a message on one line, at most columns wide (0: not cut): where
// it lies, when it happened, headers, key, value.
func messageLine(r inspect.Message, s *screen, columns int) string {
	where := fmt.Sprintf("%d:%-7d", r.Partition, r.Offset)
	when := r.Timestamp.Local().Format("15:04:05.000")
	var heads []string
	for _, h := range r.Headers {
		heads = append(heads, visible(h.Key)+"="+bytesText(h.Value, 64))
	}
	head := strings.Join(heads, " ")
	key := bytesText(r.Key, 200)
	if columns <= 0 {
		return fmt.Sprintf("%s %s  %s  %s  %s", where, when, head, key, bytesText(r.Value, len(r.Value)))
	}
	// Coloured parts are cut before they are painted: an escape has no width.
	plain := fmt.Sprintf("%s %s  ", where, when)
	room := columns - textWidth(plain)
	head = clip(head, room)
	room -= textWidth(head) + 2
	key = clip(key, room)
	room -= textWidth(key) + 2
	value := clip(bytesText(r.Value, 4*max(room, 0)), room)
	return strings.TrimRight(s.paint(dim, plain)+s.paint(yellow, head)+"  "+s.paint(bold, key)+"  "+value, " ")
}

// bytesText shows at most limit bytes as text for a terminal; null where there is nothing.
func bytesText(p []byte, limit int) string {
	if p == nil {
		return "null"
	}
	if len(p) > limit {
		p = p[:limit]
		for range utf8.UTFMax - 1 { // not half a character
			if r, size := utf8.DecodeLastRune(p); r == utf8.RuneError && size == 1 {
				p = p[:len(p)-1]
			}
		}
	}
	return visible(string(p))
}

package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/inspect"
)

// writeMessageJSON writes a message as one line of JSON in which no character can
// steer a terminal: what hidden says is escaped, which JSON readers undo.
func writeMessageJSON(out io.Writer, r inspect.Message) error {
	var line bytes.Buffer
	if err := writeJSONL(&line, r.Wire(0)); err != nil {
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
	when := whenText(r, time.Now())
	var heads []string
	for _, h := range r.Headers {
		heads = append(heads, visible(h.Key)+"="+bytesText(h.Value, 64))
	}
	head := strings.Join(heads, " ")
	key := bytesText(r.Key, 200)
	if columns <= 0 {
		return fmt.Sprintf("%s %s  %s  %s  %s", where, when, head, key, bytesText(r.Value, len(r.Value)))
	}
	// Coloured parts are cut before they are painted: an escape has no width. Headers
	// and key get a share each, so that the value always shows on a narrow terminal.
	plain := fmt.Sprintf("%s %s  ", where, when)
	room := columns - textWidth(plain)
	head = clip(head, room/4)
	room -= textWidth(head) + 2
	key = clip(key, room/3)
	room -= textWidth(key) + 2
	value := clip(bytesText(r.Value, 4*max(room, 0)), room)
	return strings.TrimRight(s.paint(dim, plain)+s.paint(yellow, head)+"  "+s.paint(bold, key)+"  "+value, " ")
}

// whenText is a message's local time, with the date where that is not today, or
// the stored number where it is not a time.
func whenText(r inspect.Message, now time.Time) string {
	t := r.Timestamp.Local()
	switch {
	case !r.TimeInRange():
		return fmt.Sprintf("%d (out of range)", t.UnixMilli())
	case t.Format(time.DateOnly) == now.Local().Format(time.DateOnly):
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05.000")
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

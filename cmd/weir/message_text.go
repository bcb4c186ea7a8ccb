package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// writeMessageJSON writes a message as one line of JSON in which no character can
// steer a terminal: what hidden says is escaped, which JSON readers undo.
func writeMessageJSON(out io.Writer, r inspect.Message) error {
	var line bytes.Buffer
	if err := cli.WriteJSONL(&line, r.Wire(0)); err != nil {
		return err
	}
	_, err := io.WriteString(out, visible.EscapeJSON(strings.TrimSuffix(line.String(), "\n"))+"\n")
	return err
}

// messageLine is a message on one line, at most columns wide (0: not cut): where
// it lies, when it happened, headers, key, value.
func messageLine(r inspect.Message, s *cli.Screen, columns int) string {
	where := fmt.Sprintf("%d:%-7d", r.Partition, r.Offset)
	when := whenText(r, time.Now())
	var heads []string
	for _, h := range r.Headers {
		heads = append(heads, visible.Text(h.Key)+"="+bytesText(h.Value, 64))
	}
	head := strings.Join(heads, " ")
	key := bytesText(r.Key, 200)
	if columns <= 0 {
		return fmt.Sprintf("%s %s  %s  %s  %s", where, when, head, key, bytesText(r.Value, len(r.Value)))
	}
	// Coloured parts are cut before they are painted: an escape has no width. Headers
	// and key get a share each, so that the value always shows on a narrow terminal.
	plain := fmt.Sprintf("%s %s  ", where, when)
	room := columns - visible.Width(plain)
	head = visible.Clip(head, room/4)
	room -= visible.Width(head) + 2
	key = visible.Clip(key, room/3)
	room -= visible.Width(key) + 2
	value := visible.Clip(bytesText(r.Value, 4*max(room, 0)), room)
	return strings.TrimRight(s.Paint(cli.Dim, plain)+s.Paint(cli.Yellow, head)+"  "+s.Paint(cli.Bold, key)+"  "+value, " ")
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
	return visible.Text(string(p))
}

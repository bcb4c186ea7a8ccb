package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Values of --output.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatRaw   = "raw" // messages only
)

// table prints rows in aligned columns. Numbers stand right, so that digits of
// one weight stand above each other. Cells are made safe for a terminal.
type table struct {
	head  []string
	right []bool
	rows  [][]string
}

// newTable makes a table from its headings. A heading that begins with ">"
// belongs to a column of numbers.
func newTable(head ...string) *table {
	t := &table{head: make([]string, len(head)), right: make([]bool, len(head))}
	for i, h := range head {
		t.head[i], t.right[i] = strings.TrimPrefix(h, ">"), strings.HasPrefix(h, ">")
	}
	return t
}

// add appends a row; numbers are grouped in thousands.
func (t *table) add(cells ...any) {
	row := make([]string, len(t.head))
	for i, c := range cells {
		row[i] = cell(c)
	}
	t.rows = append(t.rows, row)
}

func cell(c any) string {
	switch v := c.(type) {
	case int64:
		return thousands(v)
	case int32:
		return thousands(int64(v))
	case int:
		return thousands(int64(v))
	case string:
		return visible(v)
	}
	return visible(fmt.Sprint(c))
}

func (t *table) write(out io.Writer) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], textWidth(c))
		}
	}
	var text strings.Builder
	for _, row := range append([][]string{t.head}, t.rows...) {
		line := strings.Builder{}
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-textWidth(c))
			if t.right[i] {
				c = pad + c
			} else {
				c += pad
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(c)
		}
		text.WriteString(strings.TrimRight(line.String(), " "))
		text.WriteByte('\n')
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// thousands writes n with a comma between groups of three digits.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// rateText writes a rate in events per second.
func rateText(perSecond float64) string {
	if perSecond < 9.95 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return thousands(int64(perSecond + 0.5))
}

// sizeText writes a number of bytes with a binary unit.
func sizeText(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1023.95 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

// agoText writes how long ago t was, in one unit; "never" for the zero time.
func agoText(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return durationText(now.Sub(t)) + " ago"
}

func durationText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// writeJSON writes v as indented JSON and a newline.
func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeJSONL writes v as one line of JSON.
func writeJSONL(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/visible"
)

// Values of --output.
const (
	FormatTable = "table"
	FormatJSON  = "json"
	FormatJSONL = "jsonl"
	FormatRaw   = "raw"  // messages only
	FormatText  = "text" // messages only
)

// Table prints rows in aligned columns. Numbers are aligned to the right. Hidden
// characters in cells are printed as escapes.
type Table struct {
	head  []string
	right []bool
	rows  [][]string
}

// NewTable makes a table from its headings. A heading that begins with ">"
// belongs to a column of numbers.
func NewTable(head ...string) *Table {
	t := &Table{head: make([]string, len(head)), right: make([]bool, len(head))}
	for i, h := range head {
		t.head[i], t.right[i] = strings.TrimPrefix(h, ">"), strings.HasPrefix(h, ">")
	}
	return t
}

// TableOf makes a table with a row of cells for each element of list.
func TableOf[T any](list []T, cells func(T) []any, head ...string) *Table {
	t := NewTable(head...)
	for _, x := range list {
		t.Add(cells(x)...)
	}
	return t
}

// Add appends a row; numbers are grouped in thousands.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(t.head))
	for i, c := range cells {
		row[i] = cell(c)
	}
	t.rows = append(t.rows, row)
}

func cell(c any) string {
	switch v := c.(type) {
	case int64:
		return Thousands(v)
	case int32:
		return Thousands(int64(v))
	case int:
		return Thousands(int64(v))
	}
	return visible.Text(fmt.Sprint(c))
}

// Empty reports whether the table has no rows.
func (t *Table) Empty() bool { return len(t.rows) == 0 }

// Write writes the table.
func (t *Table) Write(out io.Writer) error {
	rows := append([][]string{t.head}, t.rows...)
	width := make([]int, len(t.head))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], visible.Width(c))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-visible.Width(c))
			if t.right[i] {
				cells[i] = pad + c
			} else {
				cells[i] = c + pad
			}
		}
		text.WriteString(strings.TrimRight(strings.Join(cells, "  "), " ") + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// Thousands writes n with a comma between groups of three digits.
func Thousands(n int64) string {
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

// RateText writes a rate in events per second.
func RateText(perSecond float64) string {
	if perSecond < 9.95 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return Thousands(int64(perSecond + 0.5))
}

// SizeText writes a number of bytes with a binary unit.
func SizeText(n int64) string {
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

// AgoText writes how long ago t was, in one unit; "never" for the zero time.
func AgoText(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return DurationText(now.Sub(t)) + " ago"
}

// DurationText writes a duration in one unit.
func DurationText(d time.Duration) string {
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

// WriteJSON writes v as indented JSON and a newline.
func WriteJSON(out io.Writer, v any) error { return encode(out, v, "  ") }

// WriteJSONL writes v as one line of JSON.
func WriteJSONL(out io.Writer, v any) error { return encode(out, v, "") }

// Array writes a JSON array whose elements come one by one. Begin goes before each element, End
// after the last one.
type Array struct{ begun bool }

// Begin writes what stands before an element.
func (a *Array) Begin(out io.Writer) error {
	open := "["
	if a.begun {
		open = ","
	}
	a.begun = true
	_, err := io.WriteString(out, open)
	return err
}

// End writes the end of the array, which can be empty.
func (a *Array) End(out io.Writer) error {
	text := "]\n"
	if !a.begun {
		text = "[]\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

func encode(out io.Writer, v any, indent string) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// SizeOrUnknown writes a size, and "?" for a negative one.
func SizeOrUnknown(n int64) string { return known(n, SizeText) }

// NumberOrUnknown writes a number, and "?" for a negative one.
func NumberOrUnknown(n int64) string { return known(n, Thousands) }

func known(n int64, text func(int64) string) string {
	if n < 0 {
		return "?"
	}
	return text(n)
}

// IDs writes the numbers of brokers or partitions.
func IDs(list []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}

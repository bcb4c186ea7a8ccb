package cli

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// vt is a terminal of a few rows: it understands what screen writes, and wraps
// like a real one.
type vt struct {
	columns  int
	lines    [][]rune
	row, col int
}

func (v *vt) Write(p []byte) (int, error) {
	s := string(p)
	for s != "" {
		switch {
		case strings.HasPrefix(s, "\x1b["):
			end := strings.IndexAny(s, "AJ")
			n := 0
			for _, c := range s[2:end] {
				n = n*10 + int(c-'0')
			}
			if s[end] == 'A' {
				v.row = max(0, v.row-n)
			} else { // J: clear below
				v.lines = v.lines[:min(len(v.lines), v.row)]
			}
			s = s[end+1:]
			continue
		case s[0] == '\r':
			v.col = 0
		case s[0] == '\n':
			v.row, v.col = v.row+1, 0
		default:
			for len(v.lines) <= v.row {
				v.lines = append(v.lines, nil)
			}
			if v.col == v.columns {
				v.row, v.col = v.row+1, 0
				v.lines = append(v.lines, nil)
			}
			r, size := utf8.DecodeRuneInString(s)
			v.lines[v.row] = append(v.lines[v.row][:v.col], r)
			v.col++
			s = s[size:]
			continue
		}
		s = s[1:]
	}
	return len(p), nil
}

// resize wraps every line anew, as terminals do.
func (v *vt) resize(columns int) {
	var lines [][]rune
	for _, l := range v.lines {
		for len(l) > columns {
			lines = append(lines, l[:columns:columns])
			l = l[columns:]
		}
		lines = append(lines, l)
	}
	v.columns, v.lines, v.row, v.col = columns, lines, len(lines), 0
}

func (v *vt) text() string {
	var b strings.Builder
	for _, l := range v.lines {
		b.WriteString(string(l) + "\n")
	}
	return b.String()
}

func newTestScreen(v *vt) *Screen {
	return &Screen{out: v, size: func() (int, int) { return v.columns, 24 }}
}

func TestScreenRedrawsInPlace(t *testing.T) {
	v := &vt{columns: 20}
	s := newTestScreen(v)
	s.Linef("banner")
	s.Status("bluesky 1", "wikipedia 1")
	s.Linef("a log line")
	s.Status("bluesky 2", "wikipedia 2 that is too long for it")
	if got, want := v.text(), "banner\na log line\nbluesky 2\nwikipedia 2 that i…\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	s.Status()
	if got, want := v.text(), "banner\na log line\n"; got != want {
		t.Errorf("after the block went: got\n%swant\n%s", got, want)
	}
}

func TestScreenSurvivesNarrowing(t *testing.T) {
	v := &vt{columns: 40}
	s := newTestScreen(v)
	s.Linef("top")
	s.Status(strings.Repeat("x", 35), "short")
	v.resize(10) // the first line now takes four rows
	s.Status("one", "two")
	if got, want := v.text(), "top\none\ntwo\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestScreenWithoutTerminal(t *testing.T) {
	var b strings.Builder
	s := NewScreen(&b, false, "xterm")
	s.Status("never seen")
	s.Linef("%s", s.Paint(Bold, "plain"))
	if got, want := b.String(), "plain\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

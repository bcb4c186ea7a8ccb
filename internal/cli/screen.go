// Package cli is the terminal: a screen with status lines, tables, progress, the
// question before a change, and errors with an exit code and a hint. It knows no
// command and no feature of weir.
package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/weir-project/weir/internal/visible"
)

// Screen is standard error: log lines and messages scroll by, and on a terminal
// a block of status lines stays below them, redrawn in place. It is safe for
// concurrent use. On anything but a terminal nothing is ever redrawn.
type Screen struct {
	mu    sync.Mutex
	out   io.Writer
	size  func() (columns, rows int, ok bool) // nil where there is no terminal
	color bool

	block []string // the status lines below what scrolls, as given
	drawn []int    // columns taken by each line that is on the terminal now
}

// NewScreen writes to w. noColor is whether the variable NO_COLOR is set, termName the
// variable TERM.
func NewScreen(w io.Writer, noColor bool, termName string) *Screen {
	s := &Screen{out: w}
	f, ok := w.(*os.File)
	if !ok || termName == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	s.color = !noColor
	s.size = func() (int, int, bool) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		return columns, rows, err == nil && columns > 0
	}
	return s
}

// Live reports whether status lines are redrawn in place.
func (s *Screen) Live() bool { return s.size != nil }

// Columns is the terminal's width; 0 where there is no terminal.
func (s *Screen) Columns() int {
	if !s.Live() {
		return 0
	}
	columns, _, _ := s.size()
	return columns
}

// Write lets p scroll by above the status lines. It must end a line.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.drawn) == 0 {
		return s.out.Write(p)
	}
	var b bytes.Buffer
	s.erase(&b)
	b.Write(p)
	s.draw(&b)
	if _, err := s.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Linef writes one line; the newline is added.
func (s *Screen) Linef(format string, args ...any) {
	fmt.Fprintf(s, format+"\n", args...)
}

// Status shows lines as the status block, in place of the lines before. With no
// lines the block goes away.
func (s *Screen) Status(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Live() {
		return
	}
	var b bytes.Buffer
	s.erase(&b)
	s.block = append(s.block[:0], lines...)
	s.draw(&b)
	_, _ = s.out.Write(b.Bytes()) // a status line that cannot be shown is no reason to stop
}

// Keep leaves the status block where it is, as text that scrolls from now on.
func (s *Screen) Keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block, s.drawn = nil, nil
}

// erase moves to where the block began and clears everything below. A terminal
// that became narrower has wrapped the lines, so the rows to go up are counted
// with today's width.
func (s *Screen) erase(b *bytes.Buffer) {
	if len(s.drawn) == 0 {
		return
	}
	columns, rows, ok := s.size()
	if !ok {
		columns, rows = 80, 24
	}
	up := 0
	for _, w := range s.drawn {
		up += max(1, (w+columns-1)/columns)
	}
	fmt.Fprintf(b, "\x1b[%dA\r\x1b[J", min(up, max(rows-1, 1)))
	s.drawn = s.drawn[:0]
}

// draw writes the block, each line cut to the terminal's width so that it cannot
// wrap, and no more lines than the terminal has rows.
func (s *Screen) draw(b *bytes.Buffer) {
	columns, rows, ok := s.size()
	if !ok {
		columns, rows = 80, 24
	}
	lines := s.block
	if len(lines) > rows-1 {
		lines = lines[:max(rows-1, 0)]
	}
	for _, line := range lines {
		// The last column stays free: some terminals wrap when it is written.
		line = visible.Clip(line, columns-1)
		s.drawn = append(s.drawn, visible.Width(line))
		b.WriteString(line)
		b.WriteByte('\n')
	}
}

// Paint colours text for a terminal; plain text otherwise. Only for text that
// scrolls: status lines are cut by columns, which escapes would confuse.
func (s *Screen) Paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Colours, as SGR codes.
const (
	Bold   = "1"
	Dim    = "2"
	Yellow = "33"
)

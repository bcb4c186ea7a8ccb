package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// screen is standard error: log lines and messages scroll by, and on a terminal
// a block of status lines stays below them, redrawn in place. It is safe for
// concurrent use. On anything but a terminal nothing is ever redrawn.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	size  func() (columns, rows int, ok bool) // nil where there is no terminal
	color bool

	block []string // the status lines below what scrolls, as given
	drawn []int    // columns taken by each line that is on the terminal now
}

// newScreen wraps w. noColor is the user's wish (NO_COLOR), term the TERM variable.
func newScreen(w io.Writer, noColor bool, termName string) *screen {
	s := &screen{out: w}
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

// live reports whether status lines are redrawn in place.
func (s *screen) live() bool { return s.size != nil }

// Write lets p scroll by above the status lines. It must end a line.
func (s *screen) Write(p []byte) (int, error) {
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

// say writes one line.
func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s, format+"\n", args...)
}

// status shows lines as the status block, in place of the lines before. With no
// lines the block goes away.
func (s *screen) status(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live() {
		return
	}
	var b bytes.Buffer
	s.erase(&b)
	s.block = append(s.block[:0], lines...)
	s.draw(&b)
	_, _ = s.out.Write(b.Bytes()) // a status line that cannot be shown is no reason to stop
}

// keep leaves the status block where it is, as text that scrolls from now on.
func (s *screen) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block, s.drawn = nil, nil
}

// erase moves to where the block began and clears everything below. A terminal
// that became narrower has wrapped the lines, so the rows to go up are counted
// with today's width.
func (s *screen) erase(b *bytes.Buffer) {
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
func (s *screen) draw(b *bytes.Buffer) {
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
		line = clip(line, columns-1)
		s.drawn = append(s.drawn, textWidth(line))
		b.WriteString(line)
		b.WriteByte('\n')
	}
}

// paint colours text for a terminal; plain text otherwise. Only for text that
// scrolls: status lines are cut by columns, which escapes would confuse.
func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Colours, as SGR codes.
const (
	bold   = "1"
	dim    = "2"
	yellow = "33"
)

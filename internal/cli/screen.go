// Package cli is the terminal: a screen with status lines, tables, progress, the
// question before a change, and errors with an exit code and a hint. It knows no
// command and no feature of weir.
package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/weir-project/weir/internal/visible"
)

// Screen is standard error: log lines and messages scroll by, and on a terminal
// a block of status lines stays below them, redrawn in place. It is safe for
// concurrent use. On anything but a terminal nothing is ever redrawn.
type Screen struct {
	mu    sync.Mutex
	out   io.Writer
	size  func() (columns, rows int) // nil where there is no terminal
	color bool

	block []string // the status lines below what scrolls, as given
	drawn []int    // columns taken by each line that is on the terminal now
}

// NewScreen writes to w. noColor is whether the variable NO_COLOR is set, termName the
// variable TERM.
func NewScreen(w io.Writer, noColor bool, termName string) *Screen {
	s := &Screen{out: w}
	f, ok := w.(*os.File)
	if !ok || termName == "dumb" || !term.IsTerminal(int(f.Fd())) || !understands(f) {
		return s
	}
	s.color = !noColor
	s.size = func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80, 24
		}
		return columns, rows
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
	columns, _ := s.size()
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
	columns, rows := s.size()
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
	columns, rows := s.size()
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

// Progress shows the progress of work that takes longer than a second; before that it
// shows nothing. On a terminal it redraws one line.
type Progress struct {
	screen *Screen
	start  time.Time
	last   time.Time
}

// NewProgress begins to measure the time.
func NewProgress(s *Screen) *Progress { return &Progress{screen: s, start: time.Now()} }

// Show shows what is being done now.
func (p *Progress) Show(text string) {
	now := time.Now()
	if now.Sub(p.start) < time.Second {
		return
	}
	if p.screen.Live() {
		p.screen.Status("… " + visible.Text(text))
		return
	}
	if now.Sub(p.last) >= time.Second {
		p.last = now
		p.screen.Linef("… %s", visible.Text(text))
	}
}

// Done removes the line from a terminal.
func (p *Progress) Done() { p.screen.Status() }

// Confirm asks a question whose answer must be want; yes (the flag --yes) answers
// instead. Where in is not a terminal, it returns an error that names the flag.
func Confirm(in io.Reader, s *Screen, question, want string, yes bool) error {
	if yes {
		return nil
	}
	if f, ok := in.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return UsageError("add --yes", "this changes data, and there is no terminal to confirm it on")
	}
	_, _ = io.WriteString(s.out, question)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	answer = strings.TrimSpace(answer)
	if !strings.EqualFold(answer, want) && (want != "y" || !strings.EqualFold(answer, "yes")) {
		return RuntimeError("nothing was changed", "not confirmed")
	}
	return nil
}

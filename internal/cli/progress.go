package cli

import (
	"time"

	"github.com/weir-project/weir/internal/visible"
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

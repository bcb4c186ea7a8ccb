package cli

import (
	"strings"
	"testing"
	"time"
)

func TestProgressWaitsASecond(t *testing.T) {
	var b strings.Builder
	p := NewProgress(&Screen{out: &b})
	p.Show("early")
	if b.Len() != 0 {
		t.Errorf("at once: %q", b.String())
	}
	p.start = p.start.Add(-2 * time.Second)
	p.Show("reading\x1b[2J")
	p.Show("too soon after")
	p.Done()
	if got, want := b.String(), "… reading\\x1b[2J\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

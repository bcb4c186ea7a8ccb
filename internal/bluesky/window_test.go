package bluesky

import (
	"testing"
	"time"
)

// TestWindowAndRepeats: a duplicate filter has to cover all that a server can send again. Another
// server is asked for 10 s before the position, which is held for up to 15 s of event time
// behind it; a v2 server sends 4,096 events before it, and the position is held for as many.
func TestWindowAndRepeats(t *testing.T) {
	s, err := New(Config{URLs: []string{"wss://a.example/subscribe"}})
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Window(); w < 25*time.Second || w > 2*time.Minute {
		t.Errorf("the window is %v", w)
	}
	if n := s.Repeats(); n < 2*4096 || n > 100_000 {
		t.Errorf("%d events can come again", n)
	}
}

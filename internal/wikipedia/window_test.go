package wikipedia

import (
	"testing"
	"time"
)

// TestWindow: a resume asks for 15 s before the position, which is held for up to five minutes
// while one partition runs ahead of another.
func TestWindow(t *testing.T) {
	s, err := New(Config{URL: "https://a.example/v2/stream/recentchange"})
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Window(); w < 5*time.Minute+15*time.Second || w > time.Hour {
		t.Errorf("the window is %v", w)
	}
}

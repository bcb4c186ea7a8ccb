package node

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogLimit has two parts of the program complain of the same problem every second
// for an hour: it is logged once, and then ever more seldom.
func TestLogLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(LimitLog(slog.NewTextHandler(&out, nil)))
		parts := []*slog.Logger{log.With("source", "bluesky"), log.With("group", "g").WithGroup("x")}
		const hour = 3600
		for range hour {
			for _, p := range parts {
				p.Warn("waiting", "error", errors.New("broker 2 is down"), "for", time.Second)
				p.Info("told each time", "error", "x")
			}
			time.Sleep(time.Second)
		}
		// At 0, 10, 30, 70, 150, 310 s, and then every 300 s: 610, ... 3310.
		if n := strings.Count(out.String(), "waiting"); n != 16 {
			t.Errorf("told %d times in an hour, want 16:\n%s", n, out.String())
		}
		if n := strings.Count(out.String(), "told each time"); n != hour*len(parts) {
			t.Errorf("what is no trouble was told %d times, want %d", n, hour*len(parts))
		}
		parts[0].Warn("waiting", "error", errors.New("broker 3 is down"))
		if !strings.Contains(out.String(), "broker 3") {
			t.Error("another trouble was kept back")
		}
		out.Reset()
		time.Sleep(limitOver + time.Second)
		parts[1].Warn("waiting", "error", errors.New("broker 2 is down"))
		if !strings.Contains(out.String(), "broker 2") {
			t.Error("trouble that had been over was not told when it came again")
		}
		for range 10 * limitKept { // bounded, and still told
			log.Warn("w", "error", time.Now())
			time.Sleep(time.Second)
		}
	})
}

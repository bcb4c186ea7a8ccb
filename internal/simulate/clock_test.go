package simulate

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wallClock is the bubble's clock, with the steps that a test makes.
type wallClock struct{ stepUS atomic.Int64 }

func (c *wallClock) now() int64           { return time.Now().UnixMicro() + c.stepUS.Load() }
func (c *wallClock) step(d time.Duration) { c.stepUS.Add(d.Microseconds()) }

// TestClockSteps sets the machine's clock while events happen, with a file and
// without one, and opens the timeline anew at last. Whatever the clock does, each
// second has the events of its rate, in order, and no stamp comes back.
func TestClockSteps(t *testing.T) {
	const rate = 100
	for _, test := range []struct {
		name  string
		steps []time.Duration
		logs  []string
		ahead time.Duration // of the last stamp before the machine's clock
	}{
		{"forward", []time.Duration{time.Hour}, []string{"stepped forward"}, 0},
		{"back", []time.Duration{-time.Hour}, []string{"stepped back"}, time.Hour},
		{"back and forward", []time.Duration{-time.Hour, time.Hour}, []string{"stepped back", "stepped forward"}, 0},
		{"back and half of it forward", []time.Duration{-time.Hour, 30 * time.Minute}, []string{"stepped back", "stepped forward"}, 30 * time.Minute},
		{"back and further forward", []time.Duration{-time.Hour, 3 * time.Hour}, []string{"stepped back", "stepped forward"}, 0},
		{"forward within the promise", []time.Duration{1500 * time.Millisecond}, []string{"stepped forward"}, 0},
		{"forward and back", []time.Duration{24 * time.Hour, -24 * time.Hour}, []string{"stepped forward", "stepped back"}, 24 * time.Hour},
		{"a slewed clock", []time.Duration{300 * time.Millisecond, -200 * time.Millisecond}, nil, 0},
	} {
		for _, path := range []string{"", filepath.Join(t.TempDir(), "t.json")} {
			t.Run(test.name+map[bool]string{true: " in memory"}[path == ""], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var clock wallClock
					var log bytes.Buffer
					cfg := TimelineConfig{Path: path, World: "x", Rate: rate, Variant: "v", Log: slog.New(slog.NewTextHandler(&log, nil)), wall: clock.now}
					tl, err := OpenTimeline(cfg)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { tl.Close() }()
					var stamps []int64 // by index
					look := func() (v View, n int64) {
						v = tl.Now()
						n = v.Until(v.NowUS)
						for i := int64(len(stamps)); i < n; i++ {
							stamps = append(stamps, v.Segments.Time(i))
							if i > 0 && stamps[i] <= stamps[i-1] {
								t.Fatalf("event %d at %d, the one before at %d", i, stamps[i], stamps[i-1])
							}
						}
						for i, at := range stamps {
							if got := v.Segments.Time(int64(i)); got != at {
								t.Fatalf("event %d was at %d, is at %d", i, at, got)
							}
						}
						return v, n
					}
					second := func(what string) {
						t.Helper()
						_, before := look()
						for range 100 {
							time.Sleep(10 * time.Millisecond)
							tl.Now()
							synctest.Wait() // the file is written
						}
						// A new segment begins with an event of its own.
						if _, n := look(); n-before < rate-1 || n-before > rate+2 {
							t.Errorf("%s: %d events in a second, want %d", what, n-before, rate)
						}
					}
					second("at first")
					for _, d := range test.steps {
						clock.step(d)
						for range 10 {
							second("after " + d.String())
						}
					}
					for _, want := range test.logs {
						if n := strings.Count(log.String(), want); n != 1 {
							t.Errorf("%q is logged %d times:\n%s", want, n, &log)
						}
					}
					if test.logs == nil && log.Len() > 0 {
						t.Errorf("nothing happened, and the log says %s", &log)
					}
					v, _ := look()
					if got := time.Duration(v.NowUS-clock.now()) * time.Microsecond; (got - test.ahead).Abs() > time.Second {
						t.Errorf("stamps are %v ahead of the machine's clock, want %v", got, test.ahead)
					}
					if path == "" {
						return
					}
					_ = tl.Close()
					log.Reset()
					time.Sleep(5 * time.Second)
					if tl, err = OpenTimeline(cfg); err != nil {
						t.Fatal(err)
					}
					if said := strings.Contains(log.String(), "is behind"); said != (test.ahead > time.Minute) {
						t.Errorf("after a restart %v ahead, the log says %q", test.ahead, &log)
					}
					look() // what was promised and not seen before the end
					for range 5 {
						second("after a restart")
					}
				})
			})
		}
	}
}

// Servers wait by the timeline: its next event is a second away, although its stamp
// is an hour ahead of the machine's clock.
func TestViewWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock wallClock
		tl := timeline(t, TimelineConfig{Rate: 1, Variant: "v", wall: clock.now})
		clock.step(-time.Hour)
		v := tl.Now()
		next := v.Until(v.NowUS)
		if d := v.Wait(v.Segments.Time(next)); d <= 0 || d > time.Second {
			t.Errorf("the next event is %v away, at one a second", d)
		}
	})
}

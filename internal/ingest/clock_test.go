package ingest_test

import (
	"testing"
	"time"
)

// TestClockSteps has the clock behind the events' times step back and forth, by
// minutes and by years, as an upstream's does whose machine is set right, or this
// machine's beside it: the bubble's own clock stands in the year 2000. Connections
// break all the while, and ingesters begin anew, with a cursor that lies in the
// future or long ago. Each event is stored once, whatever its time says.
//
// It covers steps between the events' times and the clock of the process. That of
// the process itself stepping is not simulated: Go measures what it waits for by
// the monotonic clock, which does not step.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, step := range map[string]time.Duration{
		"five minutes back": -5 * time.Minute, "an hour ahead": time.Hour, "ten years ahead": 10 * year, "ten years back": -10 * year,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				stepped := func(n int) item {
					it := plain(n)
					if n/500%2 == 1 { // there, and back again, three times
						it.us += step.Microseconds()
					}
					return it
				}
				for n := 1500; n <= 3000; n += 750 {
					src := &script{n: n, size: 23, margin: 60, cut: 170, window: time.Minute, item: stepped}
					r := w.run(w.ingester(repeater{src}))
					r.drain(t, n)
					w.verify(src, n)
					if s := r.Stats(); s.Duplicates == 0 || s.Restarts != 0 {
						t.Errorf("%d duplicates, %d restarts: %s", s.Duplicates, s.Restarts, s.LastError)
					}
				}
			})
		})
	}
}

package watch

import (
	"time"

	"github.com/weir-project/weir/internal/latency"
)

// Latencies that are shown are those of the last latencyWindow; a snapshot is kept
// every latencyStep.
const (
	latencyWindow = 10 * time.Second
	latencyStep   = time.Second
)

// window turns a histogram that only grows into that of the last seconds.
type window struct {
	at   [latencyWindow / latencyStep]time.Time
	past [latencyWindow / latencyStep]latency.Histogram
	next int
}

// shown is the median and 99 % of what was measured within the window by now, nil where
// that is nothing.
func (w *window) shown(now time.Time, h *latency.Histogram) *Latency {
	if h == nil {
		return nil
	}
	recent := h.Since(w.oldest(now))
	if newest := w.at[(w.next+len(w.at)-1)%len(w.at)]; newest.IsZero() || now.Sub(newest) >= latencyStep {
		w.at[w.next], w.past[w.next] = now, *h
		w.next = (w.next + 1) % len(w.at)
	}
	if recent.Count == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &Latency{P50: ms(recent.Quantile(0.5)), P99: ms(recent.Quantile(0.99))}
}

// oldest is the first snapshot within the window, else the newest one, else an empty one.
func (w *window) oldest(now time.Time) *latency.Histogram {
	for i := range w.at {
		at := (w.next + i) % len(w.at)
		if !w.at[at].IsZero() && now.Sub(w.at[at]) <= latencyWindow {
			return &w.past[at]
		}
	}
	return &w.past[(w.next+len(w.at)-1)%len(w.at)]
}

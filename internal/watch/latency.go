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

// add notes what was measured by now and returns what was measured within the window.
func (w *window) add(now time.Time, h *latency.Histogram) latency.Histogram {
	n := len(w.at)
	newest := (w.next + n - 1) % n
	if w.at[newest].IsZero() || now.Sub(w.at[newest]) >= latencyStep {
		recent := h.Since(w.oldest(now))
		w.at[w.next], w.past[w.next] = now, *h
		w.next = (w.next + 1) % n
		return recent
	}
	return h.Since(w.oldest(now))
}

// oldest is the first snapshot within the window, else the newest one, else what
// was there before anything.
func (w *window) oldest(now time.Time) *latency.Histogram {
	for i := range w.at {
		at := (w.next + i) % len(w.at)
		if !w.at[at].IsZero() && now.Sub(w.at[at]) <= latencyWindow {
			return &w.past[at]
		}
	}
	return &w.past[(w.next+len(w.at)-1)%len(w.at)]
}

// latency is half and 99 % of what a histogram has counted lately, nil where that is nothing.
func (w *Watcher) latency(now time.Time, name string, h *latency.Histogram) *Latency {
	if h == nil {
		return nil
	}
	win := w.latencies[name]
	if win == nil {
		win = &window{}
		w.latencies[name] = win
	}
	recent := win.add(now, h)
	if recent.Count == 0 {
		return nil
	}
	return &Latency{P50: ms(recent.Quantile(0.5)), P99: ms(recent.Quantile(0.99))}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

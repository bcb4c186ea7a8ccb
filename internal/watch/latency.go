package watch

import (
	"slices"
	"time"

	"github.com/weir-project/weir/internal/latency"
)

// Latencies that are shown are those of the last latencyWindow; a snapshot is kept
// every latencyStep.
const (
	latencyWindow = 10 * time.Second
	latencyStep   = time.Second
)

// window turns a histogram that only grows into that of the last seconds. It holds
// snapshots, the oldest first.
type window []snapshot

type snapshot struct {
	at time.Time
	latency.Histogram
}

// shown is the median and 99 % of what was measured within the window by now, nil where
// that is nothing.
func (w *window) shown(now time.Time, h *latency.Histogram) *Latency {
	if h == nil {
		return nil
	}
	for len(*w) > 1 && now.Sub((*w)[0].at) > latencyWindow {
		*w = slices.Delete(*w, 0, 1)
	}
	var before latency.Histogram
	if len(*w) > 0 {
		before = (*w)[0].Histogram
	}
	recent := h.Since(&before)
	if n := len(*w); n == 0 || now.Sub((*w)[n-1].at) >= latencyStep {
		*w = append(*w, snapshot{now, *h})
	}
	if recent.Count == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &Latency{P50: ms(recent.Quantile(0.5)), P99: ms(recent.Quantile(0.99))}
}

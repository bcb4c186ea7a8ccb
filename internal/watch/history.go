package watch

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/latency"
)

// Step is the time between two points of history; Points of them are kept: an hour.
const (
	Step   = 2 * time.Second
	Points = 1800
	// maxSeries bounds the memory of history to 14 MB: a cluster may have more
	// topics than anybody looks at.
	maxSeries = 2000
	// idleSteps is after how many steps without a value a series is forgotten.
	idleSteps = Points
)

// unknown marks a point at which there was no value.
var unknown = float32(math.NaN())

// History is an hour of named series in fixed memory, safe for concurrent use.
type history struct {
	mu     sync.Mutex
	last   int64 // number of the newest step since the epoch
	series map[string]*ring
}

// ring holds the newest Points values; at is the step of the newest.
type ring struct {
	at     int64
	values [Points]float32
}

// HistoryAnswer holds the series that were asked for.
type HistoryAnswer struct {
	StepMS int64 `json:"step_ms"`
	End    int64 `json:"end"` // of the last point, in Unix milliseconds
	// Series are oldest first, all of the same length; null where nothing is known.
	Series map[string][]*float64 `json:"series"`
}

func newHistory() *history { return &history{series: map[string]*ring{}} }

// add notes the values of one moment. Several within a step overwrite each other.
func (h *history) add(now time.Time, values map[string]float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	step := now.UnixNano() / int64(Step)
	if step < h.last {
		// The clock was set back: what was noted as later cannot be placed any more.
		clear(h.series)
	}
	h.last = step
	ownFirst := func(a, b string) int { // weir's own series have their place before others
		switch {
		case own(a) == own(b):
			return strings.Compare(a, b)
		case own(a):
			return -1
		}
		return 1
	}
	for _, name := range slices.SortedFunc(maps.Keys(values), ownFirst) {
		v := values[name]
		r := h.series[name]
		if r == nil {
			// What has only ever been 0 needs no memory: most of a large cluster.
			if v == 0 && !own(name) || len(h.series) >= maxSeries && !h.forgetIdle() {
				continue
			}
			r = &ring{at: step - Points}
			h.series[name] = r
		}
		for s := max(r.at+1, step-Points+1); s < step; s++ {
			r.values[s%Points] = unknown
		}
		r.at = step
		r.values[step%Points] = float32(v)
	}
}

// own reports whether a series is of one of weir's streams.
func own(name string) bool { return strings.HasPrefix(name, "stream/") }

// forgetIdle drops series that have had no value for an hour.
func (h *history) forgetIdle() (any bool) {
	for name, r := range h.series {
		if h.last-r.at >= idleSteps {
			delete(h.series, name)
			any = true
		}
	}
	return any
}

// get returns the named series; one that is not known is absent.
func (h *history) get(names []string) HistoryAnswer {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := HistoryAnswer{StepMS: Step.Milliseconds(), End: h.last * Step.Milliseconds(), Series: map[string][]*float64{}}
	first := Points // at which a series has a value
	for _, name := range names {
		r := h.series[name]
		if r == nil {
			continue
		}
		out := make([]*float64, Points)
		for i := range out {
			s := h.last - Points + 1 + int64(i)
			if s > r.at || s <= r.at-Points {
				continue
			}
			if v := float64(r.values[s%Points]); !math.IsNaN(v) {
				out[i] = &v
				first = min(first, i)
			}
		}
		a.Series[name] = out
	}
	for name, s := range a.Series {
		a.Series[name] = s[first:]
	}
	return a
}

// track turns a number that only grows into a rate that is steady to look at.
type track struct {
	at    time.Time
	value int64
	rate  float64
}

// settle is the time constant of rates: long enough that transactions do not
// show as jumps, short enough that a stop is seen at once.
const settle = 2 * time.Second

// begun reports whether there was a value yet.
func (t *track) begun() bool { return !t.at.IsZero() }

// add notes the value at a time and returns the rate per second. A value that
// falls (a topic created again, counts reset) begins anew.
func (t *track) add(now time.Time, value int64) float64 {
	if !t.begun() || value < t.value {
		*t = track{at: now, value: value}
		return 0
	}
	dt := now.Sub(t.at).Seconds()
	if dt <= 0 {
		return t.rate
	}
	alpha := 1 - math.Exp(-dt/settle.Seconds())
	t.rate += alpha * (float64(value-t.value)/dt - t.rate)
	if t.rate < 0.005 {
		t.rate = 0
	}
	t.at, t.value = now, value
	return math.Round(t.rate*100) / 100
}

// pastEnds remembers where a log ended when, to turn a position into a time: at
// most pastPoints points, pastStep apart.
type pastEnds struct {
	points []endPoint // oldest first
}

type endPoint struct {
	at  time.Time
	end int64
}

const (
	pastStep   = 2 * time.Second
	pastPoints = 600
)

func (p *pastEnds) add(now time.Time, end int64) {
	if n := len(p.points); n > 0 {
		if end < p.points[n-1].end {
			p.points = p.points[:0]
		} else if now.Sub(p.points[n-1].at) < pastStep {
			return
		}
	}
	if len(p.points) == pastPoints {
		p.points = append(p.points[:0], p.points[1:]...)
	}
	p.points = append(p.points, endPoint{now, end})
}

// age returns how long ago the log ended at position, false where that was
// before it was watched.
func (p *pastEnds) age(now time.Time, position int64) (time.Duration, bool) {
	for i := len(p.points) - 1; i >= 0; i-- {
		if e := p.points[i]; e.end <= position {
			if i+1 < len(p.points) {
				// Between two points the log is taken to have grown evenly.
				next := p.points[i+1]
				if next.end > e.end {
					share := float64(position-e.end) / float64(next.end-e.end)
					return now.Sub(e.at.Add(time.Duration(share * float64(next.at.Sub(e.at))))), true
				}
			}
			return now.Sub(e.at), true
		}
	}
	return 0, false
}

// shown is the median and 99 % of what was measured within the window by now, nil where
// that is nothing.
func shown(w *latency.Window, now time.Time, h *latency.Histogram) *Latency {
	if h == nil {
		return nil
	}
	recent := w.Recent(now, h)
	if recent.Count == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &Latency{P50: ms(recent.Quantile(0.5)), P99: ms(recent.Quantile(0.99))}
}

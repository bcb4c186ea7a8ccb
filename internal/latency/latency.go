// Package latency keeps histograms of durations in fixed memory: what ingest and
// count measure, what the live picture takes quantiles of, and what Prometheus reads.
package latency

import (
	"math/bits"
	"slices"
	"time"
)

// Buckets is the number of buckets of a Histogram, Steps how many of them there
// are from one duration to its double.
const (
	Buckets = 128
	Steps   = 4
)

// unit is the width of the first buckets.
const unit = 16 * time.Microsecond

// Histogram counts durations from 16 µs to 38 hours, in buckets that are at most
// a quarter wider than they begin. Its zero value is empty, and a copy is a
// snapshot. It is not safe for concurrent use.
type Histogram struct {
	// Buckets[n] counts durations of less than Bound(n) that fit no smaller
	// bucket; the last also takes everything above.
	Buckets [Buckets]int64
	Count   int64
	// Seconds is the sum of all.
	Seconds float64
}

// Bound is the upper bound of bucket n.
func Bound(n int) time.Duration {
	if n < Steps {
		return time.Duration(n+1) * unit
	}
	return time.Duration(Steps+n%Steps+1) * unit << (n/Steps - 1)
}

// bucket is the first one whose bound is above d, or the last.
func bucket(d time.Duration) int {
	units := uint64(d / unit)
	if units < Steps {
		return int(units)
	}
	double := bits.Len64(units) - 3 // of Steps units
	return min(Steps*(double+1)+int(units>>double)%Steps, Buckets-1)
}

// Add counts a duration n times. One below 0, which two clocks can make, is 0.
func (h *Histogram) Add(d time.Duration, n int64) {
	d = max(d, 0)
	h.Buckets[bucket(d)] += n
	h.Count += n
	h.Seconds += d.Seconds() * float64(n)
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.Buckets {
		h.Buckets[i] += n
	}
	h.Count += o.Count
	h.Seconds += o.Seconds
}

// Since is what was counted after an earlier snapshot; all of it where the
// earlier one counted more, because something began anew.
func (h *Histogram) Since(earlier *Histogram) Histogram {
	d := *h
	for i, n := range earlier.Buckets {
		if d.Buckets[i] -= n; d.Buckets[i] < 0 {
			return *h
		}
	}
	d.Count -= earlier.Count
	d.Seconds -= earlier.Seconds
	return d
}

// Quantile estimates the q-quantile (0 to 1), taking durations to be spread evenly
// within a bucket; 0 where nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := min(max(q, 0), 1) * float64(h.Count)
	for n, c := range h.Buckets {
		if c == 0 {
			continue
		}
		if rank > float64(c) {
			rank -= float64(c)
			continue
		}
		var low time.Duration
		if n > 0 {
			low = Bound(n - 1)
		}
		return low + time.Duration(rank/float64(c)*float64(Bound(n)-low))
	}
	return 0
}

// What a Window shows is of the last windowTime; a snapshot is kept every windowStep.
const (
	windowTime = 10 * time.Second
	windowStep = time.Second
)

// Window turns a histogram that only grows into that of the last ten seconds. Its zero value
// is ready. It is not safe for concurrent use.
type Window struct{ past []snapshot } // the oldest first

type snapshot struct {
	at time.Time
	Histogram
}

// Recent returns what h, which holds everything by now, counted within the window.
func (w *Window) Recent(now time.Time, h *Histogram) Histogram {
	for len(w.past) > 1 && now.Sub(w.past[0].at) > windowTime {
		w.past = slices.Delete(w.past, 0, 1)
	}
	var before Histogram
	if len(w.past) > 0 {
		before = w.past[0].Histogram
	}
	if n := len(w.past); n == 0 || now.Sub(w.past[n-1].at) >= windowStep {
		w.past = append(w.past, snapshot{now, *h})
	}
	return h.Since(&before)
}

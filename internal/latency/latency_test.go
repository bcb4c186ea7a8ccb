package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQuantile: an estimate lies in the bucket of the true quantile, which is the
// sorted list's.
func TestQuantile(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var h Histogram
		var all []time.Duration
		for range 1 + r.IntN(50) {
			d := time.Duration(math.Exp(r.Float64() * 30))
			n := 1 + r.IntN(3)
			h.Add(d, int64(n))
			for range n {
				all = append(all, d)
			}
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
			want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
			got := h.Quantile(q)
			n := 0
			for n < Buckets-1 && want >= Bound(n) {
				n++
			}
			low := time.Duration(0)
			if n > 0 {
				low = Bound(n - 1)
			}
			if got < low || got > Bound(n) {
				t.Fatalf("quantile %v of %v is %v, not in %v to %v", q, all, got, low, Bound(n))
			}
		}
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("nothing has a quantile")
	}
	h.Add(-time.Second, 1) // two clocks
	h.Add(1000*time.Hour, 2)
	if h.Buckets[0] != 1 || h.Buckets[Buckets-1] != 2 || h.Count != 3 || h.Seconds != 7_200_000 {
		t.Errorf("%+v", h)
	}
	if got := h.Quantile(1); got != Bound(Buckets-1) {
		t.Errorf("the largest is %v", got)
	}
	var other Histogram
	other.Add(time.Millisecond, 4)
	sum := h
	sum.Merge(&other)
	if sum.Count != 7 || sum.Since(&h).Buckets != other.Buckets || sum.Since(&h).Count != other.Count {
		t.Errorf("%+v less %+v is %+v", sum, h, sum.Since(&h))
	}
	if got := other.Since(&sum); got != other {
		t.Errorf("a histogram that began anew counts %+v since then", got)
	}
	// A backlog of a day must not overflow what is summed.
	var big Histogram
	big.Add(24*time.Hour, 1e12)
	if big.Seconds != 86400e12 {
		t.Errorf("the sum is %v", big.Seconds)
	}
}

// A window forgets what is older than ten seconds, and begins anew with a histogram that does.
func TestWindow(t *testing.T) {
	var w Window
	var h Histogram
	now := time.Unix(1000, 0)
	count := func(n, want int64) {
		t.Helper()
		h.Add(time.Millisecond, n)
		if got := w.Recent(now, &h).Count; got != want {
			t.Errorf("at %v: %d in the window, want %d", now.Unix(), got, want)
		}
		now = now.Add(time.Second)
	}
	count(5, 5)
	for i := range int64(10) {
		count(1, i+1) // since the first look, which stood before the window
	}
	for range 5 {
		count(1, 10)
	}
	h = Histogram{}
	count(2, 2)
}

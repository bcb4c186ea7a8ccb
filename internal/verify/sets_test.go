package verify

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// TestSeqSet compares the set with a map of numbers around the borders of words
// and chunks.
func TestSeqSet(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		set, has := newSeqSet(), map[int64]bool{}
		span := int64(3 * chunkBits)
		w := seqWriter{set: set}
		for range rnd.IntN(2000) {
			n := rnd.Int64N(span)
			switch rnd.IntN(3) {
			case 0:
				n = rnd.Int64N(200)
			case 1:
				n = chunkBits + rnd.Int64N(130) - 65
			}
			for run := rnd.IntN(70); run >= 0; run-- {
				if again := w.add(n); again != has[n] {
					t.Fatalf("seed %d: add %d says %v", seed, n, again)
				}
				has[n] = true
				n++
			}
		}
		from := rnd.Int64N(span)
		to := from + rnd.Int64N(span+1000)
		if rnd.IntN(2) == 0 {
			from, to = rnd.Int64N(100), chunkBits+rnd.Int64N(100)
		}
		var want int64
		var ranges []seqRange
		for n := from; n < to; n++ {
			if has[n] {
				continue
			}
			want++
			if k := len(ranges); k > 0 && ranges[k-1].last == n-1 {
				ranges[k-1].last = n
			} else {
				ranges = append(ranges, seqRange{n, n})
			}
		}
		got, examples := set.missing(from, to, 1<<20)
		if got != want || !slices.Equal(examples, ranges) {
			t.Fatalf("seed %d: missing %d in [%d,%d), want %d\n%v\n%v", seed, got, from, to, want, examples, ranges)
		}
		if _, few := set.missing(from, to, 2); !slices.Equal(few, ranges[:min(2, len(ranges))]) {
			t.Fatalf("seed %d: examples %v of %v", seed, few, ranges)
		}
	}
}

// TestSeqSetWriters: of two writers that add the same numbers, one is told of each.
func TestSeqSetWriters(t *testing.T) {
	set := newSeqSet()
	var again [4]int
	var wg sync.WaitGroup
	for k := range again {
		wg.Go(func() {
			w := seqWriter{set: set}
			for n := range int64(100_000) {
				if w.add(n) {
					again[k]++
				}
			}
		})
	}
	wg.Wait()
	if sum := again[0] + again[1] + again[2] + again[3]; sum != 300_000 {
		t.Errorf("%d numbers were there again, want 300000", sum)
	}
	if n, _ := set.missing(0, 100_000, 0); n != 0 {
		t.Errorf("%d are missing", n)
	}
}

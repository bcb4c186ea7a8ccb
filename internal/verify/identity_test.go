package verify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// smallBlock holds a few identities only, so that short tests use the file.
const smallBlock = blockHead + 5*entryBytes

func newPortions(s *identities, n int) {
	for i := range n {
		s.portions = append(s.portions, &portion{p: &partition{topic: "t", id: int32(i)}})
	}
}

// TestIdentities stores events in random order from several goroutines and
// compares what is found with a map.
func TestIdentities(t *testing.T) {
	for _, test := range []struct {
		name           string
		events, copies int // distinct events, and how many records repeat one of them
		limit          int
	}{
		{"one level", 20_000, 5_000, 1 << 10},
		{"several levels", 60_000, 30_000, 8}, // 350 in each bucket, more than one a bucket after that
		{"one event, always again", 1, 50_000, 4},
		{"nothing again", 10_000, 0, 16},
		{"nothing", 0, 0, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const portions = 4
			dir := t.TempDir()
			s := newIdentities(dir, smallBlock, test.limit)
			newPortions(s, portions)
			r := rand.New(rand.NewPCG(1, 2))
			of := make([]int, 0, test.events+test.copies) // the event of each record
			for n := range test.events {
				of = append(of, n)
			}
			for range test.copies {
				of = append(of, r.IntN(test.events))
			}
			r.Shuffle(len(of), func(i, k int) { of[i], of[k] = of[k], of[i] })
			// Record i has offset i of portion i mod portions: the first in the order of portions
			// and offsets is the original, all others are copies.
			first := map[int]int{}
			before := func(a, b int) bool { return a%portions < b%portions || a%portions == b%portions && a < b }
			for i, n := range of {
				if f, ok := first[n]; !ok || before(i, f) {
					first[n] = i
				}
			}
			want := make([]int64, portions)
			for i, n := range of {
				if first[n] != i {
					want[i%portions]++
				}
			}
			var wg sync.WaitGroup
			for l := range portions {
				wg.Go(func() {
					for i := l; i < len(of); i += portions {
						if err := s.add(fmt.Appendf(nil, "event-%d", of[i]), uint32(l), int64(i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if files, _ := os.ReadDir(dir); runtime.GOOS != "windows" && len(files) > 0 {
				t.Errorf("the temporary file has a name: %v", files)
			}
			if used := s.file.end > 0; used != (len(of) > fanOut) {
				t.Errorf("%d events, and a temporary file: %v", len(of), used)
			}
			if err := s.compare(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			// The buckets of a worker's second level take the blocks that others left.
			if blocks := len(s.file.free); blocks > fanOut*(1+2) || blocks < min(test.events/fanOut, fanOut) {
				t.Errorf("%d blocks were in memory", blocks)
			}
			for i, l := range s.portions {
				if l.doubled != want[i] || len(l.copies) != int(min(want[i], maxProblems)) {
					t.Errorf("partition %d: %d copies, want %d; %d examples", i, l.doubled, want[i], len(l.copies))
				}
				for k, c := range l.copies {
					if of[c.offset] != of[c.at] || c.offset%portions != int64(i) || c.at%portions != int64(c.earlier.p.id) || !before(int(c.at), int(c.offset)) {
						t.Errorf("partition %d: %d is said to repeat %d of partition %d", i, c.offset, c.at, c.earlier.p.id)
					}
					if k > 0 && c.offset <= l.copies[k-1].offset {
						t.Errorf("examples are not in order: %v", l.copies)
					}
				}
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestTemporaryDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no device that is always full: %v", err)
	}
	s := newIdentities("/var/scratch", smallBlock, 16)
	s.file.need = 3 << 30
	s.file.f = full
	defer s.close()
	newPortions(s, 1)
	var failed error
	for n := 0; failed == nil && n < 10_000; n++ {
		failed = s.add(fmt.Appendf(nil, "event-%d", n), 0, int64(n))
	}
	if !errors.Is(failed, syscall.ENOSPC) {
		t.Fatalf("a full disk: %v", failed)
	}
	for _, want := range []string{"/var/scratch", "3072 MB", "no space left", "TMPDIR"} {
		if !strings.Contains(failed.Error(), want) {
			t.Errorf("%q does not say %q", failed, want)
		}
	}
}

// BenchmarkIdentities is the cost of finding copies alone: keeping and comparing,
// with the peak of the heap.
func BenchmarkIdentities(b *testing.B) {
	const events = 4_000_000
	for b.Loop() {
		s := newIdentities(b.TempDir(), blockBytes, tableEntries)
		newPortions(s, 2)
		var peak uint64
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		var wg sync.WaitGroup
		for l := range 2 {
			wg.Go(func() {
				id := make([]byte, 0, 128)
				for n := l; n < events; n += 2 {
					id = fmt.Appendf(id[:0], "did:plc:%024d/app.bsky.feed.post/%013d/create/%013d", n%5000, n, n)
					if err := s.add(id, uint32(l), int64(n)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := s.compare(b.Context(), 2); err != nil {
			b.Fatal(err)
		}
		close(stop)
		<-done
		b.ReportMetric(float64(peak)/(1<<20), "peak-heap-MB")
		b.ReportMetric(float64(s.file.end)/(1<<20), "file-MB")
		if err := s.close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

package overflow_test

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab/overflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var zeros = make([]byte, 1<<20)

// batch returns a batch of n events of size bytes each, numbered from first.
func batch(first, n, size int) *event.Batch {
	b := event.NewBatch()
	for i := range n {
		v := b.Copy(zeros[:size])
		*b.Add() = event.Event{Route: event.Data, Value: v, TimeUS: int64(first + i)}
	}
	b.Cursor = event.Cursor{Seq: int64(first + n)}
	b.Received = time.Unix(int64(first), 0)
	return b
}

func mustPut(t *testing.T, q *overflow.Queue, b *event.Batch) {
	t.Helper()
	if err := q.Put(t.Context(), b); err != nil {
		t.Fatalf("put: %v", err)
	}
}

func mustGet(t *testing.T, q *overflow.Queue) *event.Batch {
	t.Helper()
	b, err := q.Get(t.Context())
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return b
}

// oldest returns the oldest batch if there is one.
func oldest(q *overflow.Queue) (*event.Batch, bool) {
	if s := q.Stats(); s.Events+s.Spilled.Events == 0 {
		return nil, false
	}
	b, err := q.Get(context.Background())
	return b, err == nil
}

// drain takes everything that waits and returns the numbers of the events.
func drain(q *overflow.Queue) (numbers []int64, last event.Cursor) {
	for {
		b, ok := oldest(q)
		if !ok {
			return numbers, last
		}
		for _, e := range b.Events {
			numbers = append(numbers, e.TimeUS)
		}
		last = b.Cursor
	}
}

func increasing(t *testing.T, numbers []int64) {
	t.Helper()
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			t.Fatalf("event %d comes after %d", numbers[i], numbers[i-1])
		}
	}
}

func TestWhatIsDroppedIsCountedByItsPolicy(t *testing.T) {
	const capacity, n = 100, 1000
	for _, p := range overflow.Policies()[1:] {
		for _, size := range []int{1, 7, 64, 250} { // a batch over the capacity, too
			q := overflow.New(overflow.Config{Events: capacity, Bytes: 1 << 30, Dir: t.TempDir(), DiskBytes: 5000, Policy: p})
			for i := 0; i < n; i += size {
				mustPut(t, q, batch(i, min(size, n-i), 10))
				if s := q.Stats(); s.Events > max(capacity, size) || p != overflow.DropOldest && p != overflow.Spill && s.Events > capacity {
					t.Fatalf("%v: %d events wait, bound %d", p, s.Events, capacity)
				}
			}
			s := q.Stats()
			got, cursor := drain(q)
			increasing(t, got)
			if lost := int64(n - len(got)); s.Dropped[p] != lost || s.Dropped.Total() != lost || lost == 0 {
				t.Errorf("%v: %d are missing, counted %v", p, lost, s.Dropped)
			}
			if cursor.Seq != n {
				t.Errorf("%v: the position is %d, want that after everything, %d", p, cursor.Seq, n)
			}
			if after := q.Stats(); after.Events != 0 || after.Bytes != 0 {
				t.Errorf("%v: an empty queue holds %d events of %d bytes", p, after.Events, after.Bytes)
			}
		}
	}
}

func TestPoliciesKeepWhatTheySay(t *testing.T) {
	const capacity, n = 100, 1000
	got := map[overflow.Policy][]int64{}
	for _, p := range overflow.Policies()[1:] {
		q := overflow.New(overflow.Config{Events: capacity, Bytes: 1 << 30, Dir: t.TempDir(), DiskBytes: 1 << 30, Policy: p})
		for i := 0; i < n; i += 5 {
			mustPut(t, q, batch(i, 5, 10))
		}
		got[p], _ = drain(q)
	}
	if g := got[overflow.DropNewest]; len(g) != capacity || g[0] != 0 || g[capacity-1] != capacity-1 {
		t.Errorf("drop-newest keeps %v, want the first %d", g, capacity)
	}
	if g := got[overflow.DropOldest]; len(g) != capacity || g[0] != n-capacity || g[capacity-1] != n-1 {
		t.Errorf("drop-oldest keeps %v, want the last %d", g, capacity)
	}
	if g := got[overflow.Spill]; len(g) != n {
		t.Errorf("spill keeps %d of %d", len(g), n)
	}
	// Half is admitted before sampling begins; of the rest some, further and further apart.
	g := got[overflow.Sample]
	if len(g) < capacity*3/4 || g[capacity/2-1] != capacity/2-1 || g[len(g)-1] < 3*capacity/2 {
		t.Errorf("sample keeps %v", g)
	}
}

func TestDropsBoundBytes(t *testing.T) {
	const bound = 10_000
	for _, p := range overflow.Policies()[1:] {
		q := overflow.New(overflow.Config{Events: 1 << 30, Bytes: bound, Dir: t.TempDir(), DiskBytes: bound, Policy: p})
		for i := range 100 {
			mustPut(t, q, batch(i*3, 3, 300))
			if s := q.Stats(); s.Bytes > bound {
				t.Fatalf("%v: %d bytes wait, bound %d", p, s.Bytes, bound)
			}
		}
		s := q.Stats()
		got, _ := drain(q)
		increasing(t, got)
		if lost := int64(300 - len(got)); s.Dropped[p] != lost || len(got) < 3 {
			t.Errorf("%v: %d are missing, counted %v", p, lost, s.Dropped)
		}
	}
}

func TestAGapIsNeverDroppedAndASkipIsNoLoss(t *testing.T) {
	for _, p := range overflow.Policies()[1:] {
		q := overflow.New(overflow.Config{Events: 4, Bytes: 1 << 30, Dir: t.TempDir(), DiskBytes: 100, Policy: p})
		for i := range 10 {
			b := batch(i*4, 4, 10)
			b.Events[1].Route, b.Events[2].Route = event.Gap, event.Skip
			mustPut(t, q, b)
		}
		s := q.Stats()
		gaps, data := 0, int64(0)
		for {
			b, ok := oldest(q)
			if !ok {
				break
			}
			for _, e := range b.Events {
				switch e.Route {
				case event.Gap:
					gaps++
				case event.Data:
					data++
				}
			}
		}
		if gaps != 10 {
			t.Errorf("%v: %d gaps of 10 are left", p, gaps)
		}
		if s.Dropped[p] != 20-data {
			t.Errorf("%v: %d of 20 are missing, counted %v", p, 20-data, s.Dropped)
		}
	}
}

func TestAPolicyChangesWhileAPutterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := overflow.New(overflow.Config{Events: 10, Bytes: 1 << 30})
		mustPut(t, q, batch(0, 10, 10))
		put := make(chan error)
		go func() { put <- q.Put(t.Context(), batch(10, 5, 10)) }()
		time.Sleep(time.Second)
		q.SetPolicy(overflow.DropOldest)
		if err := <-put; err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Dropped[overflow.DropOldest] != 5 || s.Events != 10 || s.Blocked != time.Second || s.Policy != overflow.DropOldest {
			t.Errorf("stats = %+v, want 5 dropped after a second", s)
		}
		q.SetPolicy(overflow.Block)
		go func() { put <- q.Put(t.Context(), batch(15, 5, 10)) }()
		synctest.Wait()
		if s := q.Stats(); s.Dropped.Total() != 5 {
			t.Errorf("dropped %v after the return to block", s.Dropped)
		}
		mustGet(t, q)
		if err := <-put; err != nil {
			t.Fatal(err)
		}
	})
}

// TestRandomTraffic changes policies in the middle of gets and puts.
func TestRandomTraffic(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	q := overflow.New(overflow.Config{Events: 50, Bytes: 4000, Dir: dir, DiskBytes: 20_000})
	var got []int64
	next := 0
	for range 5000 {
		q.SetPolicy(overflow.Policies()[1+r.IntN(4)])
		n := 1 + r.IntN(20)
		mustPut(t, q, batch(next, n, 1+r.IntN(100)))
		next += n
		for r.IntN(3) == 0 {
			if b, ok := oldest(q); ok {
				for _, e := range b.Events {
					got = append(got, e.TimeUS)
				}
			}
		}
	}
	s := q.Stats()
	rest, cursor := drain(q)
	got = append(got, rest...)
	increasing(t, got)
	if lost := int64(next - len(got)); s.Dropped.Total() != lost || s.Dropped[overflow.Block] != 0 {
		t.Errorf("%d of %d are missing, counted %v", lost, next, s.Dropped)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 || s.Spilled.Total == 0 {
		t.Errorf("%d events were spilled; left are %v, %v", s.Spilled.Total, entries, err)
	}
	if cursor.Seq != int64(next) && len(rest) > 0 {
		t.Errorf("position %d, want %d", cursor.Seq, next)
	}
}

func TestPolicyNames(t *testing.T) {
	for i, name := range []string{"block", "drop-newest", "drop-oldest", "sample", "spill"} {
		p, err := overflow.ParsePolicy(name)
		if err != nil || int(p) != i || p.String() != name {
			t.Errorf("%q is %v, %v", name, p, err)
		}
	}
	if _, err := overflow.ParsePolicy("keep"); err == nil {
		t.Error("an unknown policy is accepted")
	}
}

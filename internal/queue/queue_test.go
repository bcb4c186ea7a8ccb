package queue_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/queue"
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

func mustPut(t *testing.T, q *queue.Queue, b *event.Batch) {
	t.Helper()
	if err := q.Put(t.Context(), b); err != nil {
		t.Fatalf("put: %v", err)
	}
}

func mustGet(t *testing.T, q *queue.Queue) *event.Batch {
	t.Helper()
	b, err := q.Get(t.Context())
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return b
}

func TestOrderIsKeptAndMemoryStaysDense(t *testing.T) {
	q := queue.New(1000, 1<<20)
	for i := range 100 { // single events, as a slow stream delivers them
		mustPut(t, q, batch(i, 1, 500))
	}
	if s := q.Stats(); s.Events != 100 || s.Bytes != 50_000 {
		t.Fatalf("stats = %+v, want 100 events of 50000 bytes", s)
	}
	b := mustGet(t, q)
	if len(b.Events) != 100 {
		t.Fatalf("first batch has %d events, want the 100 small ones in one", len(b.Events))
	}
	for i, e := range b.Events {
		if e.TimeUS != int64(i) || len(e.Value) != 500 {
			t.Fatalf("event %d is %d of %d bytes", i, e.TimeUS, len(e.Value))
		}
		if us := b.ReceivedUS(&e); us != int64(i)*1e6 {
			t.Fatalf("event %d was received at %d µs, want its own time", i, us)
		}
	}
	if b.Cursor.Seq != 100 {
		t.Errorf("cursor = %d, want the one after the last event, 100", b.Cursor.Seq)
	}
	if s := q.Stats(); s.Events != 0 || s.Bytes != 0 {
		t.Errorf("stats of the empty queue = %+v", s)
	}
}

func TestMergedEventsKeepTheirBytes(t *testing.T) {
	q := queue.New(1000, 1<<20)
	for i := range 10 {
		b := event.NewBatch()
		v := b.CopyString("value " + strconv.Itoa(i))
		*b.Add() = event.Event{Route: event.Data, Value: v, Key: b.CopyString("key"), ID: v[:2]}
		mustPut(t, q, b)
		// What the pool hands out next overwrites what was released.
		n := event.NewBatch()
		n.CopyString("xxxxxxxxxxxxxxxxxxxxxxxxxxx")
		n.Release()
	}
	b := mustGet(t, q)
	for i, e := range b.Events {
		if want := "value " + strconv.Itoa(i); string(e.Value) != want || string(e.Key) != "key" || string(e.ID) != "va" {
			t.Errorf("event %d = %q %q %q", i, e.Key, e.Value, e.ID)
		}
	}
	b = event.NewBatch()
	*b.Add() = event.Event{Route: event.Gap}
	mustPut(t, q, batch(0, 1, 1))
	mustPut(t, q, b)
	if e := mustGet(t, q).Events[1]; e.Key != nil || e.Value != nil || e.ID != nil {
		t.Error("a nil key did not stay nil")
	}
}

func TestEventsOfTwoHostsStayApart(t *testing.T) {
	q := queue.New(1000, 1<<20)
	for _, host := range []string{"a", "a", "b", "a"} {
		b := batch(0, 1, 10)
		b.Cursor.Host = host
		mustPut(t, q, b)
	}
	for _, want := range []struct {
		host   string
		events int
	}{{"a", 2}, {"b", 1}, {"a", 1}} {
		if b := mustGet(t, q); b.Cursor.Host != want.host || len(b.Events) != want.events {
			t.Errorf("got %d events of %s, want %d of %s", len(b.Events), b.Cursor.Host, want.events, want.host)
		}
	}
}

func TestLimitsBlockThePutter(t *testing.T) {
	for _, tt := range []struct {
		name      string
		maxEvents int
		maxBytes  int64
	}{
		{"events", 4, 1 << 30},
		{"bytes", 1 << 30, 4 * 200_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := queue.New(tt.maxEvents, tt.maxBytes)
				for i := range 4 {
					mustPut(t, q, batch(i, 1, 200_000))
				}
				put := make(chan error)
				go func() { put <- q.Put(t.Context(), batch(4, 1, 200_000)) }()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				select {
				case err := <-put:
					t.Fatalf("put into a full queue returned %v", err)
				default:
				}
				if got := q.Stats().Blocked; got != 3*time.Second {
					t.Errorf("blocked so far = %v, want 3s", got)
				}
				if first := mustGet(t, q).Events[0].TimeUS; first != 0 {
					t.Errorf("got event %d first", first)
				}
				if err := <-put; err != nil {
					t.Errorf("put after a get: %v", err)
				}
				time.Sleep(time.Second)
				if s := q.Stats(); s.Blocked != 3*time.Second || s.Events != 4 {
					t.Errorf("stats = %+v, want 4 events and 3s blocked", s)
				}
			})
		})
	}
}

func TestABatchOverTheLimitPassesAnEmptyQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(10, 1000)
		mustPut(t, q, batch(0, 100, 1000))
		put := make(chan error)
		go func() { put <- q.Put(t.Context(), batch(100, 100, 1000)) }()
		synctest.Wait()
		if n := q.Stats().Events; n != 100 {
			t.Fatalf("%d events wait, want the first batch alone", n)
		}
		mustGet(t, q)
		if err := <-put; err != nil {
			t.Fatal(err)
		}
		if b := mustGet(t, q); b.Events[0].TimeUS != 100 {
			t.Error("the second batch is not the second")
		}
	})
}

func TestWaitGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(1000, 1<<20)
		start := time.Now()
		if err := q.Wait(t.Context(), 10, 1<<20, 50*time.Millisecond); err != nil || time.Since(start) != 50*time.Millisecond {
			t.Errorf("wait on an empty queue: %v after %v, want 50ms", err, time.Since(start))
		}

		go func() {
			for i := range 20 {
				time.Sleep(time.Millisecond)
				mustPut(t, q, batch(i, 1, 10))
			}
		}()
		start = time.Now()
		if err := q.Wait(t.Context(), 10, 1<<20, time.Second); err != nil || time.Since(start) != 10*time.Millisecond {
			t.Errorf("wait for 10 events: %v after %v, want 10ms", err, time.Since(start))
		}
		time.Sleep(time.Second)
		if n := len(mustGet(t, q).Events); n != 20 {
			t.Errorf("%d events in the batch, want 20", n)
		}

		// A putter that cannot go on ends a wait for more than the queue can hold.
		small := queue.New(5, 1<<20)
		go func() {
			for i := range 6 {
				mustPut(t, small, batch(i, 1, 200_000))
			}
		}()
		start = time.Now()
		if err := small.Wait(t.Context(), 100, 1<<30, time.Hour); err != nil || time.Since(start) != 0 {
			t.Errorf("wait for more than fits: %v after %v, want at once", err, time.Since(start))
		}
		mustGet(t, small)
		synctest.Wait()
	})
}

func TestABatchWithoutEventsIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(10, 1000)
		go func() {
			time.Sleep(time.Second)
			b := event.NewBatch()
			b.Cursor.Seq = 7
			mustPut(t, q, b)
		}()
		if b := mustGet(t, q); b.Cursor.Seq != 7 {
			t.Errorf("cursor = %d", b.Cursor.Seq)
		}
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(1, 1<<20)
		mustPut(t, q, batch(0, 1, 200_000))
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- q.Put(t.Context(), batch(1, 1, 200_000)) }()
		}
		synctest.Wait()
		q.Close()
		q.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, queue.ErrClosed) {
				t.Errorf("blocked put: %v, want ErrClosed", err)
			}
		}
		if err := q.Put(t.Context(), batch(2, 1, 1)); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("put after close: %v, want ErrClosed", err)
		}
		if b := mustGet(t, q); b.Events[0].TimeUS != 0 {
			t.Error("what waited is gone")
		}
		if _, err := q.Get(t.Context()); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("get from the drained queue: %v, want ErrClosed", err)
		}
	})
}

func TestCloseWakesTheGetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New(1, 1)
		go func() { time.Sleep(time.Second); q.Close() }()
		if _, err := q.Get(t.Context()); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("get: %v, want ErrClosed", err)
		}
	})
}

func TestContextEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q := queue.New(1, 1<<20)
		if _, err := q.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
		mustPut(t, q, batch(0, 1, 200_000))
		if err := q.Put(ctx, batch(1, 1, 200_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put: %v", err)
		}
	})
}

// TestManyPutters moves random batches from several goroutines through a small
// queue: nothing is lost, doubled or reordered within one putter.
func TestManyPutters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const putters, each = 4, 2000
	q := queue.New(50, 300_000)
	var wg sync.WaitGroup
	for p := range putters {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(p)))
			for i := 0; i < each; {
				n := min(1+rnd.IntN(5), each-i)
				b := batch(i, n, rnd.IntN(20_000))
				for j := range b.Events {
					b.Events[j].Size = int64(p)
				}
				mustPut(t, q, b)
				i += n
			}
		})
	}
	go func() { wg.Wait(); q.Close() }()
	var next [putters]int64
	for {
		b, err := q.Get(t.Context())
		if err != nil {
			break
		}
		for _, e := range b.Events {
			if e.TimeUS != next[e.Size] {
				t.Fatalf("putter %d: got event %d, want %d", e.Size, e.TimeUS, next[e.Size])
			}
			next[e.Size]++
		}
		b.Release()
	}
	for p, n := range next {
		if n != each {
			t.Errorf("putter %d: %d events, want %d", p, n, each)
		}
	}
	if s := q.Stats(); s.Events != 0 || s.Bytes != 0 {
		t.Errorf("stats of the drained queue = %+v", s)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := queue.New(10_000, 32<<20)
	go func() {
		for range b.N/100 + 1 {
			_ = q.Put(context.Background(), batch(0, 100, 600))
		}
		q.Close()
	}()
	b.ReportAllocs()
	for {
		x, err := q.Get(context.Background())
		if err != nil {
			return
		}
		x.Release()
	}
}

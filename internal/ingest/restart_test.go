package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

// shortOfMemory returns an ingester whose filter holds nothing but what it has to: no tail of
// each partition helps it.
func (w *world) shortOfMemory(src ingest.Source) *ingest.Ingester {
	i := w.ingester(src)
	i.Forget(1<<20, 50)
	return i
}

// TestRestartRepeatsMoreThanTheTail repeats what lies within the window after a restart.
func TestRestartRepeatsMoreThanTheTail(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := 1000; n <= 2000; n += 500 {
			src := &script{n: n, size: 50, margin: 450}
			r := w.run(w.shortOfMemory(src))
			r.drain(t, n)
			w.verify(src, n)
			if s := r.Stats(); n > 1000 && s.Duplicates < 400 {
				t.Errorf("%d duplicates: nothing was repeated", s.Duplicates)
			}
		}
	})
}

// lone is an event of a partition where each record has a transaction's marker behind it.
func lone(n int) item {
	it := plain(n)
	it.route, it.kind, it.key = event.Data, "create", "one"
	it.value = fmt.Sprintf(`{"n":%d}`, n)
	return it
}

// ahead repeats by number, and its clock is an hour ahead of this machine's.
type ahead struct{ *script }

func (a ahead) Repeats() int { return a.margin }

func (a ahead) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	return a.script.Stream(ctx, from, func(b *event.Batch) error {
		b.Cursor.TimeUS += time.Hour.Microseconds()
		return emit(b)
	})
}

// TestRestartRepeatsByNumber repeats by number after reconnects and restarts: far more than lies
// within the window, of events whose age nothing shows.
func TestRestartRepeatsByNumber(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := 200; n <= 220; n += 20 {
			src := &script{n: n, size: 1, margin: 150, cut: 170, window: 10 * time.Millisecond, pause: 25 * time.Millisecond, item: func(n int) item {
				it := lone(n)
				it.us = 0
				return it
			}}
			cfg := w.config(ahead{src})
			cfg.MaxEvents = 1
			i, err := ingest.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			i.Forget(1<<20, 1)
			r := w.run(i)
			r.drain(t, n)
			w.verify(src, n)
			if s := r.Stats(); s.Duplicates < 150 {
				t.Errorf("%d duplicates: nothing was repeated", s.Duplicates)
			}
		}
	})
}

// TestRestartKnowsEventsWithoutATime repeats events without a time of their own after a
// restart. Their records have this machine's, which is behind upstream's here: a search
// by time from the position on finds none of them.
func TestRestartKnowsEventsWithoutATime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := 1000; n <= 1500; n += 500 {
			src := &script{n: n, size: 50, margin: 200, window: 100 * time.Millisecond, item: func(n int) item {
				it := lone(n)
				it.us = 0
				return it
			}}
			r := w.run(w.ingester(src))
			r.drain(t, n)
			w.verify(src, n)
			if s := r.Stats(); n > 1000 && s.Duplicates != 200 {
				t.Errorf("%d duplicates of 200 that came again", s.Duplicates)
			}
		}
	})
}

// TestOriginStaysInTheCursor has batches that do not say where they come from.
func TestOriginStaysInTheCursor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 100, size: 10}
		cfg := w.config(src)
		cfg.Origin = event.OriginLive
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.run(i).drain(t, 100)
		rec, _, err := kafka.ReadCursor(t.Context(), w.cfg, "bluesky")
		if err != nil || rec.Cursor.Origin != event.OriginLive {
			t.Errorf("the cursor's origin is %q, %v", rec.Cursor.Origin, err)
		}
	})
}

// reusing is a source whose batches' positions lie in memory that the test overwrites once
// they are gathered, as it is when a batch is used again.
type reusing struct {
	script
	mu    sync.Mutex
	kept  []event.Partition // of all batches
	asked []event.Cursor
}

func (r *reusing) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	r.asked = append(r.asked, from)
	return r.script.Stream(ctx, from, func(b *event.Batch) error {
		r.mu.Lock()
		r.kept = append(r.kept, event.Partition{Topic: "t", TimestampMS: b.Cursor.Seq})
		b.Cursor.Partitions = r.kept[len(r.kept)-1:]
		r.mu.Unlock()
		return emit(b)
	})
}

func (r *reusing) overwrite() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.kept {
		r.kept[i].TimestampMS = -1
	}
}

// TestCursorIsACopy overwrites the memory of positions as soon as their batches are gathered.
func TestCursorIsACopy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &reusing{script: script{n: 100, size: 10, cut: 40, err: errors.New("cut"), pause: time.Second}, kept: make([]event.Partition, 0, 100)}
		overwritten := 0
		hook(t, func(point string) {
			if point == "ingest: gathered" {
				overwritten++
				src.overwrite()
			}
		})
		r := w.run(w.ingester(src))
		until(t, "all is committed", func() bool { return r.Stats().Cursor.Seq == 100 })
		r.stop(t)
		rec, _, err := kafka.ReadCursor(t.Context(), w.cfg, "bluesky")
		if err != nil {
			t.Fatal(err)
		}
		if overwritten == 0 || len(src.asked) != 3 {
			t.Fatalf("%d times overwritten, %d connections", overwritten, len(src.asked))
		}
		for _, c := range append(src.asked[1:], rec.Cursor) {
			if len(c.Partitions) != 1 || c.Partitions[0].TimestampMS != c.Seq {
				t.Errorf("the cursor of event %d has the partitions %v", c.Seq, c.Partitions)
			}
		}
	})
}

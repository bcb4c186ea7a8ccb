package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
)

// delivery is what a server sends on one connection: events by their numbers, in that
// order. Then the connection breaks, or, after the last delivery, stays open.
type delivery []int

// sender sends deliveries, whatever it is asked for. Its events are those of script; one
// of a server whose clock is off has its stamp shifted.
type sender struct {
	script
	todo []delivery
	skew []time.Duration // of the server of each delivery
	sent int             // events so far
	last bool            // the end of the last delivery is the end of the test
	seed uint64          // of the sizes of batches, up to 60
}

func (s *sender) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	if len(s.todo) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	d, skew := s.todo[0], s.skew[0]
	s.todo, s.skew = s.todo[1:], s.skew[1:]
	reached, sizes := from, rand.New(rand.NewPCG(s.seed, 3))
	for len(d) > 0 {
		b := event.NewBatch()
		b.Received = time.Now()
		for range min(1+sizes.IntN(60), len(d)) {
			s.append(b, d[0])
			e := &b.Events[len(b.Events)-1]
			if e.TimeUS > 0 {
				e.TimeUS += skew.Microseconds()
			}
			if reached.TimeUS < e.TimeUS {
				reached.TimeUS = e.TimeUS
			}
			s.sent++
			d = d[1:]
		}
		reached.Seq = -int64(s.sent)
		if s.last && len(s.todo) == 0 && len(d) == 0 {
			reached.Seq = int64(s.n)
		}
		b.Cursor = reached
		if err := emit(b); err != nil {
			return err
		}
	}
	return errors.New("cut")
}

// TestHostsThatSendAgainWhatNobodyAskedFor has servers that ignore what they are asked for:
// they send any stretch of what there is, in any order, with clocks that are off, and
// are cut anywhere. Some events come for the first time in such a stretch, long after
// those around them. Ingesters begin anew and die meanwhile. Each event is stored once.
func TestHostsThatSendAgainWhatNobodyAskedFor(t *testing.T) {
	base, seeds := baseSeed(t, 25)
	all := points(t)
	late, again, deaths := 0, int64(0), 0
	for n := range seeds {
		seed := base + uint64(n)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l, a, d := replayRun(t, rand.New(rand.NewPCG(seed, 2)), all)
			late, again, deaths = late+l, again+a, deaths+d
		})
	}
	if late == 0 || again == 0 || deaths == 0 && seeds > 1 {
		t.Errorf("%d late events, %d duplicates, %d deaths: the schedules test nothing", late, again, deaths)
	}
}

// spaced makes events that are spread over hours from a time on, of every route but gaps.
func spaced(n int, since time.Duration) item {
	it := plain(n)
	if it.route == event.Gap {
		it.route, it.kind = event.Data, "create"
	}
	it.us = epoch + since.Microseconds() + int64(n)*7_000_000
	return it
}

// forgetful returns an ingester whose filter remembers hardly more than its window.
func (w *world) forgetful(src ingest.Source, limit int) *ingest.Ingester {
	w.t.Helper()
	cfg := w.config(src)
	cfg.MaxEvents = 10
	i, err := ingest.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	i.Forget(limit, 60)
	return i
}

func replayRun(t *testing.T, rnd *rand.Rand, points []string) (late int, again int64, deaths int) {
	bubble(t, func(t *testing.T, w *world) {
		hook(t, nil)
		n := 100 + rnd.IntN(900)
		missed := map[int]bool{} // by the first server
		for range rnd.IntN(50) {
			missed[rnd.IntN(n)] = true
		}
		late = len(missed)
		src := &sender{script: script{n: n, window: 30 * time.Second}, seed: rnd.Uint64()}
		var everything delivery
		since := time.Duration(0) // hours ahead of this machine's clock, or behind it
		if rnd.IntN(4) > 0 {
			since = -10 * time.Hour
		}
		src.item = func(n int) item { return spaced(n, since) }
		live := 0
		for live < n {
			// A server follows the stream for a while.
			to := min(n, live+1+rnd.IntN(300))
			var d delivery
			for ; live < to; live++ {
				if !missed[live] {
					d = append(d, live)
				}
			}
			src.todo, src.skew = append(src.todo, d), append(src.skew, time.Duration(rnd.IntN(15)-7)*time.Second)
			// Others send stretches of what was, in any order.
			for range rnd.IntN(4) {
				from := rnd.IntN(live)
				d = nil
				for i := from; i < from+rnd.IntN(live-from)+1; i++ {
					d = append(d, i)
				}
				if rnd.IntN(2) == 0 {
					rnd.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
				}
				src.todo, src.skew = append(src.todo, d), append(src.skew, time.Duration(rnd.IntN(15)-7)*time.Second)
			}
		}
		for i := range n {
			everything = append(everything, i)
		}
		rest := src.todo
		for range 1 + rnd.IntN(4) {
			hit := arm(plan{points[rnd.IntN(len(points))], 1 + rnd.IntN(4)})
			sending := *src // what a dead ingester's source still does is its own
			r := w.run(w.forgetful(&sending, 1<<20))
			for range 1 + rnd.IntN(400) {
				if time.Sleep(10 * time.Millisecond); hit() {
					deaths++
					break
				}
			}
			r.cancel()
			if err := r.end(t); err != nil && !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			again += r.Stats().Duplicates
			if r.Stats().TooOld != 0 {
				t.Errorf("%d events were too old to tell, and the topics hold everything", r.Stats().TooOld)
			}
			// What an ingester had taken and not stored comes again, as from a server that is asked.
			src.todo = rest
			src.skew = make([]time.Duration, len(rest))
			src.seed++
		}
		crash.SetHook(nil)
		src.last = true
		src.todo, src.skew = append(slices.Clone(src.todo), everything), append(src.skew, 0)
		r := w.run(w.forgetful(src, 1<<20))
		until(t, "everything was sent and is committed", func() bool {
			return r.Stats().Cursor.Seq == int64(n)
		})
		r.stop(t)
		again += r.Stats().Duplicates
		if s := r.Stats(); s.TooOld != 0 {
			t.Errorf("%d events were too old to tell, and the topics hold everything", s.TooOld)
		}
		w.verify(&src.script, n)
	})
	return late, again, deaths
}

// What the transaction that is being built holds is in no topic yet. A look back does not forget it.
func TestALookBackKeepsWhatIsNotCommitted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		hook(t, nil)
		const first, n = 300, 302
		src := &sender{script: script{n: n, window: 30 * time.Second}, seed: 1}
		src.item = func(n int) item { return spaced(n, -10*time.Hour) }
		src.todo, src.skew = []delivery{follow(0, first)}, []time.Duration{0}
		r := w.run(w.forgetful(src, 1<<20))
		until(t, "the first are committed", func() bool { return r.Stats().Cursor.Seq == -first })
		r.stop(t)
		src.todo, src.skew, src.last = []delivery{{300, 5, 300, 5, 301}}, []time.Duration{0}, true
		cfg := w.config(src) // one transaction for all
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		i.Forget(1<<20, 60)
		r = w.run(i)
		until(t, "all were sent", func() bool { return r.Stats().Cursor.Seq == n })
		r.stop(t)
		if s := r.Stats(); s.Duplicates != 3 || s.TooOld != 0 {
			t.Errorf("%d duplicates, %d too old", s.Duplicates, s.TooOld)
		}
		w.verify(&src.script, n)
	})
}

// follow returns the numbers from a to b.
func follow(a, b int) (d delivery) {
	for i := a; i < b; i++ {
		d = append(d, i)
	}
	return d
}

// tooOld stores 300 events, changes something, has all of them sent again and 50 new ones
// after them, and returns what the ingester says of it.
func tooOld(t *testing.T, w *world, limit int, change func()) ingest.Stats {
	t.Helper()
	src := &sender{script: script{n: 350, window: 30 * time.Second}}
	src.item = func(n int) item { return spaced(n, -10*time.Hour) }
	src.todo, src.skew = []delivery{follow(0, 300)}, []time.Duration{0}
	i := w.forgetful(src, limit)
	r := w.run(i)
	until(t, "the first are committed", func() bool { return r.Stats().Cursor.Seq == -300 })
	r.stop(t)
	change()
	src.todo, src.skew, src.last = []delivery{follow(0, 350)}, []time.Duration{0}, true
	r = w.run(w.forgetful(src, limit))
	until(t, "all were sent", func() bool { return r.Stats().Cursor.Seq == 350 })
	r.stop(t)
	return r.Stats()
}

// skips is how many of the first n events are never stored.
func skips(n int) (k int64) {
	for i := range n {
		if plain(i).route == event.Skip {
			k++
		}
	}
	return k
}

// Topics that no longer hold what was stored cannot tell: what is so old is not stored, and
// counted. That is so for a topic that has grown, too: an event that comes again belongs to
// another partition now than the deleted record of it.
func TestTooOldWhereRecordsWereDeleted(t *testing.T) {
	t.Run("topics as they were", func(t *testing.T) { tooOldAfterDeletion(t, 0) })
	t.Run("topics that grow", func(t *testing.T) { tooOldAfterDeletion(t, 5) })
}

func tooOldAfterDeletion(t *testing.T, more int) {
	bubble(t, func(t *testing.T, w *world) {
		stored, kept := 0, 0
		s := tooOld(t, w, 1<<20, func() {
			stored = len(w.read())
			cl := w.client()
			defer cl.Close()
			adm := kadm.NewClient(cl)
			ends, err := adm.ListEndOffsets(t.Context(), topics.Data, topics.Account, topics.DeadLetter)
			if err != nil {
				t.Fatal(err)
			}
			upTo := kadm.Offsets{}
			ends.Each(func(o kadm.ListedOffset) { // the end stays: that is read at every start
				upTo.AddOffset(o.Topic, o.Partition, max(0, o.Offset-8), -1)
			})
			if _, err = adm.DeleteRecords(t.Context(), upTo); err != nil {
				t.Fatal(err)
			}
			if more > 0 {
				if _, err := adm.CreatePartitions(t.Context(), more, topics.Data, topics.Account); err != nil {
					t.Fatal(err)
				}
			}
			kept = len(w.read())
		})
		if kept < 10 || kept > stored/2 {
			t.Fatalf("%d of %d records kept", kept, stored)
		}
		if got := len(w.read()); got != kept+50-int(skips(350)-skips(300)) {
			t.Errorf("%d records, %d before", got, kept)
		}
		if s.TooOld+s.Duplicates != int64(stored) || s.TooOld < int64(stored-kept) {
			t.Errorf("%d too old and %d duplicates of %d, of which %d were kept", s.TooOld, s.Duplicates, stored, kept)
		}
	})
}

// What the filter cannot hold is not looked up: it is not stored, and counted.
func TestTooOldWhereItIsTooMuch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		stored := int64(0)
		s := tooOld(t, w, 100, func() { stored = int64(len(w.read())) })
		if got := int64(len(w.read())); got != stored+50-(skips(350)-skips(300)) {
			t.Errorf("%d records, %d before", got, stored)
		}
		if s.TooOld+s.Duplicates != stored || s.TooOld < stored/2 || s.Duplicates < 10 {
			t.Errorf("%d too old and %d duplicates of %d", s.TooOld, s.Duplicates, stored)
		}
	})
}

package ingest_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

// openingPoints returns the crash points that an ingester passes before it streams.
func openingPoints(t *testing.T) (list []string) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(50)
		opening := true
		hook(t, func(p string) {
			if opening && !slices.Contains(list, p) {
				list = append(list, p)
			}
			opening = opening && p != "ingest: filter rebuilt"
		})
		w.run(w.ingester(&script{n: 60, size: 10})).drain(t, 60)
	})
	if len(list) < 6 || list[len(list)-1] != "ingest: filter rebuilt" {
		t.Fatalf("an ingester that opens passes %q", list)
	}
	return list
}

// TestZombieActsWhileASuccessorOpens has a predecessor that is alive and tries to commit at
// one point of its successor's opening. Wherever that is, it comes before the fence and
// the successor knows of it, or it comes to nothing.
func TestZombieActsWhileASuccessorOpens(t *testing.T) {
	for _, at := range openingPoints(t) {
		t.Run(at, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				hook(t, nil)
				gate := make(chan struct{})
				zombie := w.run(w.ingester(&gated{script: script{n: 200, size: 100}, gate: gate}))
				until(t, "the zombie has committed its first batch", func() bool { return zombie.Stats().Cursor.Seq == 100 })
				acted := false
				crash.SetHook(func(point string) {
					if point == at {
						acted = true
						crash.SetHook(nil)
						close(gate) // the zombie's second batch
						time.Sleep(2 * time.Second)
					}
				})
				src := &script{n: 200, size: 50}
				w.run(w.ingester(src)).drain(t, 200)
				if !acted {
					t.Fatal("the zombie did not act")
				}
				var fenced *ingest.FencedError
				if err := zombie.end(t); !errors.As(err, &fenced) {
					t.Errorf("the zombie ended with %v, want a FencedError", err)
				}
				w.verify(src, 200)
			})
		})
	}
}

// TestTakeoverOfAQuietStream has a successor with nothing to store. The predecessor, which
// has something, must learn all the same who has fenced it.
func TestTakeoverOfAQuietStream(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		gate := make(chan struct{})
		first := w.run(w.ingester(&gated{script: script{n: 200, size: 100}, gate: gate}))
		until(t, "the first has committed its first batch", func() bool { return first.Stats().Cursor.Seq == 100 })
		second := w.run(w.ingester(&script{n: 100}))
		until(t, "the second is at work", func() bool { return second.Stats().State == ingest.StateRunning })
		close(gate)
		var fenced *ingest.FencedError
		if err := first.end(t); !errors.As(err, &fenced) {
			t.Errorf("the first ended with %v, want a FencedError", err)
		}
		if s := second.Stats(); s.Restarts != 0 {
			t.Errorf("the second was disturbed: %s", s.LastError)
		}
		second.stop(t)
	})
}

// TestClaimThatFails refuses the claim of an ingester that goes on where another one ended:
// the one before is not a successor, and the ingester tries again.
func TestClaimThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(200)
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, Count: 1})
		src := &script{n: 300, size: 10, margin: 50, host: "h:1"}
		w.run(w.ingester(src)).drain(t, 300)
		if h.Hits() != 1 {
			t.Fatalf("the fault fired %d times", h.Hits())
		}
		w.verify(src, 300)
	})
}

// TestPositionWaitsForAnOpenTransaction has a stranger's transaction open in the cursor topic,
// below the cursor that counts. An ingester that starts waits until it ends: readers of
// committed records cannot see that cursor before.
func TestPositionWaitsForAnOpenTransaction(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		gate := make(chan struct{})
		first := w.run(w.ingester(&gated{script: script{n: 200, size: 100}, gate: gate}))
		until(t, "the first batch is committed", func() bool { return first.Stats().Cursor.Seq == 100 })
		stranger := w.client(kgo.TransactionalID("stranger"), kgo.TransactionTimeout(10*time.Minute),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer stranger.Close()
		if err := stranger.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		rec := &kgo.Record{Topic: kafka.TopicCursors, Key: []byte("x"), Value: []byte("y")}
		if err := stranger.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		close(gate)
		first.drain(t, 200)

		src := &script{n: 300, size: 10, margin: 50}
		r := w.run(w.ingester(src))
		time.Sleep(10 * time.Second)
		if s := r.Stats(); s.State != ingest.StateStarting || src.streams != 0 {
			t.Errorf("state %q and %d streams (%s) while the cursor is hidden", s.State, src.streams, s.LastError)
		}
		if err := stranger.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		r.drain(t, 300)
		w.verify(src, 300)
	})
}

// TestOtherSourcesLettersAreTheirs has dead letters of the other source, with numbers that
// this one's cursor has not given out.
func TestOtherSourcesLettersAreTheirs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		other, err := kafka.Partition("wikipedia")
		if err != nil {
			t.Fatal(err)
		}
		cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer cl.Close()
		rec := &kgo.Record{Topic: topics.DeadLetter, Partition: other, Key: []byte("wikipedia"), Value: []byte("x"),
			Headers: []kgo.RecordHeader{{Key: kafka.HeaderKind, Value: []byte("malformed")}, {Key: kafka.HeaderSeq, Value: []byte("500")},
				{Key: kafka.HeaderHost, Value: []byte("w:443")}}}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		r := w.run(w.ingester(&script{n: 100, size: 10}))
		r.drain(t, 100)
		if s := r.Stats(); s.Restarts != 0 {
			t.Errorf("%d restarts: %s", s.Restarts, s.LastError)
		}
	})
}

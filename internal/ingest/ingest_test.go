package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

func TestEveryEventOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 5000, size: 37, host: "host:443"}
		r := w.run(w.ingester(src))
		r.drain(t, 5000)
		w.verify(src, 5000)
		s := r.Stats()
		if s.Events != 4790 || s.Rejects != 100 || s.Skipped != 100 || s.Gaps != 10 || s.Duplicates != 0 {
			t.Errorf("stats = %+v", s)
		}
		if s.Latency.Count != 5000 || s.State != ingest.StateStopped || s.Restarts != 0 || s.LastCommit.IsZero() {
			t.Errorf("stats = %+v", s)
		}
	})
}

func TestReconnectsDropWhatComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 3000, size: 10, margin: 100, cut: 700}
		r := w.run(w.ingester(src))
		r.drain(t, 3000)
		w.verify(src, 3000)
		if s := r.Stats(); s.Duplicates == 0 || src.streams < 5 || s.Restarts != 0 {
			t.Errorf("%d duplicates in %d streams, %d restarts", s.Duplicates, src.streams, s.Restarts)
		}
	})
}

// TestOneBatchLongerThanTheWindow has batches that begin with what comes again
// and end with what came long after it, as a quiet stream's do.
func TestOneBatchLongerThanTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 3000, size: 256, margin: 50, cut: 700, window: 100 * time.Millisecond}
		cfg := w.config(src)
		cfg.MaxEvents = 1 // so that the filter keeps nothing for the sake of what is not committed
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		i.Forget(1<<20, 1)
		r := w.run(i)
		r.drain(t, 3000)
		w.verify(src, 3000)
		if s := r.Stats(); s.Duplicates == 0 || src.streams < 5 {
			t.Errorf("%d duplicates in %d streams", s.Duplicates, src.streams)
		}
	})
}

// repeater is a source that sends events again by number.
type repeater struct{ *script }

func (r repeater) Repeats() int { return r.margin }

// TestRepeatsOlderThanTheWindow has a quiet stream, on which what is sent again
// by number is far older than the window; over reconnects and restarts.
func TestRepeatsOlderThanTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := 1000; n <= 4000; n += 1000 {
			src := &script{n: n, size: 7, margin: 400, cut: 700, window: 50 * time.Millisecond}
			r := w.run(w.ingester(repeater{src}))
			r.drain(t, n)
			w.verify(src, n)
			if s := r.Stats(); s.Duplicates == 0 && src.streams > 1 {
				t.Errorf("%d duplicates in %d streams", s.Duplicates, src.streams)
			}
		}
	})
}

// TestRestartsGoOn stops and starts ingesters in turn; each has to learn from
// Kafka what the one before has written.
func TestRestartsGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := 500; n <= 3000; n += 500 {
			src := &script{n: n, size: 7, margin: 450}
			w.run(w.ingester(src)).drain(t, n)
			w.verify(src, n)
		}
	})
}

func TestOriginsNeverMix(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := script{n: 100, size: 10, origin: "live"}
		first := src
		w.run(w.ingester(&first)).drain(t, 100)

		for _, tt := range []struct{ config, stream string }{
			{"simulated:7", "simulated:7"}, // known before the source is connected
			{"", "simulated:7"},            // seen when it is
			{"live", "simulated:7"},        // it said one thing and did another
		} {
			other := src
			other.origin, other.n = tt.stream, 200
			cfg := w.config(&other)
			cfg.Origin = tt.config
			i, err := ingest.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := w.run(i)
			var oe *ingest.OriginError
			if err := r.end(t); !errors.As(err, &oe) || oe.Have != "live" || oe.Got != "simulated:7" {
				t.Errorf("%+v: ended with %v, want an OriginError", tt, err)
			} else if !strings.Contains(err.Error(), "--data") {
				t.Errorf("error %q has no way out", err)
			}
			if tt.config == "simulated:7" && other.streams != 0 {
				t.Error("connected although the origin was known to be wrong")
			}
		}
		w.verify(&src, 100)

		same := src
		same.n = 150
		w.run(w.ingester(&same)).drain(t, 150)
		w.verify(&same, 150)
	})
}

func TestPermanentSourceErrorEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 100, size: 10, cut: 60, err: &event.StreamError{Err: errors.New("403 Forbidden"), Permanent: true}}
		r := w.run(w.ingester(src))
		err := r.end(t)
		if err == nil || err.Error() != "ingest bluesky: 403 Forbidden" {
			t.Errorf("ended with %v", err)
		}
		if s := r.Stats(); s.State != ingest.StateFailed || !strings.Contains(s.LastError, "403") {
			t.Errorf("state %q, error %q", s.State, s.LastError)
		}
		w.verify(src, 60) // what it delivered before is kept
	})
}

func TestUnusableCursorEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer cl.Close()
		rec := &kgo.Record{Topic: kafka.TopicCursors, Key: []byte("bluesky"), Value: []byte(`{"version":99}`)}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		r := w.run(w.ingester(&script{n: 10}))
		var ce *kafka.CursorError
		if err := r.end(t); !errors.As(err, &ce) || !strings.Contains(err.Error(), "newer weir") {
			t.Errorf("ended with %v, want a CursorError with a way out", err)
		}
		if got := w.read(); len(got) != 0 {
			t.Errorf("%d records were written", len(got))
		}
	})
}

func TestWrongRouteEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.run(w.ingester(&script{n: 10, item: func(int) item { return item{} }}))
		if err := r.end(t); err == nil || !strings.Contains(err.Error(), "internal error") {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestMissingTopicIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cl := w.client()
		defer cl.Close()
		if err := w.cluster.DeleteTopic(topics.Account); err != nil {
			t.Fatal(err)
		}
		src := &script{n: 100, size: 10}
		r := w.run(w.ingester(src))
		until(t, "it complains", func() bool { return r.Stats().LastError != "" })
		if s := r.Stats(); !strings.Contains(s.LastError, topics.Account) || s.State != ingest.StateWaiting {
			t.Errorf("state %q, error %q", s.State, s.LastError)
		}
		if err := kafka.EnsureTopics(t.Context(), cl, kafka.Topics()...); err != nil {
			t.Fatal(err)
		}
		r.drain(t, 100)
		w.verify(src, 100)
	})
}

func TestCancelCommitsWhatIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 1000, size: 100, pause: 100 * time.Millisecond}
		cfg := w.config(src)
		cfg.Pace = time.Hour // nothing but the drain can commit the rest
		cfg.EagerEvents = 1 << 30
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := w.run(i)
		until(t, "all is queued", func() bool { s := r.Stats(); return s.Cursor.Seq+int64(s.Queue.Events) == 1000 })
		if s := r.Stats(); s.Queue.Events == 0 {
			t.Fatalf("nothing waits in the queue: %+v", s)
		}
		start := time.Now()
		r.stop(t)
		if d := time.Since(start); d > time.Second {
			t.Errorf("draining took %v", d)
		}
		w.verify(src, 1000)
	})
}

func TestCancelWithoutKafkaEndsInTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 1000, size: 10, pause: 10 * time.Millisecond}
		i, net := w.wired(src)
		r := w.run(i)
		until(t, "it is at work", func() bool { return r.Stats().Cursor.Seq > 100 })
		net.cut()
		time.Sleep(time.Second)
		start := time.Now()
		r.stop(t)
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("took %v to end", d)
		}
		net.down.Store(false)
		again := &script{n: 1000, size: 10, margin: 20}
		w.run(w.ingester(again)).drain(t, 1000)
		w.verify(again, 1000)
	})
}

// TestKafkaAwayAtFirst starts an ingester before any broker answers.
func TestKafkaAwayAtFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 100, size: 10}
		i, net := w.wired(src)
		net.cut()
		r := w.run(i)
		time.Sleep(5 * time.Minute)
		if s := r.Stats(); s.State != ingest.StateWaiting || !strings.Contains(s.LastError, "cannot reach Kafka") || src.streams != 0 {
			t.Errorf("state %q, error %q, %d streams", s.State, s.LastError, src.streams)
		}
		net.down.Store(false)
		start := time.Now()
		r.drain(t, 100)
		if d := time.Since(start); d > 11*time.Second {
			t.Errorf("took %v to come back", d)
		}
		w.verify(src, 100)
	})
}

// TestSlowKafkaStopsTheSource holds back every write: the queue fills to its
// bound, and the source waits.
func TestSlowKafkaStopsTheSource(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 20_000, size: 10}
		cfg := w.config(src)
		cfg.QueueEvents = 500
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		held := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topics.Data, Count: -1,
			Err: errNotLeader})
		r := w.run(i)
		time.Sleep(10 * time.Second)
		s := r.Stats()
		if held.Hits() == 0 || s.Queue.Events > 500 || s.Queue.Events < 450 {
			t.Errorf("%d events queued after %d refusals, want about 500", s.Queue.Events, held.Hits())
		}
		if s.Queue.Blocked < 5*time.Second {
			t.Errorf("the source was blocked for %v, want most of 10s", s.Queue.Blocked)
		}
		held.Remove()
		r.drain(t, 20_000)
		w.verify(src, 20_000)
	})
}

// TestPace counts transactions of a slow stream, and looks at how long an event
// after a pause takes.
func TestPace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 10_000, size: 1, pause: time.Millisecond} // 1,000 a second for ten seconds
		r := w.run(w.ingester(src))
		r.drain(t, 10_000)
		s := r.Stats()
		if s.Commits < 450 || s.Commits > 520 {
			t.Errorf("%d transactions in ten seconds, want about 500", s.Commits)
		}
		if p99 := s.Latency.Quantile(0.99); p99 > 40*time.Millisecond {
			t.Errorf("99 %% are committed within %v", p99)
		}
	})
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 20, size: 1, pause: time.Second}
		r := w.run(w.ingester(src))
		r.drain(t, 20)
		s := r.Stats()
		if s.Commits != 21 { // and the claim
			t.Errorf("%d transactions for 20 lone events", s.Commits)
		}
		if p := s.Latency.Quantile(0.9); p > 40*time.Millisecond {
			t.Errorf("a lone event takes %v, want it to be committed at once", p)
		}
	})
}

// TestNoTransactionStaysOpen looks at the partitions while the stream is quiet:
// an open transaction would hide what others write from every reader.
func TestNoTransactionStaysOpen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 500, size: 10}
		r := w.run(w.ingester(src))
		until(t, "all is committed", func() bool { return r.Stats().Cursor.Seq == 500 })
		time.Sleep(time.Minute)
		for _, topic := range []string{topics.Data, topics.Account, topics.DeadLetter, kafka.TopicCursors} {
			for _, p := range w.cluster.PartitionInfos(topic) {
				if p.LastStableOffset != p.HighWatermark {
					t.Errorf("%s/%d: last stable offset %d, high watermark %d", topic, p.Partition, p.LastStableOffset, p.HighWatermark)
				}
			}
		}
		r.stop(t)
	})
}

// TestDuplicatesAloneWriteNothing streams what is known again for a while.
func TestDuplicatesAloneWriteNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 300, size: 10}
		w.run(w.ingester(src)).drain(t, 300)
		again := &script{n: 300, size: 10, margin: 300, pause: time.Second,
			item: func(n int) item { it := plain(n); it.us = epoch; return it }}
		i := w.ingester(again)
		var (
			mu     sync.Mutex
			lowest = int64(300)
		)
		hook(t, func(point string) {
			if point == "ingest: accounted" {
				mu.Lock()
				defer mu.Unlock()
				lowest = min(lowest, i.Stats().Cursor.Seq)
			}
		})
		r := w.run(i)
		until(t, "everything came again", func() bool { return r.Stats().Duplicates == 293 })
		time.Sleep(time.Minute)
		s := r.Stats()
		if s.Commits > 3 || s.Gaps > 1 {
			t.Errorf("%d transactions, %d gaps for nothing new", s.Commits, s.Gaps)
		}
		mu.Lock()
		least := lowest
		mu.Unlock()
		if s.Cursor.Seq != 300 || least != 300 {
			t.Errorf("the committed cursor went back to %d, and is at %d", least, s.Cursor.Seq)
		}
		r.stop(t)
	})
}

// TestCanariesMoveTheCursor has a stream that brings nothing to store any more, for half a minute
// or a while longer. Such events are not worth a transaction each, and the committed
// cursor follows them all the same, also when nothing comes at all.
func TestCanariesMoveTheCursor(t *testing.T) {
	for _, n := range []int{50, 200} {
		t.Run(fmt.Sprint(n-20, " canaries"), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				const pause, idle = 200 * time.Millisecond, 10 * time.Second
				src := &script{n: n, size: 1, pause: pause, item: func(n int) item {
					it := plain(n)
					if n >= 20 {
						it.route = event.Skip
					}
					return it
				}}
				r := w.run(w.ingester(src))
				start := time.Now()
				r.drain(t, n)
				took, quiet := time.Since(start), time.Duration(n-20)*pause
				if took > 20*pause+quiet+idle+time.Second {
					t.Errorf("the cursor is behind the last canary after %v", took)
				}
				// The claim, the twenty events, and one each ten seconds.
				most := 1 + 20 + int64(quiet/idle) + 1
				if c := r.Stats().Commits; c > most || c < most-1 {
					t.Errorf("%d transactions, want %d", c, most)
				}
				w.verify(src, n)
			})
		})
	}
}

// TestForeignRecordsAreNoReasonToDrop has another program write the same events
// to the topic: weir's own must still come.
func TestForeignRecordsAreNoReasonToDrop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 10, size: 10, item: func(n int) item {
			return item{route: event.Data, kind: "create", key: "k", value: fmt.Sprintf(`{"n":%d}`, n), us: epoch + int64(n)}
		}}
		w.run(w.ingester(src)).drain(t, 10)
		cl := w.client()
		defer cl.Close()
		for n := 10; n < 20; n++ {
			rec := &kgo.Record{Topic: topics.Data, Key: []byte("k"), Value: fmt.Appendf(nil, `{"n":%d}`, n)}
			if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		src.n = 20
		r := w.run(w.ingester(src))
		r.drain(t, 20)
		if s := r.Stats(); s.Events != 10 || s.Duplicates != 0 {
			t.Errorf("%d events, %d duplicates", s.Events, s.Duplicates)
		}
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	good := ingest.Config{Kafka: kafka.Config{Brokers: []string{"127.0.0.1:1"}}, Source: &script{}, Topics: topics, Log: discard()}
	if _, err := ingest.New(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*ingest.Config){
		"no source":  func(c *ingest.Config) { c.Source = nil },
		"no logger":  func(c *ingest.Config) { c.Log = nil },
		"no broker":  func(c *ingest.Config) { c.Kafka.Brokers = nil },
		"no topics":  func(c *ingest.Config) { c.Topics.Data = "" },
		"no letters": func(c *ingest.Config) { c.Topics.DeadLetter = "" },
		"its name":   func(c *ingest.Config) { c.Source = misnamed{} },
	} {
		c := good
		spoil(&c)
		if _, err := ingest.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type misnamed struct{}

func (misnamed) Name() string { return "mastodon" }
func (misnamed) Stream(context.Context, event.Cursor, func(*event.Batch) error) error {
	return nil
}
func (misnamed) Window() time.Duration                                     { return 0 }
func (misnamed) Identify([]byte, *event.Batch) (_ []byte, _ int64, _ bool) { return }
func (misnamed) Status() event.SourceStatus                                { return event.SourceStatus{} }

package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

var errNotLeader = kerr.NotLeaderForPartition

// gated is a script whose second batch waits for the gate.
type gated struct {
	script
	gate chan struct{}
}

func (g *gated) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	emitted := 0
	return g.script.Stream(ctx, from, func(b *event.Batch) error {
		if emitted++; emitted == 2 {
			select {
			case <-g.gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return emit(b)
	})
}

// wire is a client's network that can be cut: connections end, and dialling fails
// until it is mended.
type wire struct {
	dial func(context.Context, string, string) (net.Conn, error)
	down atomic.Bool
	mu   sync.Mutex
	open []net.Conn
}

func (w *wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.down.Load() {
		return nil, errors.New("network is down")
	}
	c, err := w.dial(ctx, network, addr)
	if err == nil {
		w.mu.Lock()
		w.open = append(w.open, c)
		w.mu.Unlock()
	}
	return c, err
}

func (w *wire) cut() {
	w.down.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

// wired returns an ingester whose network can be cut.
func (w *world) wired(src ingest.Source) (*ingest.Ingester, *wire) {
	w.t.Helper()
	net := &wire{dial: w.network.DialContext}
	cfg := w.config(src)
	cfg.Kafka.Opts = []kgo.Opt{kgo.Dialer(net.DialContext)}
	i, err := ingest.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return i, net
}

// TestCommitThatFails answers the commit of a transaction with an error and does
// not perform it.
func TestCommitThatFails(t *testing.T) {
	for _, e := range []*kerr.Error{
		kerr.UnknownServerError, kerr.InvalidTxnState, kerr.InvalidProducerEpoch, kerr.ProducerFenced,
		kerr.InvalidProducerIDMapping, kerr.TransactionAbortable, kerr.TransactionalIDAuthorizationFailed,
		kerr.CoordinatorNotAvailable, kerr.ConcurrentTransactions,
	} {
		t.Run(e.Message, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				src := &script{n: 500, size: 10, margin: 25, pause: 10 * time.Millisecond}
				r := w.run(w.ingester(src))
				until(t, "some events are committed", func() bool { return r.Stats().Cursor.Seq > 100 })
				h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: e, Count: 2})
				r.drain(t, 500)
				if h.Hits() != 2 {
					t.Fatalf("the fault fired %d times, want 2", h.Hits())
				}
				w.verify(src, 500)
				s := r.Stats()
				if s.Events != 479 || s.Rejects != 10 { // what was not committed does not count
					t.Errorf("%d events and %d rejects are said to be committed", s.Events, s.Rejects)
				}
				if s.Restarts > 0 && !strings.Contains(s.LastError, e.Message) {
					t.Errorf("the last error is %q, want %s", s.LastError, e.Message)
				}
				if !kerr.IsRetriable(e) && e != kerr.ConcurrentTransactions && (s.Restarts == 0 || s.LastError == "") {
					t.Errorf("a failed commit went unnoticed: %d restarts, %q", s.Restarts, s.LastError)
				}
			})
		})
	}
}

// TestWriteThatFails answers produce requests with an error.
func TestWriteThatFails(t *testing.T) {
	for _, tt := range []struct {
		topic string
		err   *kerr.Error
	}{
		{topics.Data, kerr.UnknownServerError},
		{topics.Data, kerr.NotLeaderForPartition},
		{topics.DeadLetter, kerr.InvalidRecord},
		{topics.Data, kerr.InvalidTimestamp},
		{topics.Account, kerr.OutOfOrderSequenceNumber},
		{kafka.TopicCursors, kerr.TopicAuthorizationFailed},
		{topics.Data, kerr.RequestTimedOut}, // written, and said not to be
	} {
		t.Run(tt.topic+" "+tt.err.Message, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				src := &script{n: 500, size: 10, margin: 25, pause: 10 * time.Millisecond}
				r := w.run(w.ingester(src))
				until(t, "some events are committed", func() bool { return r.Stats().Cursor.Seq > 100 })
				h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: tt.topic, Err: tt.err, Count: 1})
				r.drain(t, 500)
				if h.Hits() == 0 {
					t.Fatal("the fault never fired")
				}
				w.verify(src, 500)
			})
		})
	}
}

// TestCommitOfUnknownOutcome loses the network around the commit: the broker has
// performed it and nobody hears, or it has not. The client gives up, and only the
// cursor can tell.
func TestCommitOfUnknownOutcome(t *testing.T) {
	for _, performed := range []bool{true, false} {
		t.Run(fmt.Sprint("performed ", performed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				src := &script{n: 500, size: 10, margin: 25, pause: 10 * time.Millisecond}
				i, net := w.wired(src)
				r := w.run(i)
				until(t, "some events are committed", func() bool { return r.Stats().Cursor.Seq > 100 })
				cut, fired := make(chan struct{}), false
				w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
					if fired {
						return nil, nil, false
					}
					fired = true
					net.cut()
					close(cut)
					if performed {
						return nil, nil, false // and the broker goes on to handle it
					}
					return nil, errors.New("lost on the way"), true
				})
				<-cut
				until(t, "the client gives up", func() bool { return r.Stats().Restarts > 0 })
				if s := r.Stats(); s.State != ingest.StateWaiting || s.LastError == "" {
					t.Errorf("state %q, error %q while the network is down", s.State, s.LastError)
				}
				time.Sleep(time.Minute)
				if s := r.Stats().LastError; !strings.Contains(s, "cannot reach Kafka at 127.0.0.1:9001") {
					t.Errorf("last error %q does not say that Kafka is away", s)
				}
				net.down.Store(false)
				r.drain(t, 500)
				w.verify(src, 500)
			})
		})
	}
}

// lingering is a source that goes on for a minute after it has to stop, once, as one does
// whose connection hangs. It notes how many calls of Stream there are at once.
type lingering struct {
	ingest.Source
	calls, most, late atomic.Int64
}

func (l *lingering) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	l.most.Store(max(l.most.Load(), l.calls.Add(1)))
	defer l.calls.Add(-1)
	err := l.Source.Stream(ctx, from, emit)
	if ctx.Err() != nil && l.late.Add(1) == 1 {
		time.Sleep(time.Minute)
	}
	return err
}

// TestSourceThatDoesNotStop makes sessions end while the source hangs: the next session waits
// for it, since a source allows one call of Stream at a time, and the state says why.
func TestSourceThatDoesNotStop(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 500, size: 10, margin: 25, pause: 10 * time.Millisecond}
		l := &lingering{Source: src}
		r := w.run(w.ingester(l))
		until(t, "some events are committed", func() bool { return r.Stats().Cursor.Seq > 100 })
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, Count: 1})
		until(t, "the state says what hangs", func() bool {
			return strings.Contains(r.Stats().LastError, "bluesky did not stop within 5s")
		})
		if s := r.Stats().State; s != ingest.StateWaiting {
			t.Errorf("state %q while the source hangs", s)
		}
		r.drain(t, 500)
		if h.Hits() != 1 || l.late.Load() == 0 {
			t.Fatalf("the fault fired %d times, and the source hung %d times", h.Hits(), l.late.Load())
		}
		if n := l.most.Load(); n != 1 {
			t.Errorf("%d calls of Stream at once", n)
		}
		w.verify(src, 500)
	})
}

// TestTakeover starts a second ingester beside the first: the second goes on, the
// first says who has taken over, and ends.
func TestTakeover(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := script{n: 2000, size: 10, margin: 30, pause: 10 * time.Millisecond}
		one, two := src, src
		first := w.run(w.ingester(&one))
		until(t, "the first is at work", func() bool { return first.Stats().Cursor.Seq > 500 })
		second := w.run(w.ingester(&two))
		var fenced *ingest.FencedError
		if err := first.end(t); !errors.As(err, &fenced) {
			t.Fatalf("the first ended with %v, want a FencedError", err)
		}
		for _, want := range []string{"another weir ingests bluesky", "/"} {
			if !strings.Contains(fenced.Error(), want) {
				t.Errorf("error %q lacks %q", fenced, want)
			}
		}
		if s := first.Stats(); s.State != ingest.StateFailed || !strings.Contains(s.LastError, "another weir") {
			t.Errorf("state %q, error %q", s.State, s.LastError)
		}
		second.drain(t, 2000)
		w.verify(&src, 2000)
	})
}

// TestManyCompete starts several at nearly the same moment: one survives.
func TestManyCompete(t *testing.T) {
	for seed := range 8 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				src := script{n: 2000, size: 10, margin: 30, pause: 200 * time.Millisecond}
				var all []running
				for n := range 4 {
					s := src
					all = append(all, w.run(w.ingester(&s)))
					time.Sleep(time.Duration(seed*n) * time.Millisecond)
				}
				until(t, "most is committed", func() bool {
					time.Sleep(time.Second)
					rec, found, err := kafka.PeekCursor(t.Context(), w.cfg, "bluesky")
					return err == nil && found && rec.Cursor.Seq > 1500
				})
				alive := 0
				for _, r := range all {
					select {
					case err := <-r.ended:
						var fenced *ingest.FencedError
						if !errors.As(err, &fenced) {
							t.Errorf("one ended with %v, want a FencedError", err)
						}
					default:
						alive++
						r.drain(t, 2000)
					}
				}
				if alive != 1 {
					t.Fatalf("%d survived, want 1", alive)
				}
				w.verify(&src, 2000)
			})
		})
	}
}

// TestTakeoverWhileAway has the first lose its network, so that it never learns
// from the broker that it was fenced; when it comes back it must not fence back.
func TestTakeoverWhileAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := script{n: 2000, size: 10, margin: 30, pause: 10 * time.Millisecond}
		one, two := src, src
		i, net := w.wired(&one)
		first := w.run(i)
		until(t, "the first is at work", func() bool { return first.Stats().Cursor.Seq > 500 })
		net.cut()
		second := w.run(w.ingester(&two))
		until(t, "the second is at work", func() bool { return second.Stats().Commits > 3 })
		until(t, "the first has noticed", func() bool { return first.Stats().Restarts > 0 })
		net.down.Store(false)
		var fenced *ingest.FencedError
		if err := first.end(t); !errors.As(err, &fenced) {
			t.Errorf("the first ended with %v, want a FencedError", err)
		}
		second.drain(t, 2000)
		if n := second.Stats().Restarts; n != 0 {
			t.Errorf("the second was disturbed: %d restarts (%s)", n, second.Stats().LastError)
		}
		w.verify(&src, 2000)
	})
}

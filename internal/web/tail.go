package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

const (
	// tailRate is how many messages a second a tail shows at most, and so many at
	// the most that can be asked for.
	tailRate = 100
	// tailsPerSecond is how often a tail is sent at most.
	tailsPerSecond = 10
	// tailBuffer is how many events a reader may be behind before it loses the oldest.
	tailBuffer = 8
)

// tailBatch is one event of a tail.
type tailBatch struct {
	Messages []inspect.WireMessage `json:"messages"`
	Skipped  int64                 `json:"skipped"`
}

// tails are the topics that are being followed. Equal requests share one reader and one
// encoding, so that a hundred open tabs cost little more than one.
type tails struct {
	mu     sync.Mutex
	shared map[string]*tail
}

// tail follows one topic for all equal requests.
type tail struct {
	cancel  context.CancelFunc
	done    chan struct{}
	readers map[chan tailEvent]bool // guarded by tails.mu
}

// tailEvent is an event as it is sent.
type tailEvent struct {
	name string
	data []byte
	n    int64 // messages in it, shown or skipped
	lost int64 // messages in events before it that its reader was too slow for
}

// join returns the tail of a key, with a new reader of it. Where there is none yet, run
// follows the topic until its context ends.
func (ts *tails) join(key string, run func(ctx context.Context, t *tail)) (*tail, chan tailEvent) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.shared == nil {
		ts.shared = map[string]*tail{}
	}
	t := ts.shared[key]
	if t == nil {
		ctx, cancel := context.WithCancel(context.Background())
		t = &tail{cancel: cancel, done: make(chan struct{}), readers: map[chan tailEvent]bool{}}
		ts.shared[key] = t
		go func() {
			defer close(t.done)
			run(ctx, t)
			ts.mu.Lock()
			defer ts.mu.Unlock()
			ts.remove(key, t) // it ended by itself: the next request begins anew
			for r := range t.readers {
				close(r)
			}
			clear(t.readers)
		}()
	}
	r := make(chan tailEvent, tailBuffer)
	t.readers[r] = true
	return t, r
}

// remove makes a tail one that nobody joins any more. The lock is held.
func (ts *tails) remove(key string, t *tail) {
	if ts.shared[key] == t {
		delete(ts.shared, key)
	}
}

// leave ends the following; with the last reader ends the tail.
func (ts *tails) leave(key string, t *tail, r chan tailEvent) {
	ts.mu.Lock()
	delete(t.readers, r)
	last := len(t.readers) == 0
	if last {
		ts.remove(key, t)
	}
	ts.mu.Unlock()
	if last {
		t.cancel()
		<-t.done
	}
}

// send hands an event to all. A reader that is slow loses the oldest, and the event says
// how much that is.
func (ts *tails) send(t *tail, e tailEvent) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for r := range t.readers {
		e := e
		if len(r) == tailBuffer { // this is the only writer
			select {
			case old := <-r:
				e.lost = old.lost + old.n
			default: // the reader has just taken one
			}
		}
		r <- e
	}
}

// tail follows a topic. At high rates it shows a sample and says how many it skipped.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	rate, err := number(r, "rate", tailRate, 1, tailRate)
	if err != nil {
		return err
	}
	if err := s.cfg.Inspector.Exists(r.Context(), q.Topic); err != nil {
		return err
	}
	q.From, q.Follow = inspect.End(), true
	out, err := newStream(w)
	if err != nil {
		return err
	}
	key := q.Topic + "?" + r.URL.Query().Encode()
	t, reader := s.tails.join(key, func(ctx context.Context, t *tail) { s.follow(ctx, t, q.Query, rate) })
	defer s.tails.leave(key, t, reader)
	for {
		var e tailEvent
		select {
		case <-r.Context().Done():
			return nil
		case e = <-reader:
		}
		if e.name == "" { // the tail has ended
			return nil
		}
		if e.lost > 0 {
			out.event("message", "", fmt.Appendf(nil, `{"messages":[],"skipped":%d}`, e.lost))
		}
		out.event(e.name, "", e.data)
		if out.send() != nil {
			return nil // the browser is gone
		}
	}
}

// follow reads a topic until ctx ends and sends what fits into the rate.
func (s *Server) follow(ctx context.Context, t *tail, q inspect.Query, rate int64) {
	burst := max(1, rate/tailsPerSecond)
	found := make(chan inspect.WireMessage, 4*burst)
	var skipped atomic.Int64
	done := make(chan error, 1)
	go func() {
		_, err := s.cfg.Inspector.Read(ctx, q, func(m inspect.Message) error {
			if len(found) < cap(found) { // this is the only writer
				found <- m.Wire(shownValue)
			} else {
				skipped.Add(1)
			}
			return nil
		})
		done <- err
	}()
	tick := time.NewTicker(time.Duration(burst) * time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				b, _ := json.Marshal(map[string]string{"error": err.Error()})
				s.tails.send(t, tailEvent{name: "error", data: b})
			}
			return
		case <-tick.C:
		}
		batch := tailBatch{Messages: []inspect.WireMessage{}, Skipped: skipped.Swap(0)}
		for int64(len(batch.Messages)) < burst && len(found) > 0 {
			batch.Messages = append(batch.Messages, <-found)
		}
		if len(batch.Messages) == 0 && batch.Skipped == 0 {
			continue
		}
		b, err := json.Marshal(batch)
		if err != nil { // no messages of plain strings and numbers come here
			s.cfg.Log.Error("tail not encoded", "error", err)
			continue
		}
		s.tails.send(t, tailEvent{name: "message", data: b, n: int64(len(batch.Messages)) + batch.Skipped})
	}
}

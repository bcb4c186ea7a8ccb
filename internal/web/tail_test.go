package web

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestReadersWhoAskTheSameShareATail(t *testing.T) {
	var ts tails
	var runs atomic.Int32
	run := func(ctx context.Context, _ *tail) { runs.Add(1); <-ctx.Done() }
	a, ra := ts.join("k", run)
	b, rb := ts.join("k", run)
	c, rc := ts.join("other", run)
	if a != b || a == c {
		t.Fatal("the same question has two tails, or two questions one")
	}
	ts.leave("k", a, ra)
	ts.send(b, tailEvent{name: "message", n: 1})
	if e := <-rb; e.n != 1 {
		t.Errorf("who stayed got %+v", e)
	}
	ts.leave("k", b, rb) // waits for the end of run
	ts.leave("other", c, rc)
	if n := runs.Load(); n != 2 {
		t.Errorf("%d consumers ran, want 2", n)
	}
	d, rd := ts.join("k", run)
	if d == a {
		t.Error("a tail that has ended is joined")
	}
	ts.leave("k", d, rd)
}

func TestASlowReaderOfATailLosesTheOldestAndIsTold(t *testing.T) {
	var ts tails
	tl, slow := ts.join("k", func(ctx context.Context, _ *tail) { <-ctx.Done() })
	defer ts.leave("k", tl, slow)
	const sent = tailBuffer + 5
	for i := range int64(sent) {
		ts.send(tl, tailEvent{n: 10 + i})
	}
	first := <-slow
	if first.n != 10+5 {
		t.Errorf("the oldest that is left is number %d, want 5", first.n-10)
	}
	lost := first.lost
	for range tailBuffer - 1 {
		lost += (<-slow).lost
	}
	if lost != 10+11+12+13+14 {
		t.Errorf("%d messages are reported as lost, want 60", lost)
	}
	if ts.send(tl, tailEvent{}); (<-slow).lost != 0 {
		t.Error("they are reported again")
	}
}

func TestTailThatEndsByItselfLetsItsReadersGo(t *testing.T) {
	var ts tails
	_, r := ts.join("k", func(context.Context, *tail) {})
	if _, open := <-r; open {
		t.Error("an event of a tail that showed none")
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.shared) != 0 {
		t.Error("it can still be joined")
	}
}

// At more than the rate a tail shows a sample, and accounts for every message.
func TestTailSamples(t *testing.T) {
	srv, cl := newServer(t, nil)
	r := open(t, srv.URL+"/api/v1/topics/events/tail?rate=5")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				for range 20 {
					cl.Produce(context.Background(), &kgo.Record{Value: []byte("x")}, nil)
				}
			}
		}
	}()
	var shown, skipped int64
	for skipped == 0 || shown < 3 {
		_, data := readEvent(t, r)
		var b tailBatch
		if err := json.Unmarshal([]byte(data), &b); err != nil {
			t.Fatal(err)
		}
		if len(b.Messages) > 1 {
			t.Errorf("%d messages in one event at 5 a second", len(b.Messages))
		}
		shown += int64(len(b.Messages))
		skipped += b.Skipped
	}
	close(stop)
	<-done
	if status, _, body := request(t, "GET", srv.URL+"/api/v1/topics/nothere/tail", "", nil); status != 404 || !strings.Contains(body, "no such topic") {
		t.Errorf("the tail of no topic: %d %s", status, body)
	}
}

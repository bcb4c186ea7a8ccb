package judge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/simulate"
)

// Upstream is a simulated Jetstream. Its time begins when the program connects for the first time.
type Upstream struct {
	ln    net.Listener
	limit int64
	begun chan struct{}

	mu     sync.Mutex
	server *simulate.BlueskyServer
	err    error
	at     time.Time // of the first connection
}

// OpenStream serves the first limit events of the simulated Bluesky at a rate, with faults, which
// may be nil, and sets the URL that the program gets.
func (b *Bench) OpenStream(ctx context.Context, rate float64, limit int64, faults *simulate.Faults) (*Upstream, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the stream: %w", err)
	}
	b.Stream = "ws://" + ln.Addr().String() + "/subscribe"
	u := &Upstream{ln: ln, limit: limit, begun: make(chan struct{})}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() {
		err := u.serve(serving, b, rate, faults)
		u.mu.Lock()
		u.err = err
		u.mu.Unlock()
	})
	b.closing(func() error {
		stop()
		_ = ln.Close() // the server may have closed it
		ended.Wait()
		return nil
	})
	return u, nil
}

func (u *Upstream) serve(ctx context.Context, b *Bench, rate float64, faults *simulate.Faults) error {
	first, err := u.ln.Accept()
	if err != nil {
		return err
	}
	timeline, err := simulate.OpenTimeline(simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", seed), Rate: rate,
		Variant: simulate.MixOf(collections),
		History: -time.Second, Limit: u.limit, Log: b.cfg.Log})
	if err != nil {
		return errors.Join(err, first.Close())
	}
	defer timeline.Close()
	server, err := simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(seed), Timeline: timeline, Faults: faults,
		Log: b.cfg.Log})
	if err != nil {
		return errors.Join(err, first.Close())
	}
	defer server.Close()
	u.mu.Lock()
	u.server, u.at = server, time.Now()
	u.mu.Unlock()
	b.Mark("stream", "the program connects to the stream, which begins")
	close(u.begun)
	return server.Serve(ctx, &begunListener{Listener: u.ln, first: first})
}

// Begun reports whether the program has connected.
func (u *Upstream) Begun() bool {
	select {
	case <-u.begun:
		return true
	default:
		return false
	}
}

// BegunAt is when the program connected for the first time.
func (u *Upstream) BegunAt() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at
}

// Tip is how many events have happened, and Err why the stream failed.
func (u *Upstream) Tip() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.server == nil {
		return 0
	}
	return min(u.server.Tip(), u.limit)
}

// Err returns why the stream could not be served, nil while it is.
func (u *Upstream) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// begunListener is a listener whose first connection was accepted already.
type begunListener struct {
	net.Listener
	once  sync.Once
	first net.Conn
}

// Accept implements net.Listener.
func (l *begunListener) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.first })
	if c != nil {
		return c, nil
	}
	return l.Listener.Accept()
}

// Follow calls fn from one goroutine with every committed record of a topic, from the first on,
// until the check ends.
func (b *Bench) Follow(ctx context.Context, topic string, fn func(*kgo.Record)) error {
	cl, err := b.Kafka.NewClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() {
		for following.Err() == nil {
			cl.PollFetches(following).EachRecord(fn)
		}
	})
	b.closing(func() error {
		stop()
		ended.Wait()
		cl.Close()
		return nil
	})
	return nil
}

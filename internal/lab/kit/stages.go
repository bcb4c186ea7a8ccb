package kit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Stage is where a pipeline is made slow.
type Stage string

// The stages. Before Kafka a slow one backs up to the socket; behind it the log waits.
const (
	// SlowWork has workers between socket and Kafka that are busy with each event.
	SlowWork Stage = "work"
	// SlowBroker has a slow connection between producer and brokers.
	SlowBroker Stage = "broker"
	// SlowConsumer has a consumer that is busy with each record.
	SlowConsumer Stage = "consumer"
	// SlowRedis has a Redis that takes its time for every request.
	SlowRedis Stage = "redis"
)

// BeforeKafka reports whether what waits for the stage is not in Kafka yet.
func (s Stage) BeforeKafka() bool { return s == SlowWork || s == SlowBroker }

// throttle lets bytes pass at a rate. It is safe for concurrent use.
type throttle struct {
	perSecond int64
	Passed    atomic.Int64

	mu   sync.Mutex
	free time.Time // when what was let pass has passed
}

// take waits until n bytes have passed.
func (t *throttle) take(n int) {
	t.mu.Lock()
	now := time.Now()
	if t.free.Before(now) {
		t.free = now
	}
	t.free = t.free.Add(time.Duration(float64(n) / float64(t.perSecond) * float64(time.Second)))
	until := t.free
	t.mu.Unlock()
	_ = Wait(context.Background(), time.Until(until)) // a connection that is closed meanwhile refuses what comes then
	t.Passed.Add(int64(n))
}

// dialer connects clients of Kafka through the throttle, in their direction of
// sending: it works on any brokers, because no address changes.
func (t *throttle) dialer() kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &throttledConn{c, t}, nil
	})
}

type throttledConn struct {
	net.Conn
	t *throttle
}

// throttledBytes is how much is written at once.
const throttledBytes = 4 << 10

// Write implements net.Conn.
func (c *throttledConn) Write(p []byte) (done int, err error) {
	for len(p) > 0 && err == nil {
		n := min(len(p), throttledBytes)
		c.t.take(n)
		n, err = c.Conn.Write(p[:n])
		done, p = done+n, p[n:]
	}
	return done, err
}

// busyConsumer is a hook of a Kafka client that is busy with each record it polls.
type busyConsumer struct {
	work time.Duration
	mu   sync.Mutex    // both topics have one consumer, in the end
	debt time.Duration // what is to be slept
	Done atomic.Int64
}

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (b *busyConsumer) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	if !polled {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Done.Add(1)
	if b.debt += b.work; b.debt > 2*time.Millisecond { // a shorter sleep takes longer than asked
		start := time.Now()
		_ = Wait(context.Background(), b.debt) // milliseconds
		b.debt -= time.Since(start)
	}
}

// proxy stands before a server and lets every request wait.
type proxy struct {
	ln     net.Listener
	to     string
	delay  time.Duration
	Passed atomic.Int64 // pieces of requests

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// openProxy returns a proxy of the server of a URL, and its own URL.
func openProxy(server string, delay time.Duration) (*proxy, string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, "", fmt.Errorf("open proxy: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("open proxy: %w", err)
	}
	p := &proxy{ln: ln, to: u.Host, delay: delay, conns: map[net.Conn]bool{}}
	u.Host = ln.Addr().String()
	p.wg.Go(p.accept)
	return p, u.String(), nil
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = c.Close() // the client sees it
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[s] = true, true
		p.mu.Unlock()
		p.wg.Go(func() {
			var answers sync.WaitGroup
			answers.Go(func() { p.pipe(c, s, 0) })
			p.pipe(s, c, p.delay)
			answers.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.conns, c)
			delete(p.conns, s)
		})
	}
}

// pipe copies until either side ends, and ends both.
func (p *proxy) pipe(to, from net.Conn, delay time.Duration) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if delay > 0 {
				_ = Wait(context.Background(), delay) // at most a second
				p.Passed.Add(1)
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Close ends it with all its connections.
func (p *proxy) Close() error {
	err := p.ln.Close()
	p.mu.Lock()
	for c := range p.conns {
		if e := c.Close(); e != nil && !errors.Is(e, net.ErrClosed) && !errors.Is(e, io.EOF) {
			err = errors.Join(err, e)
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

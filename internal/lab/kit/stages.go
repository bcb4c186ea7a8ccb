package kit

import (
	"context"
	"net"
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

// slowConn is a connection that writes in pieces, each of which waits.
type slowConn struct {
	net.Conn
	piece int // bytes that are written at once at most
	wait  func(bytes int)
}

// Write implements net.Conn.
func (c *slowConn) Write(p []byte) (done int, err error) {
	for len(p) > 0 && err == nil {
		n := min(len(p), c.piece)
		c.wait(n)
		n, err = c.Conn.Write(p[:n])
		done, p = done+n, p[n:]
	}
	return done, err
}

// throttled connects clients of Kafka so that what all of them send passes at a rate in bytes
// a second: it works on any brokers, because no address changes. passed counts the bytes.
func throttled(perSecond int64, passed *atomic.Int64) kgo.Opt {
	var mu sync.Mutex
	var free time.Time // when all that was let pass has passed
	return kgo.Dialer(wrapped(func(c net.Conn) (net.Conn, error) {
		return &slowConn{c, 4 << 10, func(n int) {
			mu.Lock()
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
			until := free
			mu.Unlock()
			_ = Wait(context.Background(), time.Until(until)) // a connection that was closed meanwhile refuses the write
			passed.Add(int64(n))
		}}, nil
	}))
}

// Stalled connects a client of Kafka so that each piece of a request waits for a time.
func Stalled(delay func() time.Duration) kgo.Opt {
	return kgo.Dialer(stalled(delay, new(atomic.Int64)))
}

// stalled connects so that each piece of a request waits for a time. passed counts those that had
// to wait.
func stalled(delay func() time.Duration, passed *atomic.Int64) dialer {
	return wrapped(func(c net.Conn) (net.Conn, error) {
		return &slowConn{c, 1 << 20, func(int) {
			if d := delay(); d > 0 {
				_ = Wait(context.Background(), d) // at most a second
				passed.Add(1)
			}
		}}, nil
	})
}

// consumers is a hook of Kafka clients that counts the records that they have from brokers,
// and is busy with each record that they poll.
type consumers struct {
	fetched atomic.Int64
	work    func() time.Duration // for each record, where done is not nil
	done    *atomic.Int64
	mu      sync.Mutex    // both topics have one consumer, in the end
	debt    time.Duration // what is to be slept
}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered.
func (c *consumers) OnFetchRecordBuffered(*kgo.Record) { c.fetched.Add(1) }

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (c *consumers) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	switch {
	case !polled: // thrown away, and fetched again
		c.fetched.Add(-1)
	case c.done != nil:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done.Add(1)
		if c.debt += c.work(); c.debt > 2*time.Millisecond { // a shorter sleep takes longer than asked
			start := time.Now()
			_ = Wait(context.Background(), c.debt) // milliseconds
			c.debt -= time.Since(start)
		}
	}
}

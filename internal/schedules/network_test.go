package schedules

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

var (
	errDown = errors.New("the network is down")
	errLost = errors.New("the connection was lost")
)

// link is the network of one process: it knows every connection that the process opened, so that
// the process can be cut off, and it can lose one request or one answer.
type link struct {
	dial dialer

	mu   sync.Mutex
	down bool
	open map[*linked]struct{}
	trap *trap
}

// trap is what happens to the first request that matches, of all links where it is armed.
type trap struct {
	match func(request []byte) bool
	loss  loss
	death func() // what dies with it; nil for the connection alone
	fired atomic.Bool
}

// loss says what is lost.
type loss uint8

const (
	loseRequest loss = iota // the connection breaks, and the request never arrived
	loseAnswer              // the request is served, and the connection breaks before the answer
	swallow                 // the request is lost, and the connection stays
)

func newLink(dial dialer) *link { return &link{dial: dial, open: map[*linked]struct{}{}} }

func (l *link) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	if down {
		return nil, errDown
	}
	nc, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &linked{Conn: nc, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		_ = nc.Close()
		return nil, errDown
	}
	l.open[c] = struct{}{}
	return c, nil
}

// set cuts the process off, or lets it connect again.
func (l *link) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for c := range l.open {
			_ = c.Conn.Close()
		}
		clear(l.open)
	}
}

func (l *link) arm(t *trap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trap = t
}

// spring returns the trap where the request is the one that it waits for.
func (l *link) spring(request []byte) *trap {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trap
	if t == nil || !t.match(request) || !t.fired.CompareAndSwap(false, true) {
		return nil
	}
	return t
}

// linked is a connection of a link.
type linked struct {
	net.Conn
	link *link

	mu   sync.Mutex
	lose *trap // the next answer is lost
}

func (c *linked) Write(b []byte) (int, error) {
	t := c.link.spring(b)
	switch {
	case t == nil:
	case t.loss == swallow:
		return len(b), nil
	case t.loss == loseAnswer:
		c.mu.Lock()
		c.lose = t
		c.mu.Unlock()
	default:
		return 0, c.die(t)
	}
	return c.Conn.Write(b)
}

func (c *linked) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	t := c.lose
	c.mu.Unlock()
	if t != nil && n > 0 {
		return 0, c.die(t)
	}
	return n, err
}

func (c *linked) die(t *trap) error {
	if t.death != nil {
		t.death()
	}
	_ = c.Close()
	return errLost
}

func (c *linked) Close() error {
	c.link.mu.Lock()
	delete(c.link.open, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// kafkaRequest matches requests of a key on their way to a broker.
func kafkaRequest(key int16) func([]byte) bool {
	return func(b []byte) bool { return len(b) > 8 && int16(binary.BigEndian.Uint16(b[4:])) == key }
}

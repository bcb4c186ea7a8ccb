package kit

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// SocketBuffer bounds in bytes what the kernel may hold on each side of the
// stream. Its own limits are megabytes on loopback: thousands of events that would
// wait there unseen.
const SocketBuffer = 64 << 10

// sockets notes how long the upstream's server could not write because its client
// did not read.
type sockets struct {
	net.Listener
	first   net.Conn // accepted by await, not yet by Accept
	mu      sync.Mutex
	blocked time.Duration // in writes that took over a millisecond, together
	longest time.Duration
	writing time.Time // when the write under way began; zero where none is
	server  *net.TCPConn
	client  *net.TCPConn
}

// await returns when a client has dialled. The connection is kept for Accept.
func (s *sockets) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Listener.Close() })() // ends Accept
	c, err := s.Listener.Accept()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = c
	return errors.Join(ctx.Err(), err)
}

// end closes what the server has not closed.
func (s *sockets) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != nil {
		_ = s.first.Close()
	}
	_ = s.Listener.Close() // again, where it was served
	return nil
}

// Accept implements net.Listener.
func (s *sockets) Accept() (net.Conn, error) {
	s.mu.Lock()
	c := s.first
	s.first = nil
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = s.Listener.Accept(); err != nil {
			return nil, err
		}
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(SocketBuffer) // without it more waits in the kernel: a difference in degree
		s.mu.Lock()
		s.server = t
		s.mu.Unlock()
	}
	return &timed{c, s}, nil
}

type timed struct {
	net.Conn
	s *sockets
}

func (t *timed) Write(p []byte) (int, error) {
	start := time.Now()
	t.s.mu.Lock()
	t.s.writing = start
	t.s.mu.Unlock()
	n, err := t.Conn.Write(p)
	d := time.Since(start)
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.writing = time.Time{}
	if d > time.Millisecond {
		t.s.blocked += d
		t.s.longest = max(t.s.longest, d)
	}
	return n, err
}

// Times returns how long the server waited in writes, all together and at most.
func (s *sockets) Times() (blocked, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked, s.longest
}

// Kernel is what waits in the kernel between upstream and the reader.
type Kernel struct {
	// Sending and Receiving are the bytes that wait in the buffers of the writing and of
	// the reading side; 0 where the system does not report them.
	Sending, Receiving int64
	// Stopped is how long the write in progress has lasted.
	Stopped time.Duration
}

// Kernel returns what waits there now.
func (s *sockets) Kernel() Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var k Kernel
	k.Sending, k.Receiving = unsent(s.server), unread(s.client)
	if !s.writing.IsZero() {
		k.Stopped = time.Since(s.writing)
	}
	return k
}

// dial connects with a small receive buffer.
func (s *sockets) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(SocketBuffer)
		s.mu.Lock()
		s.client = t
		s.mu.Unlock()
	}
	return c, nil
}

package kit

import (
	"context"
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
	dialled chan struct{} // closed when a client is connected
	mu      sync.Mutex
	blocked time.Duration // in writes that took over a millisecond, together
	longest time.Duration
	writing time.Time // when the write under way began; zero where none is
	server  *net.TCPConn
	client  *net.TCPConn
}

// Accept implements net.Listener. A client may be connected, and wait, for a while before.
func (s *sockets) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
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

// Kernel is what waits in the kernel between upstream and the reader.
type Kernel struct {
	// Sending and Receiving are the bytes that wait in the buffers of the writing and of
	// the reading side; 0 where the system does not report them.
	Sending, Receiving int64
	// Stopped is how long the write in progress has lasted.
	Stopped time.Duration
	// Blocked and Longest are how long the server has waited in writes, all together and at most.
	Blocked, Longest time.Duration
}

// Kernel returns what waits there now.
func (s *sockets) Kernel() Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := Kernel{Sending: unsent(s.server), Receiving: unread(s.client), Blocked: s.blocked, Longest: s.longest}
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
		defer s.mu.Unlock()
		if s.client == nil {
			close(s.dialled)
		}
		s.client = t
	}
	return c, nil
}

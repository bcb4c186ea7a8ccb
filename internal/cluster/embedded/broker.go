package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// maxConns bounds the client connections of one broker where descriptors are plenty.
const maxConns = 2000

// acceptLogEvery bounds the log of a listener that cannot accept.
const acceptLogEvery = 30 * time.Second

// door is the listener that the broker module accepts from. Sockets and
// connections from inside the process come through it alike, so a broker whose
// socket is closed still answers inside: that is what makes killing one possible.
type door struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newDoor(addr net.Addr) *door {
	return &door{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.done) })
	return nil
}

func (d *door) Addr() net.Addr { return d.addr }

// enter hands a connection to the broker module.
func (d *door) enter(ctx context.Context, c net.Conn) error {
	select {
	case d.conns <- c:
		return nil
	case <-d.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// broker is one of the brokers as clients see it: a socket that can be closed
// and opened again in front of a broker of the module that never stops.
type broker struct {
	id      int32
	c       *Cluster
	bind    string               // what to listen on; after the first time with its port
	addr    *net.TCPAddr         // what clients are told
	door    atomic.Pointer[door] // of the module that runs now
	mu      sync.Mutex
	sock    net.Listener // nil while dead
	closing bool
	conns   map[*conn]struct{}
	places  *intake.Places
	wg      sync.WaitGroup // accept loop and connections
}

func (b *broker) inner() *door { return b.door.Load() }

// listen binds the address. It does not accept yet.
func (b *broker) listen() error {
	sock, err := b.c.cfg.Listen("tcp", b.bind)
	if err != nil {
		return &AddrError{Addr: b.bind, Err: err}
	}
	addr := tcpAddr(sock.Addr())
	if addr == nil {
		_ = sock.Close()
		return &AddrError{Addr: b.bind, Err: fmt.Errorf("no host and port in %q", sock.Addr())}
	}
	if b.addr == nil { // a restart is on the same port, and others read this
		b.bind = addr.String()
		if addr.IP.IsUnspecified() {
			addr.IP = net.IPv4(127, 0, 0, 1)
		}
		b.addr = addr
	}
	b.mu.Lock()
	b.sock = sock
	b.mu.Unlock()
	return nil
}

// tcpAddr understands what a listener says, a virtual one's "localhost:1" included.
func tcpAddr(a net.Addr) *net.TCPAddr {
	if t, ok := a.(*net.TCPAddr); ok {
		c := *t
		return &c
	}
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return nil
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	t := &net.TCPAddr{IP: net.ParseIP(host)}
	if _, err := fmt.Sscanf(port, "%d", &t.Port); err != nil || t.IP == nil {
		return nil
	}
	return t
}

// serve lets clients in until the socket is closed.
func (b *broker) serve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sock == nil || b.closing {
		return
	}
	b.wg.Add(1)
	go b.accept(b.sock)
}

func (b *broker) accept(sock net.Listener) {
	defer b.wg.Done()
	var logged time.Time
	for pause := time.Duration(0); ; {
		nc, err := sock.Accept()
		if err != nil {
			if !temporary(err) {
				return
			}
			if !errors.Is(err, syscall.ECONNABORTED) {
				b.places.Displace() // out of file descriptors
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if time.Since(logged) > acceptLogEvery {
				logged = time.Now()
				b.c.log.Warn("cannot accept connections; if the descriptors are used up, raise the limit with ulimit -n",
					"broker", b.id, "error", err)
			}
			select {
			case <-time.After(pause):
			case <-b.inner().done:
				return
			}
			continue
		}
		pause = 0
		b.admit(nc)
	}
}

func temporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}

func (b *broker) admit(nc net.Conn) {
	c := newConn(b, nc)
	if c == nil {
		abort(nc)
		return
	}
	b.mu.Lock()
	if b.sock == nil || b.closing {
		b.mu.Unlock()
		c.place.Leave()
		abort(nc)
		return
	}
	b.conns[c] = struct{}{}
	b.wg.Add(1)
	b.mu.Unlock()
	if err := b.inner().enter(context.Background(), c); err != nil {
		_ = c.Close()
	}
}

// left is called once by every connection that was admitted.
func (b *broker) left(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	b.wg.Done()
}

// cut closes the socket and resets every connection, as a machine does that
// goes away: clients see a refusal or a reset, never a silence.
func (b *broker) cut() {
	b.mu.Lock()
	sock := b.sock
	b.sock = nil
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	if sock != nil {
		_ = sock.Close()
	}
	for _, c := range conns {
		c.reset()
	}
}

func (b *broker) alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sock != nil
}

// shut ends the broker for good; wait for wg afterwards.
func (b *broker) shut() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	b.cut()
	if d := b.inner(); d != nil {
		_ = d.Close()
	}
}

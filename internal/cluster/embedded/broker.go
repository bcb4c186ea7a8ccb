package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/cluster/local"
	"github.com/weir-project/weir/internal/intake"
)

// maxConns bounds the client connections of one broker where descriptors are plenty.
const maxConns = 2000

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
	sock, err := b.c.cfg.listen("tcp", b.bind)
	if err != nil {
		return listenError(b.bind, err)
	}
	// A virtual listener has an address like localhost:1.
	at, err := netip.ParseAddrPort(strings.Replace(sock.Addr().String(), "localhost", "127.0.0.1", 1))
	if err != nil {
		_ = sock.Close()
		return listenError(b.bind, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sock = sock
	if b.addr == nil { // a restart is on the same port, and others read this
		b.bind, b.addr = at.String(), net.TCPAddrFromAddrPort(at)
		if b.addr.IP.IsUnspecified() {
			b.addr.IP = net.IPv4(127, 0, 0, 1)
		}
	}
	return nil
}

// serve lets clients in until the socket is closed.
func (b *broker) serve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sock == nil || b.closing {
		return
	}
	sock := b.sock
	b.wg.Go(func() {
		for {
			nc, err := b.places.Accept(sock)
			if err != nil {
				return
			}
			b.admit(nc)
		}
	})
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

// errNoBroker is returned for an id outside 0 to Size-1.
var errNoBroker = errors.New("does not exist")

// errDead and errAlive are returned by Kill and Restart when there is nothing to do.
var (
	errDead  = errors.New("the broker is already down")
	errAlive = errors.New("the broker is already running")
)

// Brokers describes the brokers, in the order of their IDs. The reason says why all
// brokers are down, and is empty where one was killed.
func (c *Cluster) Brokers(context.Context) (out []local.Broker, err error) {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.closed {
		return nil, fmt.Errorf("describe brokers: %w", errClosed)
	}
	for _, b := range c.brokers {
		d := local.Broker{ID: b.id, Addr: b.addr.String(), Alive: b.alive()}
		if e := c.outage.Load(); e != nil && !d.Alive {
			d.Reason = e.Error()
		}
		out = append(out, d)
	}
	return out, nil
}

// KillHard is Kill: an embedded broker has no clean end.
func (c *Cluster) KillHard(ctx context.Context, id int32) error { return c.Kill(ctx, id) }

var errNoProcess = errors.New("an embedded broker has no process of its own")

// Pause returns an error, because an embedded broker has no process of its own.
func (c *Cluster) Pause(int32) error { return errNoProcess }

// Resume returns an error, because an embedded broker has no process of its own.
func (c *Cluster) Resume(int32) error { return errNoProcess }

// Kill makes a broker go away as if its machine had lost power: its port refuses,
// its connections are reset, its leaders and coordinators move to the others and
// metadata no longer lists it. Its data is the cluster's, so nothing is lost.
// The last live broker can be killed too: then no broker answers, producers and
// consumers wait, and the first Restart goes on where everything stopped.
func (c *Cluster) Kill(ctx context.Context, id int32) error {
	b, err := c.broker(id)
	if err != nil {
		return err
	}
	c.ops.Lock()
	defer c.ops.Unlock()
	if !b.alive() {
		return fmt.Errorf("kill broker %d: %w", id, errDead)
	}
	b.cut()
	alive := c.aliveIDs()
	c.st.Lock()
	if c.controller == id && len(alive) > 0 {
		c.controller = alive[0]
	}
	c.st.Unlock()
	c.log.Info("broker killed", "broker", id, "alive", len(alive))
	if err := c.moveLocked(ctx); err != nil {
		return fmt.Errorf("kill broker %d: %w", id, err)
	}
	return nil
}

// Restart brings a killed broker back on the port that it had; it is an error when another
// program has taken it meanwhile. Leaders move back to where they are even.
func (c *Cluster) Restart(ctx context.Context, id int32) error {
	b, err := c.broker(id)
	if err != nil {
		return err
	}
	c.ops.Lock()
	defer c.ops.Unlock()
	if b.alive() {
		return fmt.Errorf("restart broker %d: %w", id, errAlive)
	}
	if err := c.module(func(*kfake.Cluster) error { return b.listen() }); err != nil {
		return fmt.Errorf("restart broker %d: %w", id, err)
	}
	c.st.Lock()
	if !c.brokers[c.controller].alive() {
		c.controller = id
	}
	c.st.Unlock()
	c.log.Info("broker restarted", "broker", id)
	err = c.moveLocked(ctx)
	b.serve()
	if err != nil {
		return fmt.Errorf("restart broker %d: %w", id, err)
	}
	return nil
}

// moveLocked moves leaders and coordinators to live brokers.
func (c *Cluster) moveLocked(ctx context.Context) error {
	if err := c.settleLocked(ctx); err != nil {
		return fmt.Errorf("move leaders: %w", err)
	}
	if err := c.rehomeLocked(); err != nil {
		return fmt.Errorf("move coordinators: %w", err)
	}
	return nil
}

func (c *Cluster) broker(id int32) (*broker, error) {
	if id < 0 || int(id) >= len(c.brokers) {
		return nil, fmt.Errorf("broker %d %w: the brokers are 0 to %d", id, errNoBroker, Size-1)
	}
	return c.brokers[id], nil
}

func (c *Cluster) aliveIDs() []int32 {
	var ids []int32
	for _, b := range c.brokers {
		if b.alive() {
			ids = append(ids, b.id)
		}
	}
	return ids
}

func (c *Cluster) controllerID() int32 {
	c.st.Lock()
	defer c.st.Unlock()
	return c.controller
}

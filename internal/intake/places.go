package intake

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// logEvery bounds the log of a listener that is full.
const logEvery = 30 * time.Second

// Places bounds the connections of one listener. When all places are taken, a new
// connection takes the place of the one that has been idle for longest, so
// connections that send nothing keep nobody out. If every connection waits for a
// response, the new one is refused. Connections that this process opened with
// Dialer are always admitted, and take no place. It is safe for concurrent use.
type Places struct {
	name  string
	limit int
	log   *slog.Logger
	clock atomic.Int64 // orders what connections do

	displaced atomic.Int64
	refused   atomic.Int64

	mu       sync.Mutex
	taken    map[*Place]struct{}
	logged   time.Time
	unlogged int64
	failed   time.Time // when an error of Accept was logged
}

// NewPlaces returns limit places for the listener that is called name in the log.
func NewPlaces(name string, limit int, log *slog.Logger) *Places {
	return &Places{name: name, limit: limit, log: log, taken: map[*Place]struct{}{}}
}

// Place is what one connection holds from its admission to its end.
type Place struct {
	of     *Places
	hangUp func()
	own    bool
	busy   atomic.Int32
	last   atomic.Int64 // when the connection was last admitted or answered
}

// Enter admits a connection from a remote address, or returns nil when there is
// no room. hangUp closes the connection when another one displaces it, or when it
// stalls while requests hold too much memory. It can be called more than once, and
// may call Leave.
func (p *Places) Enter(remote net.Addr, hangUp func()) *Place {
	c := &Place{of: p, hangUp: hangUp, own: isOwn(remote)}
	c.last.Store(p.clock.Add(1))
	if c.own {
		return c
	}
	p.mu.Lock()
	for len(p.taken) >= p.limit {
		p.mu.Unlock()
		if !p.displace() {
			p.refused.Add(1)
			return nil
		}
		p.mu.Lock()
	}
	p.taken[c] = struct{}{}
	p.mu.Unlock()
	return c
}

// displace closes the connection that has been idle for longest, and returns false
// if none is idle.
func (p *Places) displace() bool {
	p.mu.Lock()
	p.logFull()
	var longest *Place
	for c := range p.taken {
		if c.busy.Load() == 0 && (longest == nil || c.last.Load() < longest.last.Load()) {
			longest = c
		}
	}
	delete(p.taken, longest) // of nil: nothing
	p.mu.Unlock()
	if longest == nil {
		return false
	}
	p.displaced.Add(1)
	longest.hangUp()
	return true
}

// logFull logs at most every logEvery that the listener is full.
func (p *Places) logFull() {
	p.unlogged++
	if now := time.Now(); now.Sub(p.logged) > logEvery {
		p.log.Warn("too many connections: idle ones are closed, and new ones refused if none is idle",
			"listener", p.name, "limit", p.limit, "closed_or_refused", p.unlogged)
		p.logged, p.unlogged = now, 0
	}
}

// Limit returns how many connections are admitted.
func (p *Places) Limit() int { return p.limit }

// Displaced returns how many connections were closed for others.
func (p *Places) Displaced() int64 { return p.displaced.Load() }

// Refused returns how many connections were not admitted.
func (p *Places) Refused() int64 { return p.refused.Load() }

// Account returns the account of a request of the connection. Those of this process take
// nothing from the budget, because clients must not be able to stop them.
func (c *Place) Account(b *Budget) *Request {
	if c.own {
		return new(Request)
	}
	return b.Request(c.hangUp)
}

// Begin notes that a request has arrived completely. The connection is not
// displaced until End has been called as often.
func (c *Place) Begin() { c.busy.Add(1) }

// End notes that a request was answered. The connection is idle from now on,
// unless it waits for another response.
func (c *Place) End() {
	c.last.Store(c.of.clock.Add(1))
	c.busy.Add(-1)
}

// Leave gives the place back. It may be called more than once.
func (c *Place) Leave() {
	c.of.mu.Lock()
	delete(c.of.taken, c)
	c.of.mu.Unlock()
}

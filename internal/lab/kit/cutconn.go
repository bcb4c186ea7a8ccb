package kit

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errCut is what a client sees of a connection that was cut.
var errCut = errors.New("the lab has cut this connection")

// Network is the network of one client, which can be cut for good without warning: to
// the brokers that is what the death of its process or its machine looks like. It can also cut
// single connections, which the client then opens again. It reads the requests that pass, so that
// a test need not trust the client.
type Network struct {
	// CutEvery, where it is not 0, cuts a connection at every so many Produce requests: in turns the
	// network swallows the request, and loses the response.
	CutEvery int

	mu       sync.Mutex
	produced int // Produce requests
	conns    map[net.Conn]struct{}
	now      NetworkState
}

// NetworkState is what has become of a network.
type NetworkState struct {
	Cut bool // by Cut
	// Beat and Commit are when the last heartbeat and the last commit of offsets were written,
	// Leaves how many requests to leave a group.
	Beat, Commit time.Time
	Leaves       int
	// Swallowed are requests that did not arrive, Voided responses that did not come back.
	Swallowed, Voided int64
}

// NewNetwork returns a network without connections.
func NewNetwork() *Network { return &Network{conns: map[net.Conn]struct{}{}} }

// Option makes a client use this network.
func (m *Network) Option() kgo.Opt { return kgo.Dialer(m.dial()) }

func (m *Network) dial() dialer {
	return wrapped(func(c net.Conn) (net.Conn, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.now.Cut {
			_ = c.Close() // nothing was written
			return nil, net.ErrClosed
		}
		m.conns[c] = struct{}{}
		return &networkConn{Conn: c, m: m}, nil
	})
}

// Cut cuts every connection, and lets no new one be made.
func (m *Network) Cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Cut = true
	for c := range m.conns {
		_ = c.Close() // that is the point
	}
	clear(m.conns)
}

// State returns what has become of it.
func (m *Network) State() NetworkState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

type networkConn struct {
	net.Conn
	m    *Network
	mute bool // the next response does not arrive; m.mu guards it
}

// Write implements net.Conn. A client writes each request in one call.
func (c *networkConn) Write(p []byte) (int, error) {
	c.m.mu.Lock()
	cut := c.m.now.Cut
	swallow := !cut && c.sees(p)
	c.m.mu.Unlock()
	switch {
	case cut:
		return 0, net.ErrClosed
	case swallow:
		_ = c.Close() // as if the cable had been pulled: the client believes it was sent
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// sees notes a request, under the lock, and reports whether it is to be swallowed.
func (c *networkConn) sees(p []byte) (swallow bool) {
	now := &c.m.now
	switch apiKey(p) {
	case kmsg.LeaveGroup:
		now.Leaves++
	case kmsg.OffsetCommit:
		now.Commit = time.Now()
	case kmsg.Heartbeat:
		now.Beat = time.Now()
	case kmsg.ConsumerGroupHeartbeat:
		if leavesNextGen(p) {
			now.Leaves++
		} else {
			now.Beat = time.Now()
		}
	case kmsg.Produce:
		c.m.produced++
		if c.m.CutEvery == 0 || c.m.produced%c.m.CutEvery != 0 {
			return false
		}
		if c.m.produced/c.m.CutEvery%2 == 0 {
			c.mute = true
			return false
		}
		now.Swallowed++
		return true
	}
	return false
}

// Read implements net.Conn.
func (c *networkConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.mu.Lock()
	void := c.mute && n > 0
	if void {
		c.m.now.Voided++
	}
	c.m.mu.Unlock()
	if void {
		_ = c.Close() // the response is there, and no client may see it
		return 0, errCut
	}
	return n, err
}

// Close implements net.Conn.
func (c *networkConn) Close() error {
	c.m.mu.Lock()
	delete(c.m.conns, c.Conn)
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// apiKey returns the API key of a request, which follows its length, or -1 when b is not a
// request.
func apiKey(frame []byte) kmsg.Key {
	if len(frame) < 8 {
		return -1
	}
	return kmsg.Key(binary.BigEndian.Uint16(frame[4:]))
}

// leavesNextGen reports whether a frame with a ConsumerGroupHeartbeat leaves the group: its
// member epoch is then below 0 (KIP-848).
func leavesNextGen(frame []byte) bool {
	version := int16(binary.BigEndian.Uint16(frame[6:]))
	body := frame[8:]
	if len(body) < 6 {
		return false
	}
	body = body[4:] // the correlation id
	if n := int(int16(binary.BigEndian.Uint16(body))); n > 0 && len(body) >= 2+n {
		body = body[n:]
	}
	if body = body[2:]; len(body) == 0 {
		return false
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(version)
	return req.ReadFrom(body[1:]) == nil && req.MemberEpoch < 0 // after no tags
}

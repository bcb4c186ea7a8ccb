package kit

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Network is the network of one client, which can be cut for good without warning: to
// the brokers that is what the death of its process or its machine looks like. It
// reads the requests that pass, so that a test need not trust the client.
type Network struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	now   NetworkState
}

// NetworkState is what has become of a network.
type NetworkState struct {
	Cut bool // by Cut
	// Beat and Commit are when the last heartbeat and the last commit of offsets were written,
	// Leaves how many requests to leave a group.
	Beat, Commit time.Time
	Leaves       int
}

// NewNetwork returns a network without connections.
func NewNetwork() *Network { return &Network{conns: map[net.Conn]struct{}{}} }

// Option makes a client use this network.
func (m *Network) Option() kgo.Opt {
	return Dialed(func(c net.Conn) (net.Conn, error) {
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
	m *Network
}

// Write implements net.Conn. A client writes each request in one call.
func (c *networkConn) Write(p []byte) (int, error) {
	c.m.mu.Lock()
	if c.m.now.Cut {
		c.m.mu.Unlock()
		return 0, net.ErrClosed
	}
	switch APIKey(p) {
	case kmsg.LeaveGroup:
		c.m.now.Leaves++
	case kmsg.OffsetCommit:
		c.m.now.Commit = time.Now()
	case kmsg.Heartbeat:
		c.m.now.Beat = time.Now()
	case kmsg.ConsumerGroupHeartbeat:
		if leavesNextGen(p) {
			c.m.now.Leaves++
		} else {
			c.m.now.Beat = time.Now()
		}
	}
	c.m.mu.Unlock()
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *networkConn) Close() error {
	c.m.mu.Lock()
	delete(c.m.conns, c.Conn)
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// APIKey returns the API key of a request, which follows its length, or -1 when b is not a
// request.
func APIKey(frame []byte) kmsg.Key {
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

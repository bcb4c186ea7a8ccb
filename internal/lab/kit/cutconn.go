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
// reads the requests that pass, so that nobody has to take its word for it.
type Network struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	dead   bool
	beat   time.Time // the last heartbeat that was written
	leaves int       // requests to leave a group that were written
	commit time.Time // the last commit of positions that was written
}

// NewNetwork returns a network without connections.
func NewNetwork() *Network { return &Network{conns: map[net.Conn]struct{}{}} }

// Option makes a client use this network.
func (m *Network) Option() kgo.Opt {
	return Dialed(func(c net.Conn) (net.Conn, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.dead {
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
	m.dead = true
	for c := range m.conns {
		_ = c.Close() // that is the point
	}
	clear(m.conns)
}

// IsCut reports whether Cut was called.
func (m *Network) IsCut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// Seen returns when the last heartbeat was written, and how many requests to leave.
func (m *Network) Seen() (beat time.Time, leaves int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beat, m.leaves
}

// LastCommit returns when the last commit of offsets was written.
func (m *Network) LastCommit() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit
}

type networkConn struct {
	net.Conn
	m *Network
}

// Write implements net.Conn. A client writes each request in one call.
func (c *networkConn) Write(p []byte) (int, error) {
	c.m.mu.Lock()
	if c.m.dead {
		c.m.mu.Unlock()
		return 0, net.ErrClosed
	}
	switch APIKey(p) {
	case kmsg.LeaveGroup:
		c.m.leaves++
	case kmsg.OffsetCommit:
		c.m.commit = time.Now()
	case kmsg.Heartbeat:
		c.m.beat = time.Now()
	case kmsg.ConsumerGroupHeartbeat:
		if leavesNextGen(p) {
			c.m.leaves++
		} else {
			c.m.beat = time.Now()
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

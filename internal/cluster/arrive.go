package cluster

import (
	"io"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// maxHeld bounds the bytes of all requests to the three brokers that have not
// arrived completely. It is above maxProduceFrame, so that every permitted
// request can be received.
const maxHeld = 160 << 20

// A frame that is larger than the connection's buffer is collected in chunks.
// Memory therefore grows with the bytes that arrived, and is never copied to grow.
const chunkBytes = 32 << 10

type chunk [chunkBytes]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// collect waits until the frame of n bytes is complete. The module allocates the
// size that a frame announces, so it may see no byte of it earlier.
func (c *conn) collect(n int) error {
	if _, err := c.in.Peek(min(n, c.in.Size())); err != nil {
		return err
	}
	c.left = n
	if n <= c.in.Size() {
		return nil
	}
	for got := 0; got < n; {
		if err := c.request.Add(chunkBytes); err != nil {
			return err
		}
		next := chunks.Get().(*chunk)
		c.parts = append(c.parts, next)
		m, err := io.ReadFull(c.in, next[:min(n-got, chunkBytes)])
		if err != nil {
			return err
		}
		got += m
	}
	return nil
}

// hand copies collected bytes to p.
func (c *conn) hand(p []byte) int {
	n := copy(p[:min(len(p), c.left)], c.parts[0][c.off:])
	c.off += n
	c.left -= n
	if c.off == chunkBytes || c.left == 0 {
		chunks.Put(c.parts[0])
		c.parts[0] = nil
		c.parts, c.off = c.parts[1:], 0
	}
	if c.left == 0 {
		c.parts = nil
		c.request.Done()
	}
	return n
}

// whole returns a collected frame of n bytes as one slice.
func (c *conn) whole(n int) ([]byte, error) {
	frame := make([]byte, n)
	for got := 0; got < n; {
		m, err := c.pass(frame[got:])
		if err != nil {
			return nil, err
		}
		got += m
	}
	return frame, nil
}

// pass reads bytes of the frame that collect has received.
func (c *conn) pass(p []byte) (int, error) {
	if len(c.parts) > 0 {
		return c.hand(p), nil
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// drop releases what an incomplete request holds.
func (c *conn) drop() {
	for _, part := range c.parts {
		chunks.Put(part)
	}
	c.parts, c.left = nil, 0
	c.request.Done()
}

// begin starts the deadline of a request when its first byte has arrived.
func (c *conn) begin() error {
	if _, err := c.in.Peek(1); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(intake.Deadline))
	return nil
}

// complete ends the deadline, and protects the connection from displacement.
func (c *conn) complete() {
	_ = c.SetReadDeadline(time.Time{})
	c.served.Store(true)
}

// displace closes the oldest connection that never sent a complete request, if
// the broker has no room for another one. Connections that stall can therefore
// not keep other clients out.
func (b *broker) displace() {
	b.mu.Lock()
	var oldest *conn
	if len(b.conns) >= maxConns {
		for c := range b.conns {
			if !c.served.Load() && (oldest == nil || c.number < oldest.number) {
				oldest = c
			}
		}
	}
	b.mu.Unlock()
	if oldest != nil {
		b.c.refused.Add(1)
		oldest.reset()
	}
}

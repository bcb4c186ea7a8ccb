package embedded

import (
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/intake"
)

// maxHeld bounds the bytes of all requests to the three brokers that were not
// answered. One of them can be as large as maxProduceFrame.
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
	c.request.Arrived()
	c.place.Begin()
}

// account returns the account of the connection's next request.
func (c *conn) account() *intake.Request { return c.place.Account(c.b.c.budget) }

// take notes a complete request that the module gets. If it has a response, what
// it holds is counted until the module responds.
func (c *conn) take(f flight, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !answered {
		c.place.End()
		if len(c.flights) == 0 {
			c.request.Work()
		}
		return
	}
	if c.request.Counted() {
		f.request, c.request = c.request, c.account()
	}
	if c.closed {
		f.done()
	}
	c.flights = append(c.flights, f)
	c.work()
}

// work notes which request of the connection the module works on: the first,
// unless it waits for other clients. The caller holds mu.
func (c *conn) work() {
	if len(c.flights) == 0 {
		return
	}
	switch kmsg.Key(c.flights[0].key) {
	case kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup:
	default:
		c.flights[0].request.Work()
	}
}

// done ends the account of the request.
func (f *flight) done() {
	f.request.Done()
	f.request = nil
}

// sendBytes is how much of a response a client has to read within intake.Deadline.
const sendBytes = 1 << 20

// sendSlack saves most calls of SetWriteDeadline: a client may have that much longer.
const sendSlack = 10 * time.Second

// send writes a response. A client that does not read it loses its connection. One
// goroutine at a time sends.
func (c *conn) send(frame []byte) error {
	for len(frame) > 0 {
		n := min(len(frame), sendBytes)
		if now := time.Now(); now.Sub(c.extended) > sendSlack {
			c.extended = now
			_ = c.SetWriteDeadline(now.Add(intake.Deadline + sendSlack))
		}
		if _, err := c.Conn.Write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	return nil
}

package embedded

import (
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/intake"
)

// maxHeld bounds the bytes of all requests to the three brokers that were not
// answered. One of them can be as large as maxProduceFrame.
const maxHeld = 160 << 20

// chunkBytes is how much of a frame is allocated, and counted, at a time. Memory therefore
// grows with the bytes that arrived, and is never copied to grow.
const chunkBytes = 32 << 10

// receive waits until the frame of n bytes is complete. The module allocates the
// size that a frame announces, so it may see no byte of it earlier.
func (c *conn) receive(n int) (parts net.Buffers, err error) {
	for ; n > 0; n -= chunkBytes {
		part := min(n, chunkBytes)
		if err := c.request.Add(part); err != nil {
			return nil, err
		}
		parts = append(parts, make([]byte, part))
		if _, err := io.ReadFull(c.in, parts[len(parts)-1]); err != nil {
			return nil, err
		}
	}
	return parts, nil
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

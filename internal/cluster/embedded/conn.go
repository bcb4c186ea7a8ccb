package embedded

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/intake"
)

// The broker module reserves whatever a frame says it will need, and an unknown
// request key is a nil pointer in it. Both end the process, so no frame reaches
// it unchecked.
const (
	maxProduceFrame = 100 << 20 // Kafka's socket.request.max.bytes
	// maxFrame is for everything but Produce. A decoded request takes up to some
	// hundred times the bytes of a hostile frame, so the limit is far below.
	maxFrame = 2 << 20
	// maxRejected bounds the Produce requests that are read only to be rejected.
	maxRejected = 8 << 20
	minFrame    = 10 // key, version, correlation id, length of the client id
	// maxProduceVersion is the last one that names topics. With topic ids, two
	// unknown ones in a request (topics deleted under a producer) end the process
	// with an index out of range.
	maxProduceVersion = 12
)

// errFrame ends a connection that does not speak the protocol.
var errFrame = errors.New("not a Kafka request")

// flight is a request that was handed on and is not answered yet.
type flight struct {
	key, version int16
	corr         int32
	node         int32               // the broker that was asked
	req          kmsg.Request        // only for a request that is decoded
	then         func(kmsg.Response) // changes the response; nil leaves it alone
	request      *intake.Request     // nil for a small one
}

// conn is a client's connection. The broker module reads requests from it and
// writes one response a call to it; conn checks both, and changes a few kinds of them.
// Everything else passes without a copy.
//
// Invariant: the module answers the requests of a connection in order.
type conn struct {
	net.Conn
	b    *broker
	in   *bufio.Reader
	left int    // bytes of the current frame that are still to be handed on
	held []byte // rest of a frame that was taken off the socket whole

	request *intake.Request // counts the frame that arrives
	parts   []*chunk        // of a frame that is larger than in's buffer
	off     int             // how much of parts[0] is handed on
	place   *intake.Place

	extended time.Time // when the deadline for sending was last set

	mu      sync.Mutex
	idle    *sync.Cond // signalled when flights shrinks or the connection closes
	flights []flight
	closed  bool
}

// newConn returns nil when the broker has no place for another connection.
func newConn(b *broker, nc net.Conn) *conn {
	c := &conn{Conn: nc, b: b}
	if c.place = b.places.Enter(nc.RemoteAddr(), c.reset); c.place == nil {
		return nil
	}
	c.in = bufio.NewReaderSize(nc, 4<<10)
	c.idle = sync.NewCond(&c.mu)
	c.request = c.account()
	return c
}

// Close is called by the module's reader and writer, and by Kill.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	for i := range c.flights {
		c.flights[i].done()
	}
	c.idle.Broadcast()
	c.mu.Unlock()
	if !first {
		return nil
	}
	err := c.Conn.Close()
	c.place.Leave()
	c.b.left(c)
	return err
}

// reset closes without the courtesy of a FIN.
func (c *conn) reset() {
	linger(c.Conn)
	_ = c.Close()
}

func abort(nc net.Conn) {
	linger(nc)
	_ = nc.Close()
}

func linger(nc net.Conn) {
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// Read hands request frames to the module.
func (c *conn) Read(p []byte) (int, error) {
	for c.left == 0 && len(c.held) == 0 {
		if err := c.next(); err != nil {
			c.drop()
			return 0, err
		}
	}
	if len(c.held) > 0 {
		n := copy(p, c.held)
		c.held = c.held[n:]
		return n, nil
	}
	return c.pass(p)
}

// next waits for a complete frame, checks it, and decides whether the module gets it.
func (c *conn) next() error {
	c.request.Done() // of a request without a response: the module has taken it
	if err := c.begin(); err != nil {
		return err
	}
	head, err := c.in.Peek(12)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	f := flight{
		key:     int16(binary.BigEndian.Uint16(head[4:])),
		version: int16(binary.BigEndian.Uint16(head[6:])),
		corr:    int32(binary.BigEndian.Uint32(head[8:])),
		node:    c.b.id,
	}
	produce := f.key == int16(kmsg.Produce)
	full := produce && !c.b.c.room.take(int64(size))
	limit := uint32(maxFrame)
	if produce {
		limit = maxProduceFrame
	}
	if size < minFrame || size > limit || kmsg.RequestForKey(f.key) == nil || produce && f.version > maxProduceVersion {
		c.b.c.refused.Add(1)
		c.b.c.log.Debug("refused frame", "broker", c.b.id, "remote", c.RemoteAddr().String(), "size", size, "key", f.key)
		return errFrame
	}
	n := 4 + int(size)
	if full && size > maxRejected {
		return c.b.c.rejectProduce()
	}
	if full || requests[kmsg.Key(f.key)] != nil {
		return c.inspect(f, n)
	}
	answered := !produce || c.answered(n)
	if err := c.collect(n); err != nil {
		return err
	}
	c.complete()
	c.take(f, answered)
	return nil
}

// answered reports whether the Produce request at the head of the buffer gets a
// response: with acks 0 there is none.
func (c *conn) answered(n int) bool {
	head, err := c.in.Peek(min(n, 2<<10))
	if err != nil {
		return true
	}
	r, _, version := requestHeader(head)
	if version >= 9 {
		kmsg.SkipTags(&r)
		r.CompactNullableString()
	} else {
		r.NullableString()
	}
	acks := r.Int16()
	return !r.Ok() || acks != 0
}

// inspect takes the whole frame off the socket. Depending on the request it is
// handed on, changed, or answered here.
func (c *conn) inspect(f flight, n int) error {
	if err := c.collect(n); err != nil {
		return err
	}
	c.complete()
	frame, err := c.whole(n)
	if err != nil {
		return err
	}
	req, err := decodeRequest(frame)
	if err != nil {
		c.b.c.refused.Add(1)
		return errors.Join(errFrame, err)
	}
	f.req = req
	frame, reply, err := c.b.c.before(c.b, &f, frame)
	if err != nil {
		return err
	}
	if reply == nil {
		c.take(f, true)
		c.held = frame
		return nil
	}
	// Answers go out in the order of the requests.
	if !c.waitIdle() {
		return net.ErrClosed
	}
	defer c.place.End()
	c.request.Done()
	return c.answer(f, reply)
}

// answer sends one response, unless a write to the disk has failed: the module may
// have answered as if it had not. So neither is a commit crossed out, nor does the
// client hear of it.
func (c *conn) answer(f flight, frame []byte) error {
	failed := c.b.c.failed.Load()
	if failed == nil {
		frame = c.b.c.after(f, frame) // may write, and fail
		failed = c.b.c.failed.Load()
	}
	if failed != nil {
		c.reset()
		return failed
	}
	return c.send(frame)
}

// waitIdle waits until every request handed on is answered; false if the
// connection closes first.
func (c *conn) waitIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.flights) > 0 && !c.closed {
		c.idle.Wait()
	}
	return !c.closed
}

// Write sends one response of the module.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.flights) == 0 || len(p) < 8 {
		c.mu.Unlock()
		return 0, fmt.Errorf("a response nobody asked for (%d bytes)", len(p))
	}
	f := c.flights[0]
	c.flights[0].done()
	c.mu.Unlock()
	if corr := int32(binary.BigEndian.Uint32(p[4:])); corr != f.corr {
		return 0, fmt.Errorf("response %d to request %d", corr, f.corr)
	}
	err := c.answer(f, p)
	c.mu.Lock()
	c.flights = append(c.flights[:0], c.flights[1:]...)
	c.work()
	c.idle.Broadcast()
	c.mu.Unlock()
	c.place.End()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

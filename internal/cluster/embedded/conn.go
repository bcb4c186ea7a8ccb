package embedded

import (
	"bufio"
	"bytes"
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
// writes one response a call to it; conn checks both, and changes a few of them.
//
// Invariant: the module answers the requests of a connection in order.
type conn struct {
	net.Conn
	b    *broker
	in   *bufio.Reader
	held net.Buffers // what the module has not read yet of a complete frame

	request *intake.Request // counts the frame that arrives
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
	for len(c.held) == 0 {
		if err := c.next(); err != nil {
			c.request.Done()
			c.waitJoined()
			return 0, err
		}
	}
	n, _ := c.held.Read(p) // its error says that there is no more
	return n, nil
}

// next waits for a complete frame, checks it, and decides whether the module gets it.
func (c *conn) next() error {
	c.request.Done() // of a request without a response: the module has taken it
	if _, err := c.in.Peek(1); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(intake.Deadline))
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
	if full && size > maxRejected {
		return c.b.c.rejectProduce()
	}
	parts, err := c.receive(4 + int(size))
	if err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Time{})
	c.request.Arrived()
	c.place.Begin() // from now on no other connection displaces this one
	if full || requests[kmsg.Key(f.key)] != nil {
		return c.inspect(f, bytes.Join(parts, nil))
	}
	c.take(f, !produce || answered(parts[0]))
	c.held = parts
	return nil
}

// answered reports whether a Produce request, of which frame is the beginning, gets a
// response: with acks 0 there is none.
func answered(frame []byte) bool {
	r, _, version := requestHeader(frame)
	if version >= 9 {
		kmsg.SkipTags(&r)
		r.CompactNullableString()
	} else {
		r.NullableString()
	}
	acks := r.Int16()
	return !r.Ok() || acks != 0
}

// inspect decodes a frame. Depending on the request it is handed on, changed, or
// answered here.
func (c *conn) inspect(f flight, frame []byte) (err error) {
	if f.req, err = decodeRequest(frame); err != nil {
		c.b.c.refused.Add(1)
		return errors.Join(errFrame, err)
	}
	frame, reply, err := c.b.c.before(c.b, &f, frame)
	if err != nil {
		return err
	}
	if reply == nil {
		c.take(f, true)
		c.held = net.Buffers{frame}
		return nil
	}
	// Responses go out in the order of the requests.
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

// waitJoined keeps the connection of a client that has gone until its JoinGroup is answered. The module
// starts the session of a member with that answer: without it the member would never leave its group.
func (c *conn) waitJoined() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.flights) > 0 && !c.closed && kmsg.Key(c.flights[0].key) == kmsg.JoinGroup {
		c.idle.Wait()
	}
}

// Write sends one response of the module.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.flights) == 0 || len(p) < 8 {
		c.mu.Unlock()
		return 0, fmt.Errorf("a response without a request (%d bytes)", len(p))
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

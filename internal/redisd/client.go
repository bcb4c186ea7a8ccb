package redisd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/weir-project/weir/internal/intake"
)

// Limits of what is sent to a client.
const (
	maxReply     = 256 << 20 // bytes that wait for one client
	writeTimeout = 30 * time.Second
)

// client is one connection. miniredis writes replies while it holds its lock, so
// they go to memory first: a client that does not read stalls nobody else.
type client struct {
	s     *Server
	conn  net.Conn
	id    int64
	peer  *server.Peer
	out   *outbox
	place *intake.Place

	multi      bool       // inside MULTI
	queued     []shape    // of what MULTI queues
	scripts    [][]string // that MULTI queues, and what they answer while EXEC runs
	replies    [][]byte
	queue      *intake.Request // counts what MULTI queues
	subscribed bool
}

// newClient returns nil when the server has no place for another connection.
func newClient(s *Server, conn net.Conn) *client {
	c := &client{s: s, conn: conn, out: &outbox{conn: conn, kick: make(chan struct{}, 1), done: make(chan struct{})}}
	c.peer = server.NewPeer(bufio.NewWriterSize(c.out, 4<<10))
	if c.place = s.places.Enter(conn.RemoteAddr(), c.hangUp); c.place == nil {
		return nil
	}
	c.queue = c.account()
	return c
}

// account returns the account of a request.
func (c *client) account() *intake.Request { return c.place.Account(c.s.budget) }

// hangUp ends the connection; run returns soon after.
func (c *client) hangUp() {
	c.peer.Close()
	_ = c.conn.Close()
}

// run serves the connection until it ends. Requests are read by a goroutine of
// their own, so that a command that blocks notices when its client is gone.
func (c *client) run() {
	requests, failed := make(chan call), make(chan error, 1)
	go c.read(requests, failed)
	for r := range requests {
		c.handle(r)
		r.request.Done()
		c.peer.Flush()
		if c.out.send() != nil || c.peer.Closed() {
			break
		}
		c.place.End()
	}
	select {
	case err := <-failed:
		if errors.Is(err, errProtocol) {
			c.s.log.Debug("redis: closed a connection", "remote", c.conn.RemoteAddr().String(), "error", err)
			c.peer.WriteError("ERR " + err.Error())
			c.peer.Flush()
			_ = c.out.send()
		}
	default:
	}
	c.hangUp()
	for r := range requests { // those that were on their way; the reader has ended then
		r.request.Done()
	}
	c.queue.Done()
	c.out.stop()
	if c.subscribed { // miniredis keeps subscribers until they unsubscribe
		c.dispatch([]string{"UNSUBSCRIBE"})
		c.dispatch([]string{"PUNSUBSCRIBE"})
	}
}

// read reads requests until it fails, which comes after all of them were taken over.
func (c *client) read(requests chan<- call, failed chan<- error) {
	defer close(requests)
	q := &requestReader{r: bufio.NewReaderSize(c.conn, 16<<10), request: c.account(), deadline: c.conn.SetReadDeadline}
	defer func() { q.request.Done() }()
	for {
		args, err := q.next()
		if err != nil {
			failed <- err
			c.peer.Close()
			return
		}
		c.place.Begin()
		r := call{args: args, size: q.request.Size()}
		q.request.Arrived()
		if q.request.Counted() {
			r.request, q.request = q.request, c.account()
		}
		q.request.Done()
		requests <- r
	}
}

// call is a request that has arrived.
type call struct {
	args    []string
	size    int64
	request *intake.Request // nil for a small one
}

// handle answers one request. Nothing that a client sends may end the process.
func (c *client) handle(r call) {
	args := r.args
	c.s.commands.Add(1)
	cmd := strings.ToUpper(args[0])
	if len(cmd) > 64 {
		c.peer.WriteError("ERR unknown command")
		return
	}
	if !mayBlock[cmd] && !c.multi {
		r.request.Work()
	}
	if answer, ok := own[cmd]; ok && answer(c, args) {
		return
	}
	switch {
	case cmd == "MULTI":
		c.multi, c.queued, c.scripts = true, nil, nil
	case cmd == "EXEC" || cmd == "DISCARD":
		c.multi = false
		defer c.queue.Done()
	case (cmd == "SUBSCRIBE" || cmd == "PSUBSCRIBE") && !c.subscribed:
		c.subscribed = true
		c.place.Begin() // it waits for messages from now on
		c.out.push()
	case c.s.full() && c.s.adds(cmd):
		c.refuse("OOM command not allowed when used memory > 'maxmemory'.")
		return
	}
	if c.multi {
		message := refusal(cmd, args[1:])
		if message == "" && scripting[cmd] {
			message = malformed(args)
		}
		if message != "" {
			c.refuse(message)
			return
		}
		if c.queue.Size()+r.size > maxRequest {
			c.refuse(fmt.Sprintf("ERR transaction larger than %d bytes", maxRequest))
			return
		}
		if c.queue.Add(int(r.size)) != nil {
			return // the connection is closed
		}
	}
	if c.peer.Resp3 && !c.subscribed {
		c.inShape(args)
		return
	}
	c.dispatch(args)
}

// rewritten lets answer write a reply, and changes it before it is sent. No other goroutine
// may send meanwhile.
func (c *client) rewritten(answer func(), change func(reply []byte) []byte) {
	c.peer.Flush()
	c.out.mu.Lock()
	from := len(c.out.buf)
	c.out.mu.Unlock()
	answer()
	c.peer.Flush()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if from < len(c.out.buf) {
		c.out.buf = append(c.out.buf[:from], change(c.out.buf[from:])...)
	}
}

// mayBlock are the commands that can wait for others.
var mayBlock = set("BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "XREAD", "XREADGROUP")

// inert are commands that change nothing though miniredis does not mark them so.
var inert = set("PING", "ECHO", "AUTH", "HELLO", "SELECT", "QUIT", "CLIENT", "COMMAND", "INFO", "TIME", "MULTI", "DISCARD",
	"WATCH", "UNWATCH", "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PUBLISH", "PUBSUB", "SCRIPT", "WAIT", "CLUSTER")

// dispatch lets miniredis answer.
func (c *client) dispatch(args []string) {
	s, cmd := c.s, strings.ToUpper(args[0])
	srv := s.redis.Server()
	changes := !inert[cmd] && srv.IsRegisteredCommand(cmd) && !srv.IsReadOnlyCommand(cmd)
	if mayBlock[cmd] && !c.multi {
		s.gate.Lock() // none begins while a snapshot reads; those that wait are counted
		s.blocking.Add(1)
		s.gate.Unlock()
		defer s.blocking.Add(-1)
		defer c.recovered(cmd, false)
	} else {
		s.gate.Lock()
		defer s.gate.Unlock()
		if setsExpiry(cmd) {
			s.catchUp()
		}
		defer c.recovered(cmd, true)
	}
	if c.multi {
		args = queueScan(args)
	}
	switch {
	case scripting[cmd]:
		c.answerScript(args)
	case cmd == "EXEC" && len(c.scripts) > 0:
		c.exec(args)
	default:
		srv.Dispatch(c.peer, args)
	}
	if changes {
		s.changes.Add(1)
	}
}

// recovered keeps a panic of a command from ending the process. miniredis may
// have left its lock locked; nobody else can hold it for long while the gate is held.
func (c *client) recovered(cmd string, gated bool) {
	r := recover()
	if r == nil {
		return
	}
	stack := debug.Stack()
	c.s.log.Error("redis: a command failed inside the server", "command", cmd, "panic", fmt.Sprint(r), "stack", string(stack[:min(len(stack), 4<<10)]))
	if gated {
		for range 100 { // either way it is locked afterwards, by us or by the command
			if c.s.redis.TryLock() {
				break
			}
			<-time.After(5 * time.Millisecond)
		}
		c.s.redis.Unlock()
	}
	c.s.changes.Add(1)
	c.peer.WriteError("ERR internal error, the connection is closed")
	c.peer.Close()
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// outbox holds what waits to be sent to a client.
type outbox struct {
	conn net.Conn
	kick chan struct{} // something was written
	done chan struct{}

	mu   sync.Mutex
	buf  []byte
	over bool

	sending sync.Mutex
	spare   []byte
	pusher  sync.WaitGroup
}

// Write implements io.Writer for the peer; it never waits.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	if len(o.buf)+len(p) > maxReply {
		o.over, o.buf = true, nil
	}
	if !o.over {
		o.buf = append(o.buf, p...)
	}
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
	return len(p), nil
}

var errSlow = errors.New("the client does not read its replies")

// send writes what waits.
func (o *outbox) send() error {
	o.sending.Lock()
	defer o.sending.Unlock()
	o.mu.Lock()
	b, over := o.buf, o.over
	o.buf, o.spare = o.spare[:0], nil
	o.mu.Unlock()
	if over {
		return errSlow
	}
	if len(b) > 0 {
		_ = o.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := o.conn.Write(b); err != nil {
			return err
		}
	}
	if cap(b) <= 64<<10 {
		o.spare = b[:0]
	}
	return nil
}

// push sends from now on also what is written between two commands: messages of
// channels that the client subscribes to.
func (o *outbox) push() {
	o.pusher.Go(func() {
		for {
			select {
			case <-o.done:
				return
			case <-o.kick:
				if o.send() != nil {
					_ = o.conn.Close()
				}
			}
		}
	})
}

// stop ends push, and everything that is written from then on goes nowhere.
func (o *outbox) stop() {
	close(o.done)
	o.pusher.Wait()
	o.mu.Lock()
	o.over, o.buf = true, nil
	o.mu.Unlock()
}

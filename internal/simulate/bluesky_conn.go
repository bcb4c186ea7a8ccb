package simulate

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// blueskyConn is one subscriber.
type blueskyConn struct {
	stream
	*socket
	srv        *BlueskyServer
	filter     atomic.Pointer[filter]
	hello      chan struct{} // closed by the first options_update
	unanswered atomic.Bool   // a ping has had no pong
	cancel     context.CancelFunc

	world   *Bluesky
	begun   int // where the frame in the buffer begins
	scratch []byte
	pinged  time.Time
	bad     time.Time // since when it is far behind and hardly reads
	badPos  int64
}

func newBlueskyConn(s *BlueskyServer, ws *websocket.Conn, sub *subscription) *blueskyConn {
	c := &blueskyConn{stream: stream{endpoint: &s.endpoint}, socket: newSocket(ws), srv: s, hello: make(chan struct{})}
	c.wire = c
	c.filter.Store(sub.filter)
	if !sub.hello {
		close(c.hello)
	}
	c.pos = s.start(sub.cursor)
	return c
}

// serve runs the connection until the client, a fault or the server ends it.
func (c *blueskyConn) serve(ctx context.Context) {
	c.ctx, c.cancel = context.WithCancel(ctx)
	stop := c.follow(c.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.read()
	}()
	select {
	case <-c.hello:
		c.pinged = time.Now()
		if c.run() == end {
			c.close(websocket.CloseNormalClosure, "")
		}
	case <-c.ctx.Done():
	}
	if errors.Is(context.Cause(ctx), errClosing) {
		c.close(websocket.CloseGoingAway, "server shutting down")
	}
	c.cancel()
	_ = c.nc.Close()
	<-done
	stop()
}

// read takes what the client sends: control frames and option updates.
func (c *blueskyConn) read() {
	defer c.cancel()
	c.ws.SetPongHandler(func(string) error {
		c.unanswered.Store(false)
		return nil
	})
	for {
		kind, p, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.TextMessage {
			continue
		}
		f, code, err := parseUpdate(p)
		switch {
		case err != nil:
			c.close(code, err.Error())
			return
		case f != nil:
			c.filter.Store(f)
			select {
			case <-c.hello:
			default:
				close(c.hello)
			}
		}
	}
}

// upkeep sends a ping when it is time. It ends a connection where the last ping
// was not answered, and clients that are too slow.
func (c *blueskyConn) upkeep() (time.Duration, bool) {
	age := time.Since(c.pinged)
	if c.unanswered.Load() && age > patience || !c.keepsUp() {
		return 0, false
	}
	if age >= pingEvery {
		c.pinged = time.Now()
		c.unanswered.Store(true)
		if c.frame(opPing, nil, patience) != nil {
			return 0, false
		}
	}
	wait := time.Until(c.pinged.Add(pingEvery))
	if c.unanswered.Load() {
		wait = min(wait, time.Until(c.pinged.Add(patience+time.Millisecond)))
	}
	return wait, true
}

// keepsUp reports whether the real servers would keep the client.
func (c *blueskyConn) keepsUp() bool {
	const far, window, floor = 100_000, 60 * time.Second, 5
	lag, now := c.Tip()-c.pos, time.Now()
	switch {
	case lag <= far:
		c.bad = time.Time{}
	case c.bad.IsZero() || float64(c.pos-c.badPos) >= floor*now.Sub(c.bad).Seconds() && now.Sub(c.bad) >= window:
		c.bad, c.badPos = now, c.pos
	case now.Sub(c.bad) >= window:
		c.Log.Info("client adversarially slow", "behind", lag)
		return false
	}
	return true
}

func (c *blueskyConn) flush() bool {
	if len(c.buf) == 0 {
		return true
	}
	err := c.write(c.buf, patience)
	c.buf = c.buf[:0]
	return err == nil
}

func (c *blueskyConn) enter(s source) { c.world = s.(*Bluesky) }

// event appends event pos where the filter lets it through.
func (c *blueskyConn) event(_ *View, g *Segment) {
	f, h := c.filter.Load(), c.world.head(c.pos)
	if !c.wants(f, &h) {
		return
	}
	c.begin("")
	c.buf = c.world.appendHead(c.buf, &h, c.srv.stamp(h.i, g.time(h.i)), c.srv.seq(h.i))
	if size := len(c.buf) - c.begun - usualHeader; f.maxSize > 0 && size > f.maxSize {
		c.buf = c.buf[:c.begun]
		return
	}
	c.finish("")
}

func (c *blueskyConn) wants(f *filter, h *head) bool {
	if len(f.dids) > 0 {
		c.scratch = c.scratch[:0]
		(*output)(&c.scratch).did(c.world, h.account)
		if !f.dids[string(c.scratch)] {
			return false
		}
	}
	return h.class >= classAccount || f.wantsCollection(c.world.collections[h.coll].name)
}

func (c *blueskyConn) begin(string) {
	c.begun = len(c.buf)
	c.buf = append(c.buf, 0, 0, 0, 0) // usualHeader
}

func (c *blueskyConn) finish(fault string) {
	op := byte(opText)
	if fault == FaultBinary {
		op = opBinary
	}
	c.buf = sealFrame(c.buf, c.begun, op)
}

func (c *blueskyConn) payload(v *View, i int64) {
	g := v.Segments.Of(i)
	c.buf = c.source(g.Variant).(*Bluesky).AppendFrame(c.buf, i, c.srv.stamp(i, g.time(i)), c.srv.seq(i))
}

func (c *blueskyConn) fake(v *View, f Fault) {
	i, from, o := c.pos, len(c.buf), (*output)(&c.buf)
	switch f.Name {
	case FaultBinary:
		r := rng(derive(c.key, i))
		o.put("\x00\x01\x02\x03").base32(&r, 60)
		return
	case FaultError:
		o.put(`{"error":"ConsumerTooSlow","message":"simulated at event `).num(i).put(`"}`)
		return
	}
	o.put(`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":`).num(c.srv.stamp(i, v.Segments.Time(i)))
	o.put(`,"cursor":`).num(c.srv.seq(i))
	switch f.Name {
	case FaultMalformed:
		o.put(`,"kind":"commit",,"n":`).num(i).put(`}`)
	case FaultUnknown:
		o.put(`,"kind":"mystery","mystery":{"n":`).num(i).put(`}}`)
	case FaultOversize:
		o.put(`,"kind":"commit","commit":{"rev":"`).tid(tidOf(i, 7))
		o.put(`","operation":"create","collection":"app.bsky.feed.post","rkey":"`).tid(tidOf(i, 7))
		o.put(`","record":{"$type":"app.bsky.feed.post","text":"`).fill(from + int(f.Value) - 4).put(`"}}}`)
	}
}

func (c *blueskyConn) fault(f Fault) outcome {
	if f.Name != FaultRenumber {
		return goOn
	}
	c.srv.renumber(c.pos, f.Value)
	c.restart(0)
	return abort
}

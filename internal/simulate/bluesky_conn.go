package simulate

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// blueskyConn is one subscriber.
type blueskyConn struct {
	*socket
	srv        *BlueskyServer
	filter     atomic.Pointer[filter]
	hello      chan struct{} // closed by the first options_update
	unanswered atomic.Bool   // a ping has had no pong
	ctx        context.Context
	cancel     context.CancelFunc

	zstd    bool
	world   *Bluesky
	pos     int64 // the next event
	live    bool  // has been at the tip
	sent    int64
	scanned int64
	buf     []byte
	scratch []byte
	timer   *time.Timer
	pinged  time.Time
	slow    time.Time // one event at a time until then
	bad     time.Time // v2: since when it is far behind and hardly reads
	badPos  int64
}

func newBlueskyConn(s *BlueskyServer, ws *websocket.Conn, sub *subscription) *blueskyConn {
	c := &blueskyConn{socket: newSocket(ws), srv: s, hello: make(chan struct{}), zstd: sub.zstd && s.zstd != nil}
	c.filter.Store(sub.filter)
	if !sub.hello {
		close(c.hello)
	}
	c.pos, c.live = s.start(sub)
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
	c.timer = time.NewTimer(time.Hour)
	select {
	case <-c.hello:
		c.stream()
	case <-c.ctx.Done():
	}
	if errors.Is(context.Cause(ctx), errClosing) {
		c.close(websocket.CloseGoingAway, "server shutting down")
	}
	c.cancel()
	_ = c.nc.Close()
	<-done
	stop()
	c.timer.Stop()
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
		f, ok, code, err := parseUpdate(c.srv.cfg.Version, p)
		switch {
		case err != nil && c.srv.cfg.Version == 1:
			c.close(websocket.CloseNormalClosure, "failed to parse subscriber options: "+err.Error())
			return
		case err != nil:
			c.close(code, err.Error())
			return
		case ok:
			c.filter.Store(f)
			select {
			case <-c.hello:
			default:
				close(c.hello)
			}
		}
	}
}

// stream sends events as they happen.
func (c *blueskyConn) stream() {
	s := c.srv
	c.pinged = time.Now()
	for c.ctx.Err() == nil {
		if !c.ping() {
			return
		}
		v := s.cfg.Timeline.Now()
		limit := v.Until(v.NowUS - s.delay)
		c.pos = max(c.pos, s.floor.Load())
		if c.pos < limit {
			if time.Now().Before(c.slow) {
				limit = c.pos + 1
				sleep(c.ctx, c.timer, 100*time.Millisecond, nil)
			}
			if !c.send(&v, limit) || !c.keepsUp() {
				return
			}
			continue
		}
		c.live = true
		c.await(&v)
	}
}

// await waits for the next event, or for what may change it.
func (c *blueskyConn) await(v *View) {
	d := time.Until(c.pinged.Add(c.srv.cfg.Ping))
	if c.unanswered.Load() {
		d = min(d, time.Until(c.pinged.Add(patienceV2+time.Millisecond)))
	}
	if !v.Ended(c.pos) {
		due := v.Segments.Time(c.pos) + c.srv.delay
		d = min(d, max(v.Wait(due), c.srv.cfg.Tick))
	}
	sleep(c.ctx, c.timer, max(d, 0), v.Changed)
}

// ping sends one when it is time. It reports false where the last one was not
// answered, which version 2 does not forgive.
func (c *blueskyConn) ping() bool {
	age := time.Since(c.pinged)
	if c.unanswered.Load() && age > patienceV2 {
		return false
	}
	if age < c.srv.cfg.Ping {
		return true
	}
	c.pinged = time.Now()
	c.unanswered.Store(c.srv.cfg.Version == 2) // version 1 asks for no answer
	return c.frame(opPing, nil, patienceV2) == nil
}

// keepsUp drops a client as the real servers do.
func (c *blueskyConn) keepsUp() bool {
	s := c.srv
	lag := s.Tip() - c.pos
	if s.cfg.Version == 1 {
		// Events in the outbox are those the filter lets through.
		if c.live && c.scanned > 0 && lag > s.cfg.Outbox && lag*c.sent/c.scanned > s.cfg.Outbox {
			s.log.Info("client too slow, outbox full", "behind", lag)
			return false
		}
		return true
	}
	const far, window, floor = 100_000, 60 * time.Second, 5
	now := time.Now()
	switch {
	case lag <= far:
		c.bad = time.Time{}
	case c.bad.IsZero() || float64(c.pos-c.badPos) >= floor*now.Sub(c.bad).Seconds() && now.Sub(c.bad) >= window:
		c.bad, c.badPos = now, c.pos
	case now.Sub(c.bad) >= window:
		s.log.Info("client adversarially slow", "behind", lag)
		return false
	}
	return true
}

// patience is how long the client may take nothing.
func (c *blueskyConn) patience(v *View) time.Duration {
	s := c.srv
	if s.cfg.Version == 2 {
		return patienceV2
	}
	if !c.live {
		return patienceV1
	}
	// The outbox is full when the event that no longer fits happens.
	full := v.Segments.Time(c.pos+s.cfg.Outbox) + s.delay
	return min(max(v.Wait(full), time.Millisecond), patienceV1)
}

// send sends what there is up to limit, one chunk at most.
func (c *blueskyConn) send(v *View, limit int64) bool {
	f := c.filter.Load()
	all := f.everything() && f.maxSize == 0
	fault := c.srv.cfg.Faults.next(c.pos)
	c.buf = c.buf[:0]
	limit = min(limit, c.pos+scanChunk)
	for c.pos < limit && len(c.buf) < blueskyChunk {
		if c.pos == fault {
			if !c.faults(v) {
				return false
			}
			fault = c.srv.cfg.Faults.next(c.pos + 1)
			if !c.slow.IsZero() {
				limit = c.pos + 1
			}
		}
		g := v.Segments.Of(c.pos)
		if c.world == nil || c.world.mix != g.Variant {
			c.world = c.srv.mustWorld(g.Variant)
		}
		h := c.world.head(c.pos)
		c.scanned++
		if all || c.wants(f, &h) {
			c.appendEvent(&h, g.time(c.pos), f.maxSize)
		}
		c.pos++
	}
	return c.flush(v)
}

func (c *blueskyConn) flush(v *View) bool {
	if len(c.buf) == 0 {
		return true
	}
	err := c.write(c.buf, c.patience(v))
	c.buf = c.buf[:0]
	return err == nil
}

func (c *blueskyConn) wants(f *filter, h *head) bool {
	if f.dids != nil {
		c.scratch = c.world.appendDID(c.scratch[:0], h.account)
		if !f.dids[string(c.scratch)] {
			return false
		}
	}
	return h.class >= classAccount || f.wantsCollection(c.world.collections[h.coll].name)
}

func (c *blueskyConn) appendEvent(h *head, t int64, maxSize int) {
	stamp, seq := c.srv.stamp(h.i, t), c.srv.seq(h.i)
	if !c.zstd {
		at := len(c.buf)
		c.buf = append(c.buf, 0, 0, 0, 0)
		c.buf = c.world.appendHead(c.buf, h, stamp, seq)
		if maxSize > 0 && len(c.buf)-at-usualHeader > maxSize {
			c.buf = c.buf[:at]
			return
		}
		c.buf = sealFrame(c.buf, at, opText)
		c.sent++
		return
	}
	c.scratch = c.world.appendHead(c.scratch[:0], h, stamp, seq)
	if maxSize > 0 && len(c.scratch) > maxSize {
		return
	}
	at := len(c.buf)
	c.buf = append(c.buf, 0, 0, 0, 0)
	c.buf = c.srv.zstd.EncodeAll(c.scratch, c.buf)
	c.buf = sealFrame(c.buf, at, opBinary)
	c.sent++
}

// faults does what is planned for the event at c.pos. It reports whether the
// connection goes on.
func (c *blueskyConn) faults(v *View) bool {
	plan := c.srv.cfg.Faults
	for _, f := range plan.extra(c.pos) {
		c.extra(v, f)
	}
	for {
		f, ok := plan.connection(c.pos)
		if !ok {
			return true
		}
		c.srv.log.Info("fault", "name", f.Name, "event", c.pos)
		if !c.flush(v) || !c.connectionFault(v, f) {
			return false
		}
	}
}

// eventAt puts the frame of event i, without the WebSocket's head, in scratch.
func (c *blueskyConn) eventAt(v *View, i int64) []byte {
	g := v.Segments.Of(i)
	c.scratch = c.srv.mustWorld(g.Variant).AppendFrame(c.scratch[:0], i, c.srv.stamp(i, g.time(i)), c.srv.seq(i))
	return c.scratch
}

// extra appends an extra frame.
func (c *blueskyConn) extra(v *View, f Fault) {
	op, i := byte(opText), c.pos
	stamp := c.srv.stamp(i, v.Segments.Time(i))
	var p []byte
	switch f.Name {
	case FaultDuplicate:
		p = c.eventAt(v, max(i-5, 0))
	case FaultTruncated:
		p = c.eventAt(v, i)
		n := len(p) / 2
		for p[n]&0xc0 == 0x80 { // a text frame must be valid UTF-8
			n--
		}
		p = p[:n]
	case FaultMalformed:
		p = append(c.extraHead(stamp, i), `"kind":"commit",,"n":`...)
		p = append(strconv.AppendInt(p, i, 10), '}')
	case FaultUnknown:
		p = append(c.extraHead(stamp, i), `"kind":"mystery","mystery":{"n":`...)
		p = append(strconv.AppendInt(p, i, 10), '}', '}')
	case FaultOversize:
		p = append(c.extraHead(stamp, i), `"kind":"commit","commit":{"rev":"`...)
		p = appendTID(p, tidOf(i, 7))
		p = append(p, `","operation":"create","collection":"app.bsky.feed.post","rkey":"`...)
		p = appendTID(p, tidOf(i, 7))
		p = append(p, `","record":{"$type":"app.bsky.feed.post","text":"`...)
		p = append(p, bytes.Repeat([]byte{'A'}, max(int(f.Value)-len(p)-4, 0))...)
		p = append(p, '"', '}', '}', '}')
	case FaultBinary:
		op = opBinary
		r := rng(derive(c.srv.key, i))
		p = appendBase32([]byte{0, 1, 2, 3}, &r, 60)
	}
	c.buf = append(appendFrameHeader(c.buf, op, len(p)), p...)
}

// extraHead begins a frame that the world does not have.
func (c *blueskyConn) extraHead(stamp, i int64) []byte {
	p := append(c.scratch[:0], `{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":`...)
	p = append(strconv.AppendInt(p, stamp, 10), ',')
	if seq := c.srv.seq(i); seq > 0 {
		p = append(p, `"cursor":`...)
		p = append(strconv.AppendInt(p, seq, 10), ',')
	}
	return p
}

func (c *blueskyConn) connectionFault(v *View, f Fault) bool {
	s, d := c.srv, time.Duration(f.Value)
	switch f.Name {
	case FaultCut:
		p := c.eventAt(v, c.pos)
		_ = c.write(append(appendFrameHeader(nil, opText, len(p)), p[:len(p)/2]...), time.Second)
		return false
	case FaultClose:
		c.close(websocket.CloseNormalClosure, "")
		return false
	case FaultStall:
		c.mute(true)
		sleep(c.ctx, c.timer, d, nil)
		c.mute(false)
	case FaultSlow:
		c.slow = time.Now().Add(d)
	case FaultError:
		p := append([]byte(`{"error":"ConsumerTooSlow","message":"simulated at event `), strconv.FormatInt(c.pos, 10)...)
		_ = c.frame(opText, append(p, '"', '}'), time.Second)
		c.close(websocket.CloseNormalClosure, "")
		return false
	case FaultRestart:
		s.gate.restart(d)
		return false
	case FaultRenumber:
		s.renumber(c.pos, f.Value)
		s.gate.restart(0)
		return false
	case FaultGap:
		s.floor.Store(max(s.floor.Load(), c.pos+f.Value))
		c.close(websocket.CloseNormalClosure, "")
		s.gate.restart(0)
		return false
	}
	return true
}

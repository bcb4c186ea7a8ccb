package simulate

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// wikipediaConn is one response that goes on.
type wikipediaConn struct {
	srv       *WikipediaServer
	w         http.ResponseWriter
	rc        *http.ResponseController
	positions []position
	lines     bool // bare lines of JSON instead of Server-Sent Events
	ctx       context.Context

	world   *wikiWorld
	where   *position // of the world's topic; nil when the client did not ask for it
	pos     int64
	buf     []byte
	timer   *time.Timer
	until   time.Time // the connection's end
	written time.Time
	slow    time.Time
}

// outcome is how a connection goes on.
type outcome uint8

const (
	goOn  outcome = iota
	end           // properly
	abort         // without the end of the body
)

func newWikipediaConn(s *WikipediaServer, w http.ResponseWriter, r *http.Request, positions []position) *wikipediaConn {
	c := &wikipediaConn{srv: s, w: w, rc: http.NewResponseController(w), positions: positions, pos: math.MaxInt64}
	for k := range positions {
		c.pos = min(c.pos, positions[k].start)
	}
	accept := r.Header.Get("Accept")
	c.lines = strings.HasPrefix(accept, "application/json")
	kind := "text/event-stream"
	switch {
	case c.lines:
		kind = "application/json; charset=utf-8"
	case accept != "":
		kind += "; charset=utf-8"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache")
	return c
}

// serve runs the connection until the client, a fault, its age or the server
// ends it.
func (c *wikipediaConn) serve(ctx context.Context) {
	c.ctx = ctx
	stop := context.AfterFunc(ctx, func() { _ = c.rc.SetWriteDeadline(time.Now()) })
	defer stop()
	c.timer = time.NewTimer(time.Hour)
	defer c.timer.Stop()
	c.written = time.Now()
	c.until = c.written.Add(c.srv.cfg.MaxAge)
	c.w.WriteHeader(http.StatusOK)
	hello := ":ok\n\n"
	if c.lines {
		hello = "\n"
	}
	c.buf = append(c.buf, hello...)
	if c.flush() && c.stream() == end {
		return
	}
	panic(http.ErrAbortHandler)
}

func (c *wikipediaConn) stream() outcome {
	s := c.srv
	for c.ctx.Err() == nil {
		now := time.Now()
		if !now.Before(c.until) || now.Sub(c.written) >= s.cfg.Idle {
			return abort
		}
		v := s.cfg.Timeline.Now()
		limit := v.Until(v.NowUS)
		c.pos = max(c.pos, s.floor.Load())
		if c.pos < limit {
			if now.Before(c.slow) {
				limit = c.pos + 1
				sleep(c.ctx, c.timer, 100*time.Millisecond, nil)
			}
			if o := c.send(&v, limit); o != goOn {
				return o
			}
			continue
		}
		c.await(&v)
	}
	return abort
}

// await waits for the next event, or for what may change it.
func (c *wikipediaConn) await(v *View) {
	d := min(time.Until(c.until), time.Until(c.written.Add(c.srv.cfg.Idle)))
	if c.pos != math.MaxInt64 && !v.Ended(c.pos) {
		d = min(d, max(v.Wait(v.Segments.Time(c.pos)), c.srv.cfg.Tick))
	}
	sleep(c.ctx, c.timer, max(d, 0), v.Changed)
}

// send sends what there is up to limit, one chunk at most.
func (c *wikipediaConn) send(v *View, limit int64) outcome {
	fault := c.srv.cfg.Faults.next(c.pos)
	for c.pos < limit && len(c.buf) < wikipediaChunk {
		if c.pos == fault {
			if o := c.faults(v); o != goOn {
				return o
			}
			fault = c.srv.cfg.Faults.next(c.pos + 1)
			if !c.slow.IsZero() {
				limit = c.pos + 1
			}
		}
		g := v.Segments.Of(c.pos)
		if c.world == nil || c.world.name != g.Variant {
			c.enter(c.srv.variant(g.Variant))
		}
		if c.where != nil && c.pos >= c.where.start {
			c.where.byTime, c.where.value = true, c.srv.recordMS(c.pos, g.time(c.pos))+1
			c.buf = c.appendEvent(c.buf, v, c.pos)
		}
		c.pos++
	}
	if !c.flush() {
		return abort
	}
	return goOn
}

// enter goes on with the events of another variant.
func (c *wikipediaConn) enter(w *wikiWorld) {
	c.world, c.where = w, nil
	for k := range c.positions {
		if p := &c.positions[k]; p.topic == w.topic && p.partition == 0 {
			c.where = p
		}
	}
}

// appendEvent appends event i as it goes over the wire.
func (c *wikipediaConn) appendEvent(dst []byte, v *View, i int64) []byte {
	g := v.Segments.Of(i)
	w := c.srv.variant(g.Variant)
	o := w.origin(i)
	dst = c.open(dst, "message")
	dst = w.AppendEvent(dst, i, c.srv.recordMS(o, v.Segments.Time(o)), w.dc)
	return c.shut(dst)
}

func (c *wikipediaConn) open(dst []byte, kind string) []byte {
	if c.lines {
		return dst
	}
	dst = append(dst, "event: "...)
	dst = append(dst, kind...)
	dst = append(dst, "\nid: "...)
	dst = appendID(dst, c.positions)
	return append(dst, "\ndata: "...)
}

func (c *wikipediaConn) shut(dst []byte) []byte {
	if c.lines {
		return append(dst, '\n')
	}
	return append(dst, '\n', '\n')
}

func (c *wikipediaConn) flush() bool {
	if len(c.buf) == 0 {
		return true
	}
	_ = c.rc.SetWriteDeadline(time.Now().Add(stuckAfter))
	if c.ctx.Err() != nil { // its end has set another deadline, which must stay
		return false
	}
	_, err := c.w.Write(c.buf) //nolint:gosec // text/event-stream or JSON, never HTML; hostile text is what clients are tested with
	if err == nil {
		err = c.rc.Flush()
	}
	c.buf = c.buf[:0]
	c.written = time.Now()
	return err == nil
}

// faults does what is planned for the event at c.pos.
func (c *wikipediaConn) faults(v *View) outcome {
	plan := c.srv.cfg.Faults
	for _, f := range plan.extra(c.pos) {
		c.extra(v, f)
	}
	for {
		f, ok := plan.connection(c.pos)
		if !ok {
			return goOn
		}
		c.srv.log.Info("fault", "name", f.Name, "event", c.pos)
		if !c.flush() {
			return abort
		}
		if o := c.connectionFault(v, f); o != goOn {
			return o
		}
	}
}

// extra appends an event that the world does not have.
func (c *wikipediaConn) extra(v *View, f Fault) {
	i := c.pos
	if f.Name == FaultDuplicate {
		c.buf = c.appendEvent(c.buf, v, max(i-5, 0))
		return
	}
	c.buf = c.open(c.buf, "message")
	number := strconv.FormatInt(i, 10)
	switch f.Name {
	case FaultTruncated:
		p := c.appendEvent(nil, v, i)
		p = p[bytes.Index(p, []byte(`{"$schema"`)):]
		c.buf = append(c.buf, bytes.ToValidUTF8(p[:len(p)/2], nil)...)
	case FaultMalformed:
		c.buf = append(c.buf, `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"n":`+number+`},,}`...)
	case FaultUnknown:
		c.buf = append(c.buf, `{"$schema":"/mediawiki/mystery/1.0.0","meta":{"id":"`...)
		c.buf = appendUUID(c.buf, derive(c.srv.key, i), derive(c.srv.key+1, i))
		c.buf = append(c.buf, `","domain":"test.wikipedia.org","dt":"`...)
		c.buf = appendTime(c.buf, v.Segments.Time(i), 3)
		c.buf = append(c.buf, `"},"mystery":`+number+`}`...)
	case FaultOversize:
		from := len(c.buf)
		c.buf = append(c.buf, `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"id":"`...)
		c.buf = appendUUID(c.buf, derive(c.srv.key, i), derive(c.srv.key+2, i))
		c.buf = append(c.buf, `","domain":"test.wikipedia.org","dt":"`...)
		c.buf = appendTime(c.buf, v.Segments.Time(i), 3)
		c.buf = append(c.buf, `"},"type":"edit","title":"Weir","wiki":"testwiki","comment":"`...)
		c.buf = append(c.buf, bytes.Repeat([]byte{'A'}, max(int(f.Value)-(len(c.buf)-from)-2, 0))...)
		c.buf = append(c.buf, '"', '}')
	}
	c.buf = c.shut(c.buf)
}

func (c *wikipediaConn) connectionFault(v *View, f Fault) outcome {
	s, d := c.srv, time.Duration(f.Value)
	switch f.Name {
	case FaultCut:
		p := c.appendEvent(nil, v, c.pos)
		c.buf = append(c.buf, p[:len(p)/2]...)
		c.flush()
		return abort
	case FaultClose:
		return end
	case FaultStall:
		sleep(c.ctx, c.timer, d, nil)
	case FaultSlow:
		c.slow = time.Now().Add(d)
	case FaultError:
		c.buf = c.open(c.buf, "error")
		c.buf = append(c.buf, `{"message":"broker: Unknown topic or partition","origin":"kafka","code":3,"n":`...)
		c.buf = c.shut(append(strconv.AppendInt(c.buf, c.pos, 10), '}'))
		c.flush()
		return end
	case FaultRestart:
		s.gate.restart(d)
		return abort
	case FaultGap:
		s.floor.Store(max(s.floor.Load(), c.pos+f.Value))
		s.gate.restart(0)
		return end
	case FaultSwitch:
		if err := s.Switch(); err != nil {
			s.log.Error("data centre not switched", "err", err)
		}
	}
	return goOn
}

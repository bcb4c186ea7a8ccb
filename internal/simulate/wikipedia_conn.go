package simulate

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"
)

// wikipediaConn is one response that goes on.
type wikipediaConn struct {
	stream
	srv       *WikipediaServer
	w         http.ResponseWriter
	rc        *http.ResponseController
	positions []position
	lines     bool // bare lines of JSON instead of Server-Sent Events
	world     *Wikipedia
	where     *position // of the world's topic; nil when the client did not ask for it
	until     time.Time // the connection's end
	written   time.Time
}

func newWikipediaConn(ctx context.Context, s *WikipediaServer, w http.ResponseWriter, r *http.Request,
	positions []position) *wikipediaConn {
	c := &wikipediaConn{stream: stream{endpoint: &s.endpoint, ctx: ctx, pos: math.MaxInt64}, srv: s, w: w,
		rc: http.NewResponseController(w), positions: positions}
	c.wire = c
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
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	return c
}

// serve runs the connection until the client, a fault, its age or the server
// ends it.
func (c *wikipediaConn) serve() {
	stop := context.AfterFunc(c.ctx, func() { _ = c.rc.SetWriteDeadline(time.Now()) })
	defer stop()
	c.written = time.Now()
	c.until = c.written.Add(maxAge)
	c.w.WriteHeader(http.StatusOK)
	hello := ":ok\n\n"
	if c.lines {
		hello = "\n"
	}
	c.buf = append(c.buf, hello...)
	if c.flush() && c.run() == end {
		return
	}
	panic(http.ErrAbortHandler)
}

// upkeep ends connections that are old, or without an event for long.
func (c *wikipediaConn) upkeep() (time.Duration, bool) {
	wait := min(time.Until(c.until), time.Until(c.written.Add(idleLimit)))
	return wait, wait > 0
}

func (c *wikipediaConn) enter(s source) {
	c.world, c.where = s.(*Wikipedia), nil
	for k := range c.positions {
		if p := &c.positions[k]; p.topic == c.world.dc+recentChange && p.partition == 0 {
			c.where = p
		}
	}
}

// event appends event pos where the client asked for its topic.
func (c *wikipediaConn) event(v *View, g *Segment) {
	if c.where != nil && c.pos >= c.where.start {
		c.where.offset, *c.where.timestamp = nil, c.srv.recordMS(c.pos, g.time(c.pos))+1
		c.begin("")
		c.payload(v, c.pos)
		c.finish("")
	}
}

func (c *wikipediaConn) begin(fault string) {
	if !c.lines {
		name := "message"
		if fault == FaultError {
			name = "error"
		}
		o := (*output)(&c.buf)
		o.put("event: ").put(name).put("\nid: ").positions(c.positions).put("\ndata: ")
	}
}

func (c *wikipediaConn) finish(string) {
	c.buf = append(c.buf, '\n')
	if !c.lines {
		c.buf = append(c.buf, '\n')
	}
}

func (c *wikipediaConn) payload(v *View, i int64) {
	w := c.srv.variant(v.Segments.Of(i).Variant)
	o := w.origin(i)
	c.buf = w.AppendEvent(c.buf, i, c.srv.recordMS(o, v.Segments.Time(o)), w.dc)
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

func (c *wikipediaConn) fake(v *View, f Fault) {
	i, from, o := c.pos, len(c.buf), (*output)(&c.buf)
	schema := func(name string, key uint64) *output {
		o.put(`{"$schema":"/mediawiki/`).put(name).put(`/1.0.0","meta":{"id":"`).uuid(derive(c.key, i), derive(key, i))
		return o.put(`","domain":"test.wikipedia.org","dt":"`).time(v.Segments.Time(i), true).put(`"},`)
	}
	switch f.Name {
	case FaultMalformed:
		o.put(`{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"n":`).num(i).put(`},,}`)
	case FaultUnknown:
		schema("mystery", c.key+1).put(`"mystery":`).num(i).put(`}`)
	case FaultOversize:
		schema("recentchange", c.key+2).put(`"type":"edit","title":"Weir","wiki":"testwiki","comment":"`).fill(from + int(f.Value) - 2).put(`"}`)
	case FaultError:
		o.put(`{"message":"broker: Unknown topic or partition","origin":"kafka","code":3,"n":`).num(i).put(`}`)
	}
}

func (c *wikipediaConn) mute(bool) {} // HTTP has no pongs to withhold

func (c *wikipediaConn) fault(f Fault) outcome {
	if f.Name == FaultSwitch {
		if err := c.srv.Switch(); err != nil {
			c.Log.Error("data centre not switched", "err", err)
		}
	}
	return goOn
}

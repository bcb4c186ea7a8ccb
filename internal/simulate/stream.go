package simulate

import (
	"context"
	"math"
	"time"
	"unicode/utf8"
)

const (
	chunkBytes  = 64 << 10             // that are written at once
	chunkEvents = 1 << 16              // that a filter may pass over in one go
	gather      = 5 * time.Millisecond // events that are due within it are written together
)

// stream is one connection that events are sent over, as they happen.
type stream struct {
	*endpoint
	wire    wire
	ctx     context.Context
	pos     int64 // the next event
	variant string
	buf     []byte
	slow    time.Time // one event at a time until then
	timer   *time.Timer
}

// wire is what the two protocols do differently. Frames go to the stream's buffer.
type wire interface {
	// upkeep does what is due without events and returns when it is due again. It
	// reports false where the server ends the connection.
	upkeep() (time.Duration, bool)
	enter(s source)              // goes on with the events of another variant
	event(v *View, g *Segment)   // appends event pos, where the client wants it
	begin(fault string)          // begins a frame, of an event where fault is empty
	payload(v *View, i int64)    // appends event i without the frame
	fake(v *View, f Fault)       // appends what the world does not have, without the frame
	finish(fault string)         // ends the frame
	flush() bool                 // writes the buffer
	mute(on bool)                // whether the server looks dead
	fault(f Fault) (end outcome) // has the faults of this protocol
}

// outcome is how a connection goes on.
type outcome uint8

const (
	goOn  outcome = iota
	end           // properly
	abort         // as if the server were gone
)

// run sends events until the client, a fault or the server ends the connection.
func (c *stream) run() outcome {
	c.timer = time.NewTimer(time.Hour)
	defer c.timer.Stop()
	for c.ctx.Err() == nil {
		wait, ok := c.wire.upkeep()
		if !ok {
			return abort
		}
		v := c.Timeline.Now()
		limit := v.Until(v.NowUS)
		c.pos = max(c.pos, c.floor.Load())
		if c.pos < limit {
			if time.Now().Before(c.slow) {
				limit = c.pos + 1
				c.sleep(100*time.Millisecond, nil)
			}
			if o := c.send(&v, limit); o != goOn {
				return o
			}
			continue
		}
		if c.pos != math.MaxInt64 && !v.Ended(c.pos) {
			wait = min(wait, max(v.Wait(v.Segments.Time(c.pos)), gather))
		}
		c.sleep(max(wait, 0), v.Changed)
	}
	return abort
}

// sleep waits until d is over, the channel closes or the connection ends.
func (c *stream) sleep(d time.Duration, wake <-chan struct{}) {
	c.timer.Reset(d)
	select {
	case <-c.timer.C:
	case <-wake:
	case <-c.ctx.Done():
	}
	c.timer.Stop()
}

// send sends the events before limit, one chunk at most.
func (c *stream) send(v *View, limit int64) outcome {
	fault := c.Faults.next(c.pos)
	limit = min(limit, c.pos+chunkEvents)
	for c.pos < limit && len(c.buf) < chunkBytes {
		if c.pos == fault {
			if o := c.suffer(v); o != goOn {
				return o
			}
			fault = c.Faults.next(c.pos + 1)
			if !c.slow.IsZero() {
				limit = c.pos + 1
			}
		}
		g := v.Segments.Of(c.pos)
		if c.variant != g.Variant {
			c.variant = g.Variant
			c.wire.enter(c.source(g.Variant))
		}
		c.wire.event(v, g)
		c.pos++
	}
	if !c.wire.flush() {
		return abort
	}
	return goOn
}

// suffer does what is planned for the event at c.pos.
func (c *stream) suffer(v *View) outcome {
	for _, f := range c.Faults.extra(c.pos) {
		c.extra(v, f)
	}
	for {
		f, ok := c.Faults.first(onConnection, c.pos)
		if !ok {
			return goOn
		}
		c.Log.Info("fault", "name", f.Name, "event", c.pos)
		if !c.wire.flush() {
			return abort
		}
		if o := c.connectionFault(v, f); o != goOn {
			return o
		}
	}
}

// extra appends a frame that the world does not have.
func (c *stream) extra(v *View, f Fault) {
	c.wire.begin(f.Name)
	at := len(c.buf)
	switch f.Name {
	case FaultDuplicate:
		c.wire.payload(v, max(c.pos-5, 0))
	case FaultTruncated:
		c.wire.payload(v, c.pos)
		half := at + (len(c.buf)-at)/2
		for !utf8.RuneStart(c.buf[half]) { // a text frame must be valid UTF-8
			half--
		}
		c.buf = c.buf[:half]
	default:
		c.wire.fake(v, f)
	}
	c.wire.finish(f.Name)
}

func (c *stream) connectionFault(v *View, f Fault) outcome {
	d := time.Duration(f.Value)
	switch f.Name {
	case FaultCut:
		c.wire.begin("")
		c.wire.payload(v, c.pos)
		c.wire.finish("")
		c.buf = c.buf[:len(c.buf)/2] // all before this frame has been written
		c.wire.flush()
		return abort
	case FaultClose:
		return end
	case FaultStall:
		c.wire.mute(true)
		c.sleep(d, nil)
		c.wire.mute(false)
	case FaultSlow:
		c.slow = time.Now().Add(d)
	case FaultError:
		c.extra(v, f)
		c.wire.flush()
		return end
	case FaultRestart:
		c.restart(d)
		return abort
	case FaultGap:
		c.floor.Store(max(c.floor.Load(), c.pos+f.Value))
		c.restart(0)
		return end
	default:
		return c.wire.fault(f)
	}
	return goOn
}

package wikipedia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/sse"
	"github.com/weir-project/weir/internal/upstream"
)

var errSilence = errors.New("silence")

// unanswered reports whether ctx was cancelled because the server did not answer.
func unanswered(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errSilence) }

// conn is one open stream. It is also the reader under the SSE reader, so that
// it knows when everything received has been worked off.
type conn struct {
	source *Source
	body   io.Reader
	dog    *time.Timer // cancels ctx with errSilence: a peer can fail without a FIN, and an HTTP body has no read deadline
	ctx    context.Context
	opened time.Time
	at     time.Time // when bytes last arrived
	alive  time.Time // when the last event or comment was worked off
	signs  int64     // the events and comments by then
	other  int64     // bytes read since then
	events *sse.Reader
	track  *track
	decode Decoder
	out    upstream.Delivery
	badID  bool // an id that could not be read was reported
}

// Read hands on what is pending and reads more of the body. It fails when neither
// an event nor a comment came for as long as the server may say nothing: other
// bytes do not count. Time in which the queue was full does not count either,
// because there was an event to hand on then.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.out.Pass(); err != nil {
		return 0, err
	}
	if signs := c.events.Signs(); signs != c.signs {
		c.signs, c.alive, c.other = signs, time.Now(), 0
	}
	c.dog.Reset(time.Until(c.alive.Add(silence)))
	n, err := c.body.Read(p)
	c.dog.Stop()
	c.at = time.Now()
	c.other += int64(n)
	return n, err
}

// run reads events until that is no longer possible.
func (c *conn) run() error {
	for {
		ev, err := c.events.Next()
		if err != nil {
			return err
		}
		if err := c.receive(ev); err != nil {
			return err
		}
		if err := c.out.PassFull(); err != nil {
			return err
		}
	}
}

// receive adds one event to the batch. The error ends the stream, and the batch with it.
func (c *conn) receive(ev *sse.Event) error {
	b := c.out.Batch(c.at, max(int64(len(ev.Data)), ev.Size))
	own := -1
	// Only a recent change moves the position. An ID stays in force until the stream
	// sets another: one that came with an event of another type counts for none.
	if ev.Type == "message" && len(ev.ID) > 0 && (ev.NewID || bytes.Equal(ev.ID, c.track.pos.last)) {
		own = c.position(ev.ID)
	}
	c.event(b, ev)
	if err := c.out.Known(c.source.url, "check the path of --wikipedia-url (https://HOST/v2/stream/recentchange)"); err != nil {
		return err
	}
	if own >= 0 {
		// An event can be made long after it happened: a page's categories are worked out later.
		b.Events[len(b.Events)-1].AtUS = c.track.pos.ownMS * 1000
	}
	if c.track.add(b, len(b.Events)-1, own, c.at) {
		c.out.Gap(c.track.gap())
	}
	return nil
}

// position takes an event's id along, and returns the partition it came from.
func (c *conn) position(id []byte) int {
	own, err := c.track.pos.update(id)
	if err != nil && !c.badID {
		c.badID = true // once a connection: every event has one
		c.source.log.Warn("event ID not understood: the position does not move", "host", c.source.addr, "error", err, "bytes", len(id))
	}
	return own
}

// event appends the one event, or reject, that an SSE event is.
func (c *conn) event(b *event.Batch, ev *sse.Event) {
	if ev.TooLarge {
		b.AddReject(event.ReasonTooLarge, fmt.Sprintf("message of over %d MiB", event.MaxValue>>20), b.Copy(ev.Data), ev.Size, 0, ev.Sum)
		return
	}
	data := b.Copy(ev.Data)
	switch ev.Type {
	case "message":
		if _, err := c.decode.Decode(b, data); err != nil {
			b.RejectFrame(event.ReasonMalformed, err.Error(), data, 0)
		}
	case "error":
		b.RejectFrame(event.ReasonError, "upstream sent an error event", data, 0)
	default:
		b.RejectFrame(event.ReasonUnknown, "event of an unknown type", data, 0)
	}
}

// reason turns the error that ended a connection into one that says why, or
// into nil when the end is normal operation.
func (c *conn) reason(ctx context.Context, err error) error {
	if err := c.out.End(ctx); err != nil {
		return err
	}
	host, age := c.source.addr, time.Since(c.opened)
	var steer *event.StreamError
	switch {
	case errors.As(err, &steer):
		return err
	case unanswered(c.ctx) && c.other > 0:
		return fmt.Errorf("stream from %s: nothing for %s but %d bytes that hold neither an event nor a comment: the connection is dead, or something"+
			" between (a proxy) changes the stream", host, silence, c.other)
	case unanswered(c.ctx):
		return fmt.Errorf("stream from %s: nothing for %s", host, silence)
	case errors.Is(err, io.EOF), age >= lifetime:
		c.source.log.Info("stream ended", "host", host, "age", age.Round(time.Second))
		return nil
	}
	return fmt.Errorf("stream from %s: %w", host, err)
}

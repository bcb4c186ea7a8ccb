// Package bluesky receives Bluesky's public events from Jetstream: it connects
// to a server, resumes where a cursor says, finds out whether anything is
// missing, and turns WebSocket frames into events. It owns the choice of server
// and everything about Jetstream's protocol; it stores nothing, and does not
// decide when to connect again.
package bluesky

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

// Name is the source's name.
const Name = "bluesky"

// Source is a Jetstream subscription. Stream and Identify are each for one
// goroutine at a time; Status is for any.
type Source struct {
	cfg   Config
	scope scope
	hosts *hosts
	log   *slog.Logger
	meter event.SourceMeter
	ident *Decoder
	zstd  *zstd.Decoder // with Jetstream's dictionary; nil unless asked for
}

// New returns a source, or an error that says what in cfg cannot be.
func New(cfg Config) (*Source, error) {
	list, err := parseHosts(cfg.URLs)
	if err != nil {
		return nil, err
	}
	scope, err := parseScope(cfg.Collections)
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = cmp.Or(cfg.UserAgent, upstream.UserAgent(""))
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: handshakeTimeout}).DialContext
	}
	s := &Source{cfg: cfg, scope: scope, hosts: &hosts{list: list, at: -1}, log: upstream.Logger(cfg.Log, Name), ident: NewDecoder()}
	if cfg.Compress {
		if len(cfg.Dictionary) == 0 {
			return nil, errors.New("compression needs Jetstream's zstd dictionary, which weir does not contain: name the file" +
				" (pkg/models/zstd_dictionary in the source of Jetstream v1; a v2 server has the same one), or go without compression")
		}
		if s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderDicts(cfg.Dictionary), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(event.MaxValue)); err != nil {
			return nil, fmt.Errorf("read zstd dictionary: %w", err)
		}
	}
	return s, nil
}

// Name returns the source's name.
func (s *Source) Name() string { return Name }

// Window returns how far apart in event time two deliveries of one event can
// be: what another server is asked to repeat, how far the position is held
// until the last event is found, and how far two servers' clocks may differ.
// A v2 server repeats by number and not by time: see Repeats.
func (s *Source) Window() time.Duration { return margin + patience + 5*time.Second }

// Repeats returns how many events a server can send again whatever their age:
// one rewind before the last event, and one after it until there is a verdict on
// the witness. A duplicate filter must remember at least that many.
func (s *Source) Repeats() int { return 3 * rewind }

// Status returns what is known of the connection. Safe for concurrent use.
func (s *Source) Status() event.SourceStatus { return s.meter.Status() }

// Identify returns the identity and the time, in Unix microseconds, of a value
// that a topic holds; ok is false where it is none of this source's. The
// identity is memory of b.
func (s *Source) Identify(value []byte, b *event.Batch) (id []byte, timeUS int64, ok bool) {
	return s.ident.Identify(b, value)
}

// Stream connects once, to the server whose turn it is, resumes from a
// position, and hands batches to emit, which owns them, until the connection
// ends. While emit blocks, nothing is read: upstream is the buffer. The error
// says why the stream ended: ctx's, emit's own unchanged, an *event.StreamError
// that steers, or another after which connecting again makes sense.
func (s *Source) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	err := s.stream(ctx, from, emit)
	if ctx.Err() != nil { // asked to stop: nothing went wrong
		s.meter.Closed(nil)
	} else {
		s.meter.Closed(err)
	}
	return err
}

func (s *Source) stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	h, err := s.hosts.pick(from.Host)
	if err != nil {
		return err
	}
	s.meter.Dialing(h.addr)
	mode, cursor := start(&from, h)
	c, err := s.dial(ctx, h, s.subscription(h, mode, cursor))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return s.hosts.failed(h, err)
	}
	defer c.close()
	if err := s.open(c, from, emit); err != nil {
		return err
	}
	s.log.Info("stream open", "host", h.addr, "resume", mode.String(), "cursor", cursor, "origin", c.origin)
	err = c.reason(ctx, c.run())
	if ctx.Err() == nil && c.frames == 0 {
		s.hosts.next()
	}
	return err
}

// open makes an open stream ready to be read.
func (s *Source) open(c *conn, from event.Cursor, emit func(*event.Batch) error) error {
	h := c.host
	if err := upstream.SameOrigin(h.addr, from.Origin, c.origin); err != nil {
		return err
	}
	c.track = newTrack(from, h, s.scope, c.origin)
	c.out = upstream.Delivery{Host: h.addr, Probe: &h.probe, Meter: &s.meter, Log: s.log, Cursor: c.track.cursor, Emit: emit}
	c.wire.before = c.out.Pass
	h.probe.Open(c.track.expect)
	s.meter.Opened(h.addr, c.origin)
	if from.Last != "" && !c.track.expect {
		s.log.Warn("no check for a gap: the last event is outside what is asked for now", "before", from.Scope, "now", s.scope.String())
	}
	return nil
}

// conn is one open stream.
type conn struct {
	ws     *websocket.Conn
	wire   *wire
	origin string
	stop   func() bool // ends the watch on the context
	host   *host
	hosts  *hosts
	track  *track
	decode Decoder
	read   reader
	zstd   *zstd.Decoder // nil unless asked for
	out    upstream.Delivery
	frames int64
	timeUS int64 // of the last frame that has one
}

func (c *conn) close() {
	c.stop()
	_ = c.ws.Close()
}

// run reads frames until that is no longer possible.
func (c *conn) run() error {
	for {
		kind, src, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		m, err := c.read.read(src)
		if err != nil {
			return err
		}
		c.wire.heard = true
		if err := c.receive(kind, m); err != nil {
			return err
		}
		if err := c.out.PassFull(); err != nil {
			return err
		}
	}
}

// receive adds one message to the batch.
func (c *conn) receive(kind int, m message) error {
	b := c.out.Batch(c.wire.at, m.size)
	c.frames++
	pos, err := c.event(b, kind, m)
	if err != nil {
		return err
	}
	if err := c.out.Known(c.host.url, "check the host and path of --bluesky-url (wss://HOST/subscribe)"); err != nil {
		return c.hosts.failed(c.host, err)
	}
	index := len(b.Events) - 1
	if pos.TimeUS > 0 {
		c.timeUS = pos.TimeUS
	} else {
		b.Events[index].AtUS = c.timeUS // where those around it stand
	}
	stored := b.Events[index].Route != event.Reject
	if stored && c.track.verdict == waiting && c.track.mismatch(pos) {
		return c.renumbered(pos)
	}
	if c.track.add(b, index, pos) {
		c.out.Gap(c.track.gap())
	}
	return nil
}

// event appends the one event, or reject, that a message is.
func (c *conn) event(b *event.Batch, kind int, m message) (Pos, error) {
	frame := m.data
	switch {
	case m.tooLarge:
		b.AddReject(event.ReasonTooLarge, fmt.Sprintf("message of over %d MiB", event.MaxValue>>20), b.Copy(frame), m.size, 0, m.sum)
		return Pos{}, nil
	case kind == websocket.BinaryMessage && c.zstd == nil:
		b.RejectFrame(event.ReasonBinary, "binary message, and compression was not asked for", b.Copy(frame), 0)
		return Pos{}, nil
	case kind == websocket.BinaryMessage:
		text, err := c.inflate(b, frame)
		if text == nil {
			return Pos{}, err
		}
		frame = text
	default:
		frame = b.Copy(frame)
	}
	pos, err := c.decode.Decode(b, frame)
	if err != nil {
		b.RejectFrame(event.ReasonMalformed, err.Error(), frame, pos.TimeUS)
	}
	return pos, nil
}

// inflate appends a compressed frame's text to b. It returns nil when that
// cannot be had: then the frame has become a reject, or, with an error, the
// connection is of no use.
func (c *conn) inflate(b *event.Batch, frame []byte) ([]byte, error) {
	// The dictionary brings frames to about half; most fit without growing.
	spare := b.Spare(4 * len(frame))
	text, err := c.zstd.DecodeAll(frame, spare)
	reason := event.ReasonBinary
	var detail string
	switch {
	case err == nil && len(text) > cap(spare):
		return b.Copy(text), nil
	case err == nil && text != nil:
		return b.Keep(len(text)), nil
	case err == nil:
		detail = "an empty compressed message"
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return nil, &event.StreamError{Permanent: true, Err: fmt.Errorf("%s compresses with another dictionary than the one given:"+
			" get its current one, or go without compression", c.host.addr)}
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		reason, detail = event.ReasonTooLarge, fmt.Sprintf("message of over %d MiB, kept compressed", event.MaxValue>>20)
	default:
		detail = "decompress: " + err.Error()
	}
	b.RejectFrame(reason, detail, b.Copy(frame), 0)
	return nil, nil
}

// renumbered ends a connection that was resumed in the wrong way for this
// server, before anything of it was handed on.
func (c *conn) renumbered(pos Pos) error {
	c.out.Drop()
	c.host.numbers = unnumbered
	if pos.Seq != 0 {
		c.host.numbers = numbered
	}
	return errRenumbered
}

var errRenumbered = errors.New("the server changed the way it numbers events: resuming by time")

// reason turns the error that ended a connection into one that says why.
func (c *conn) reason(ctx context.Context, err error) error {
	if err := c.out.End(ctx); err != nil {
		return err
	}
	var closed *websocket.CloseError
	var steer *event.StreamError
	switch {
	case errors.As(err, &steer), errors.Is(err, errRenumbered):
		return err
	case timedOut(err):
		return fmt.Errorf("stream from %s: no message and no ping for %s", c.host.addr, silence)
	case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure:
		return fmt.Errorf("stream from %s: closed without a close frame (1006): the server was restarted, or found this client too slow", c.host.addr)
	}
	return fmt.Errorf("stream from %s: %w", c.host.addr, err)
}

// Package wikipedia receives Wikimedia's recent changes from EventStreams: it
// opens the stream, resumes where a cursor says, finds out whether anything is
// missing, and turns Server-Sent Events into events. It owns everything about
// EventStreams' protocol; it stores nothing, and does not decide when to connect
// again.
package wikipedia

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/sse"
	"github.com/weir-project/weir/internal/upstream"
)

// Name is the source's name.
const Name = "wikipedia"

const (
	readBuffer  = 64 << 10
	openTimeout = 30 * time.Second
	// excerptTimeout bounds the wait for the text of a refusal: a server may send
	// no end of it.
	excerptTimeout = time.Second
	// silence is how long the server may send neither an event nor a comment before
	// it counts as dead. It sends no heartbeats, and there are some 30 events/s.
	silence = 60 * time.Second
	// lifetime is the age from which on the end of a connection is normal,
	// however it ends: the server cuts every one after 15 minutes at most.
	lifetime = 14 * time.Minute
	// maxRetry bounds the reconnection time (`retry:`) that the server can ask for.
	maxRetry       = time.Minute
	maxHeaderBytes = 64 << 10
	maxErrorText   = 300
	maxRedirects   = 3
)

// Source is an EventStreams subscription. Stream and Identify are each for one
// goroutine at a time; Status is for any.
type Source struct {
	cfg   Config
	url   *url.URL
	addr  string
	scope string
	http  *http.Client
	log   *slog.Logger
	meter event.SourceMeter
	ident *Decoder
	probe upstream.Probe
	// notBefore is when the server wants to be asked again (`retry:`), and asked
	// says so in words; empty where it did not ask.
	notBefore time.Time
	asked     string
}

// New returns a source, or an error that says what in cfg cannot be.
func New(cfg Config) (*Source, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	cfg.UserAgent = cmp.Or(cfg.UserAgent, upstream.UserAgent(""))
	if strings.ContainsAny(cfg.UserAgent, "\r\n\x00") {
		return nil, fmt.Errorf("user agent %q holds a line break", cfg.UserAgent)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: openTimeout}).DialContext
	}
	return &Source{cfg: cfg, url: u, addr: upstream.Address(u), scope: scope(u), http: newClient(cfg),
		log: upstream.Logger(cfg.Log, Name), ident: NewDecoder()}, nil
}

// newClient returns a client that opens a connection for each stream. It speaks
// HTTP/1.1 only: one stream fills one connection, and a reader that stops must
// stop the socket rather than fill a multiplexer's buffers.
func newClient(cfg Config) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            cfg.Dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			Protocols:              protocols,
			DisableKeepAlives:      true,
			DisableCompression:     true, // the encoding is asked for, and checked, here
			ReadBufferSize:         readBuffer,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("over %d redirects", maxRedirects)
			}
			if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return errors.New("redirect from https to http refused")
			}
			return nil
		},
	}
}

// Name returns the source's name.
func (s *Source) Name() string { return Name }

// Window returns how far apart in event time two deliveries of one event can
// be: the margin of a resume, how far the position is held until the last event
// is found, and producers upstream that emit an event twice.
func (s *Source) Window() time.Duration { return 10 * time.Minute }

// Status returns what is known of the connection. Safe for concurrent use.
func (s *Source) Status() event.SourceStatus { return s.meter.Status() }

// Identify returns the identity and the time, in Unix microseconds, of a value
// that a topic holds; ok is false where it is none of this source's. The
// identity is memory of b.
func (s *Source) Identify(value []byte, b *event.Batch) (id []byte, timeUS int64, ok bool) {
	return s.ident.Identify(b, value)
}

// Stream connects once, resumes from a position, and hands batches to emit,
// which owns them, until the connection ends. While emit blocks, nothing is
// read: upstream is the buffer. nil means an end that is normal operation;
// otherwise the error says why: ctx's, emit's own unchanged, an
// *event.StreamError that steers, or another after which connecting again makes sense.
func (s *Source) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	if err := sleepUntil(ctx, s.notBefore); err != nil {
		return err
	}
	s.asked = ""
	s.meter.Dialing(s.addr)
	err := s.stream(ctx, from, emit)
	switch {
	case ctx.Err() != nil:
		s.meter.Closed(nil) // asked to stop: nothing went wrong
		return ctx.Err()
	case s.asked != "" && err != nil:
		s.meter.Closed(fmt.Errorf("%w; %s", err, s.asked))
	case s.asked != "":
		s.meter.Closed(errors.New(s.asked))
	default:
		s.meter.Closed(err)
	}
	return err
}

// wait makes the next connection wait as long as the server asked for, within
// reason, and reports it.
func (s *Source) wait(asked time.Duration) {
	if asked <= 0 {
		return
	}
	wait := min(asked, maxRetry)
	s.notBefore = time.Now().Add(wait)
	s.asked = fmt.Sprintf("%s asked to wait %s (`retry:`): weir connects again in %s, at %s", s.addr, asked, wait,
		s.notBefore.Format(time.TimeOnly))
	level := slog.LevelInfo
	if wait >= event.DefaultBackoffMax {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "server asked to wait before the next connection", "host", s.addr, "asked", asked, "wait", wait,
		"until", s.notBefore)
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
	case <-ctx.Done():
	}
	return ctx.Err()
}

func (s *Source) stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := time.AfterFunc(openTimeout, func() { cancel(errSilence) })
	defer dog.Stop()
	resp, err := s.request(watched, &from)
	if err != nil {
		if unanswered(watched) {
			return fmt.Errorf("open stream at %s: no answer for %s", s.addr, openTimeout)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := s.check(dog, resp); err != nil {
		return err
	}
	dog.Stop()
	origin := upstream.Origin(resp.Header)
	if err := upstream.SameOrigin(s.addr, from.Origin, origin); err != nil {
		return err
	}
	now := time.Now()
	c := &conn{source: s, body: resp.Body, dog: dog, ctx: watched, opened: now, alive: now, track: newTrack(from, s.addr, s.scope, origin)}
	c.out = upstream.Delivery{Host: s.addr, Probe: &s.probe, Meter: &s.meter, Log: s.log, Emit: emit,
		Cursor: func(b *event.Batch) event.Cursor { return c.track.cursor(b, c.at) }}
	c.events = sse.NewReader(c, sse.Limits{Data: event.MaxValue, Head: event.MaxHead})
	s.probe.Open(c.track.waiting)
	s.meter.Opened(s.addr, origin)
	s.log.Info("stream open", "host", s.addr, "partitions", len(from.Partitions), "origin", origin)
	if from.Last != "" && !c.track.waiting {
		s.log.Warn("no check for a gap: the last event is not of what is asked for now", "before", from.Scope, "now", s.scope)
	}
	err = c.run()
	s.wait(c.events.Retry())
	return c.reason(ctx, err)
}

// request asks for the stream and returns the answer, whatever it is.
func (s *Source) request(ctx context.Context, from *event.Cursor) (*http.Response, error) {
	u := *s.url
	id := lastEventID(from.Partitions)
	if id == "" && from.TimeUS > 0 {
		q := u.Query()
		q.Set("since", strconv.FormatInt(max(from.TimeUS/1000-marginMS, 0), 10))
		u.RawQuery = q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("open stream at %s: %w", s.addr, err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "identity") // a compressed stream arrives in lumps
	req.Header.Set("Cache-Control", "no-store")
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, s.openError(err)
	}
	return resp, nil
}

// check returns why an answer is no stream that can be read, or nil. An answer
// need not end, so what it says is read only where its header does not say enough.
func (s *Source) check(dog *time.Timer, resp *http.Response) error {
	kind := upstream.ContentType(resp.Header)
	if resp.StatusCode == http.StatusOK && kind == "text/event-stream" {
		return upstream.Plain(s.addr, resp.Header)
	}
	var body []byte
	if resp.StatusCode != http.StatusOK || kind == "" {
		dog.Reset(excerptTimeout)
		body, _ = io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	}
	return upstream.Refusal(s.addr, resp, body, hints[resp.StatusCode])
}

// openError says why there was no answer, and what to do about it.
func (s *Source) openError(err error) error {
	var ue *url.Error // repeats the method and the URL
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var bad *tls.CertificateVerificationError
	if text := err.Error(); len(text) > maxErrorText && !errors.As(err, &bad) { // it can quote a header of any length
		err = errors.New(strings.ToValidUTF8(text[:maxErrorText], "") + "…")
	}
	return upstream.OpenError(s.addr, err)
}

// hints are the ways out of a refusal.
var hints = map[int]string{
	http.StatusOK:                 "it does not send Server-Sent Events: check the path of --wikipedia-url",
	http.StatusNoContent:          "it does not send Server-Sent Events: check the path of --wikipedia-url",
	http.StatusBadRequest:         "it does not understand the request: check the path of --wikipedia-url (https://HOST/v2/stream/recentchange)",
	http.StatusForbidden:          "Wikimedia refuses clients whose User-Agent has no contact, and addresses that were blocked: name a contact in the user agent",
	http.StatusNotFound:           "there is no stream at this path: check --wikipedia-url (https://HOST/v2/stream/recentchange)",
	http.StatusTooManyRequests:    "two connections from one address is the limit: stop other clients",
	http.StatusBadGateway:         "all its workers are taken",
	http.StatusServiceUnavailable: "it is overloaded",
}

package bluesky

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/upstream"
)

const (
	readBuffer = 64 << 10
	// silence is how long a server may send no message and no ping (v1 servers send
	// one every 30 s) before it counts as dead: a peer can die without a FIN.
	silence = 45 * time.Second
	// progress is how many bytes count as much as a message: a large one can take
	// longer than that on a slow network.
	progress         = 1 << 20
	handshakeTimeout = 15 * time.Second
	// answerTimeout is how long an answer may take once it has begun. A web page
	// that stays open would otherwise be waited for until the handshake times out.
	answerTimeout = 2 * time.Second
	// handshakeLimit is how many bytes a server may send before the stream is
	// open, TLS included. Without it one endless header would fill the memory.
	handshakeLimit = 256 << 10
)

var errHandshakeSize = fmt.Errorf("over %d kB before the stream was open", handshakeLimit>>10)

// wire is the network connection under the WebSocket. It runs a hook right
// before it reads, that is when everything received has been worked off, and
// gives each read its deadline. Only a message, a ping, or a MiB of what may become
// a message moves the deadline: other bytes do not show that the stream is alive.
type wire struct {
	net.Conn
	r      io.Reader // the buffered conn under TLS, otherwise the conn itself
	before func() error
	at     time.Time
	heard  bool      // a message or a ping came since the last read
	alive  time.Time // when one was worked off last
	since  int       // bytes read since then
	budget int       // bytes left for the handshake; open = no longer counted
	open   bool
}

// newWire wraps a connection. Under TLS, which reads a record at a time, it
// buffers, so that "right before it reads" means an empty socket there too.
func newWire(c net.Conn, tls bool) *wire {
	w := &wire{Conn: c, budget: handshakeLimit}
	w.r = readerFunc(w.read)
	if tls {
		w.r = bufio.NewReaderSize(readerFunc(w.read), readBuffer)
	}
	return w
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (w *wire) Read(p []byte) (int, error) { return w.r.Read(p) }

func (w *wire) read(p []byte) (int, error) {
	if !w.open {
		if w.budget <= 0 {
			return 0, errHandshakeSize
		}
		n, err := w.Conn.Read(p[:min(len(p), w.budget)])
		w.budget -= n
		w.at = time.Now()
		return n, err
	}
	if err := w.before(); err != nil {
		return 0, err
	}
	if w.heard || w.since >= progress {
		w.heard, w.alive, w.since = false, time.Now(), 0
	}
	if err := w.SetReadDeadline(w.alive.Add(silence)); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	w.since += n
	w.at = time.Now()
	return n, err
}

// dial opens the stream at u. Cancelling ctx closes the connection, at any time.
func (s *Source) dial(ctx context.Context, h *host, u *url.URL) (*conn, error) {
	c := &conn{host: h, hosts: s.hosts, zstd: s.zstd}
	dialer := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: handshakeTimeout,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  512, // pongs and a close frame
		TLSClientConfig:  &tls.Config{RootCAs: s.cfg.RootCAs, MinVersion: tls.VersionTLS12},
		NetDialContext: func(ctx2 context.Context, network, addr string) (net.Conn, error) {
			nc, err := s.cfg.Dial(ctx2, network, addr)
			if err != nil {
				return nil, err
			}
			c.wire = newWire(nc, u.Scheme == "wss")
			c.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
			return c.wire, nil
		},
	}
	begun := false
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() {
		begun = true
		_ = c.wire.SetDeadline(time.Now().Add(answerTimeout))
	}}
	//nolint:bodyclose // the library has closed the connection, or hands it on: its documentation asks for no more
	ws, resp, err := dialer.DialContext(httptrace.WithClientTrace(ctx, trace), u.String(), http.Header{"User-Agent": {s.cfg.UserAgent}})
	if err != nil {
		if c.stop != nil {
			c.stop()
		}
		if ctx.Err() == nil && c.wire != nil && c.wire.budget <= 0 {
			err = errHandshakeSize // which the parser of the answer hides
		}
		if begun && timedOut(err) {
			err = fmt.Errorf("no whole answer for %s", answerTimeout)
		}
		return nil, dialError(ctx, h, resp, err)
	}
	c.ws, c.wire.open, c.wire.heard, c.origin = ws, true, true, upstream.Origin(resp.Header)
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		c.wire.heard = true
		return pong(data)
	})
	return c, nil
}

// dialError says why a stream could not be opened, and what to do about it.
func dialError(ctx context.Context, h *host, resp *http.Response, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case resp != nil && errors.Is(err, websocket.ErrBadHandshake):
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // gorilla has read 1 kB of it already
		return upstream.Refusal(h.addr, resp, body, hints[resp.StatusCode])
	case timedOut(err):
		return fmt.Errorf("open stream at %s: no answer for %s", h.addr, handshakeTimeout)
	}
	return upstream.OpenError(h.addr, err)
}

// timedOut reports whether a deadline passed. The WebSocket library keeps that
// of an error's kind, but not its identity.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// hints are the ways out of a refusal.
var hints = map[int]string{
	http.StatusSwitchingProtocols: "it does not speak the WebSocket protocol",
	http.StatusOK:                 "it does not speak the WebSocket protocol: check the host and path of --bluesky-url",
	http.StatusBadRequest:         "it does not understand the request: check the path of --bluesky-url (wss://HOST/subscribe) and the names in --collections",
	http.StatusUnauthorized:       "it wants a login, which public Jetstream servers do not: check --bluesky-url",
	http.StatusForbidden:          "it does not serve this client or address: use another server (--bluesky-url)",
	http.StatusNotFound:           "there is no stream at this path: check --bluesky-url (wss://HOST/subscribe)",
	http.StatusTooManyRequests:    "too many connections from this address: stop other clients, or use another server (--bluesky-url)",
	http.StatusServiceUnavailable: "it is starting or overloaded",
}

// subscription returns the URL of a connection: what is wanted, and from where on.
func (s *Source) subscription(h *host, mode mode, cursor int64) *url.URL {
	u := *h.url
	q := u.Query()
	for _, c := range s.scope {
		q.Add("wantedCollections", c)
	}
	if mode != live {
		q.Set("cursor", strconv.FormatInt(cursor, 10))
	}
	if s.cfg.Compress {
		q.Set("compress", "true")
	}
	u.RawQuery = q.Encode()
	return &u
}

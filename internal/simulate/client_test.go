package simulate

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a listener whose connections are pipes, so that a server can run in
// a synctest bubble.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
}

func newMemory() *memory { return &memory{make(chan net.Conn), make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	select {
	case <-m.done:
	default:
		close(m.done)
	}
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (m *memory) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// host is a server under test.
type host struct {
	t    testing.TB
	dial func(context.Context, string, string) (net.Conn, error)
	addr string
}

type anyServer interface {
	Serve(context.Context, net.Listener) error
	Close() error
}

// serve runs a server until the test ends: over TCP, or in memory.
func serve(t testing.TB, s anyServer, err error, ln net.Listener) *host {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if ln == nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = s.Close()
	})
	h := &host{t: t, addr: ln.Addr().String(), dial: (&net.Dialer{}).DialContext}
	if m, ok := ln.(*memory); ok {
		h.dial = m.dial
	}
	return h
}

// timeline opens one without a file.
func timeline(t testing.TB, cfg TimelineConfig) *Timeline {
	t.Helper()
	tl, err := OpenTimeline(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tl.Close() })
	return tl
}

// subscriber is a WebSocket client.
type subscriber struct {
	*websocket.Conn
	t    testing.TB
	resp *http.Response
}

func (h *host) subscribe(query string) *subscriber {
	h.t.Helper()
	s, err := h.trySubscribe(query)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *host) trySubscribe(query string) (*subscriber, error) {
	d := websocket.Dialer{NetDialContext: h.dial, ReadBufferSize: 64 << 10}
	ws, resp, err := d.Dial("ws://"+h.addr+"/subscribe?"+query, nil)
	if err != nil {
		if resp != nil {
			body, _ := io.ReadAll(resp.Body)
			err = fmt.Errorf("%d %s", resp.StatusCode, strings.TrimSpace(string(body)))
		}
		return &subscriber{resp: resp}, err
	}
	h.t.Cleanup(func() { ws.Close() })
	ws.SetReadLimit(64 << 20)
	return &subscriber{ws, h.t, resp}, nil
}

// read returns the next frame within a while.
func (s *subscriber) read() (kind int, p []byte, err error) {
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	return s.ReadMessage()
}

// event reads the next frame, which must be an event.
func (s *subscriber) event() (f wireBluesky) {
	s.t.Helper()
	_, p, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(p, &f); err != nil {
		s.t.Fatalf("%v: %s", err, p)
	}
	return f
}

// identity puts a frame's together, as Item has it.
func (f wireBluesky) identity() string {
	switch {
	case f.Commit != nil:
		c := f.Commit
		return strings.Join([]string{f.DID, c.Collection, c.RKey, c.Operation, c.Rev}, "/")
	case f.Identity != nil:
		return fmt.Sprintf("%s/identity/%d", f.DID, f.Identity.Seq)
	case f.Account != nil:
		return fmt.Sprintf("%s/account/%d", f.DID, f.Account.Seq)
	}
	return ""
}

// sse is a client of EventStreams.
type sse struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Reader
}

// message is one event of it.
type message struct{ kind, id, data string }

func (h *host) get(path string, header ...string) *sse {
	h.t.Helper()
	s, err := h.tryGet(path, header...)
	if err != nil {
		h.t.Fatal(err)
	}
	if s.resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(s.resp.Body)
		h.t.Fatalf("%s: %s", s.resp.Status, body)
	}
	return s
}

func (h *host) tryGet(path string, header ...string) (*sse, error) {
	tr := &http.Transport{DialContext: h.dial, DisableKeepAlives: true}
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.addr+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "weir-test/1 (test@example.com)")
	for k := 0; k < len(header); k += 2 {
		req.Header.Set(header[k], header[k+1])
	}
	resp, err := tr.RoundTrip(req)
	h.t.Cleanup(func() {
		cancel()
		if resp != nil {
			resp.Body.Close()
		}
		tr.CloseIdleConnections()
	})
	if err != nil {
		return nil, err
	}
	return &sse{h.t, resp, bufio.NewReaderSize(resp.Body, 64<<10)}, nil
}

// next reads one event. At the end of the stream it returns the error.
func (s *sse) next() (m message, err error) {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return m, err
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && m.data != "":
			return m, nil
		case name == "event":
			m.kind = value
		case name == "id":
			m.id = value
		case name == "data":
			m.data = value
		}
	}
}

// wireWikipedia is what the tests look at in an event.
type wireWikipedia struct {
	Meta struct {
		ID, DT, Topic, Domain string
		Offset                int64
	}
}

// event reads the next event, which must be one of the world.
func (s *sse) event() (f wireWikipedia, id []idPart) {
	s.t.Helper()
	m, err := s.next()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(m.data), &f); err != nil || m.kind != "message" {
		s.t.Fatalf("%v: %+v", err, m)
	}
	if err := json.Unmarshal([]byte(m.id), &id); err != nil {
		s.t.Fatalf("%v: %s", err, m.id)
	}
	return f, id
}

// idPart is one element of an event's id.
type idPart struct {
	Topic     string `json:"topic"`
	Partition int64  `json:"partition"`
	Offset    *int64 `json:"offset,omitempty"`
	Timestamp *int64 `json:"timestamp,omitempty"`
}

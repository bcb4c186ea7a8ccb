package bluesky

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Jetstream server whose connections each run one step of a script.
type script struct {
	*httptest.Server
	mu    sync.Mutex
	steps []func(*peer)
	asked []*http.Request // one a connection
	extra http.Header     // sent with every handshake
}

// peer is the server's end of a connection.
type peer struct {
	*websocket.Conn
	t     *testing.T
	query url.Values
}

// serve starts a server that upgrades every connection and runs the next step
// on it. The connection is dropped, without a close frame, when a step returns.
func serve(t *testing.T, steps ...func(*peer)) *script {
	t.Helper()
	s := &script{steps: steps, extra: http.Header{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		if len(s.steps) == 0 {
			s.mu.Unlock()
			http.Error(w, "the script is over", http.StatusServiceUnavailable)
			return
		}
		step := s.steps[0]
		s.steps = s.steps[1:]
		s.mu.Unlock()
		up := websocket.Upgrader{WriteBufferSize: 64 << 10}
		ws, err := up.Upgrade(w, r, s.extra)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer ws.Close()
		step(&peer{ws, t, r.URL.Query()})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) url() string { return "ws" + strings.TrimPrefix(s.URL, "http") + "/subscribe" }

func (s *script) addr() string { return s.Listener.Addr().String() }

// request returns the i-th connection's request.
func (s *script) request(i int) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[i]
}

func (p *peer) text(frames ...string) {
	for _, f := range frames {
		p.frame(websocket.TextMessage, []byte(f))
	}
}

func (p *peer) frame(kind int, data []byte) {
	if err := p.WriteMessage(kind, data); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Logf("server write: %v", err)
	}
}

// bye ends a connection in good order.
func (p *peer) bye() {
	_ = p.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseServiceRestart, ""), time.Now().Add(time.Second))
}

// v1 is a commit frame of a v1 server; v2 adds the server's sequence number.
func v1(n int, timeUS int64) string {
	return fmt.Sprintf(`{"did":"did:plc:u%d","time_us":%d,"kind":"commit","commit":{"rev":"r%d","operation":"create","collection":"app.bsky.feed.post","rkey":"k%d","record":{"text":"%d"},"cid":"c"}}`,
		n%7, timeUS, n, n, n)
}

func v2(seq int64, n int, timeUS int64) string {
	return strings.TrimSuffix(v1(n, timeUS), "}") + `,"cursor":` + strconv.FormatInt(seq, 10) + "}"
}

// commitID is the identity of commit n.
func commitID(n int) string {
	return fmt.Sprintf("did:plc:u%d\nr%d\napp.bsky.feed.post\nk%d\ncreate", n%7, n, n)
}

// record is an event as a test compares it.
type record struct {
	Route  event.Route
	Kind   string
	ID     string
	Value  string
	Size   int64
	Detail string
}

// sink collects what a source emits.
type sink struct {
	mu      sync.Mutex
	events  []record
	cursors []event.Cursor // one a batch
	hosts   []string       // of each batch
	sizes   []int          // events of each batch
	changed chan struct{}
}

func newSink() *sink { return &sink{changed: make(chan struct{}, 1)} }

func (s *sink) emit(b *event.Batch) error {
	s.mu.Lock()
	for _, ev := range b.Events {
		s.events = append(s.events, record{ev.Route, ev.Kind, string(ev.ID), string(ev.Value), ev.Size, ev.Detail})
	}
	s.cursors = append(s.cursors, b.Cursor)
	s.hosts = append(s.hosts, b.Host)
	s.sizes = append(s.sizes, len(b.Events))
	s.mu.Unlock()
	for i := range b.Events { // whoever still reads the batch sees it
		for j := range b.Events[i].Value {
			b.Events[i].Value[j] = '#'
		}
	}
	b.Release()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

func (s *sink) cursor(t *testing.T) event.Cursor {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cursors) == 0 {
		t.Fatal("nothing was emitted")
	}
	return s.cursors[len(s.cursors)-1]
}

func (s *sink) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []string{}
	for _, ev := range s.events {
		id := ev.ID
		if ev.Route == event.Gap {
			id = "GAP"
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *sink) all() []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]record(nil), s.events...)
}

// until waits for n events.
func (s *sink) until(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		have := len(s.events)
		s.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-s.changed:
		case <-deadline:
			t.Fatalf("%d events after 10 s, want %d", have, n)
		}
	}
}

// open returns a source for the given URLs.
func open(t *testing.T, cfg Config, urls ...string) *Source {
	t.Helper()
	cfg.URLs = urls
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// streamOnce runs one connection to its end.
func streamOnce(t *testing.T, s *Source, from event.Cursor) (*sink, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := newSink()
	return out, s.Stream(ctx, from, out.emit)
}

// rawServer accepts connections and hands each to the next step, below the
// WebSocket protocol.
func rawServer(t *testing.T, steps ...func(*rawPeer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for _, step := range steps {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				step(&rawPeer{Conn: c, br: bufio.NewReader(c), t: t})
			})
		}
	})
	return "ws://" + l.Addr().String() + "/subscribe"
}

// rawPeer writes WebSocket frames by hand.
type rawPeer struct {
	net.Conn
	br *bufio.Reader
	t  *testing.T
}

// upgrade answers the handshake as RFC 6455 asks, and returns the request.
func (p *rawPeer) upgrade() *http.Request {
	r, err := http.ReadRequest(p.br)
	if err != nil {
		p.t.Errorf("read request: %v", err)
		return nil
	}
	p.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n")
	return r
}

func (p *rawPeer) send(s string) {
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Logf("server write: %v", err)
	}
}

// Opcodes of RFC 6455, section 5.2; fin is the bit of a message's last frame.
const (
	opContinue = 0x0
	opText     = 0x1
	opPing     = 0x9
	opPong     = 0xA
	fin        = 0x80
)

func rawFrame(first byte, payload string) string {
	head := []byte{first}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return string(head) + payload
}

// readFrame reads a client's (masked) frame.
func (p *rawPeer) readFrame() (op byte, payload string, err error) {
	var head [6]byte
	if _, err := io.ReadFull(p.br, head[:]); err != nil {
		return 0, "", err
	}
	data := make([]byte, head[1]&0x7f) // control frames are short
	if _, err := io.ReadFull(p.br, data); err != nil {
		return 0, "", err
	}
	for i := range data {
		data[i] ^= head[2+i%4]
	}
	return head[0] & 0xf, string(data), nil
}

func sorted(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
}

func newBuffered(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

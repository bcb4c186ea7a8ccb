package wikipedia

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an EventStreams server whose connections each run one step of a script.
type script struct {
	*httptest.Server
	mu    sync.Mutex
	steps []func(*peer)
	asked []*http.Request // one a connection
}

// peer is the server's end of a connection.
type peer struct {
	http.ResponseWriter
	r *http.Request
}

// serve starts a server that runs the next step for each request. A step that
// returns ends the stream in good order.
func serve(t *testing.T, steps ...func(*peer)) *script {
	t.Helper()
	s := &script{steps: steps}
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
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		step(&peer{w, r})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) url() string { return s.URL + "/v2/stream/recentchange" }

func (s *script) addr() string { return s.Listener.Addr().String() }

// request returns the i-th connection's request.
func (s *script) request(i int) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[i]
}

// send writes and flushes.
func (p *peer) send(parts ...string) {
	for _, part := range parts {
		_, _ = io.WriteString(p, part)
	}
	_ = http.NewResponseController(p.ResponseWriter).Flush()
}

// edit is an event as EventStreams sends it: number n, in eqiad at ms
// milliseconds, while codfw is silent. The id is one millisecond too high.
func edit(n int, ms int64) string { return message(eqiadID(ms), editData(n, ms)) }

func message(id, data string) string {
	return "event: message\nid: " + id + "\ndata: " + data + "\n\n"
}

func eqiadID(ms int64) string {
	return fmt.Sprintf(`[{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":%d},{"topic":"codfw.mediawiki.recentchange","partition":0,"offset":-1}]`, ms+1)
}

func bothID(eqiad, codfw int64) string {
	return fmt.Sprintf(`[{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":%d},{"topic":"codfw.mediawiki.recentchange","partition":0,"timestamp":%d}]`, eqiad+1, codfw+1)
}

func editData(n int, ms int64) string {
	return fmt.Sprintf(`{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"id":%q,"domain":"en.wikipedia.org","stream":"mediawiki.recentchange","dt":%q},`+
		`"type":"edit","namespace":0,"title":"Page %d","comment":"","timestamp":%d,"user":"U","bot":false,"wiki":"enwiki"}`, uuid(n), dt(ms), n%9, ms/1000)
}

func canaryData(n int, ms int64) string {
	return fmt.Sprintf(`{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"id":%q,"domain":"canary","stream":"mediawiki.recentchange","dt":%q}}`, uuid(n), dt(ms))
}

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func dt(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

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

// open returns a source for the given URL.
func open(t *testing.T, cfg Config, url string) *Source {
	t.Helper()
	cfg.URL = url
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

func containsSecret(s string) bool { return strings.Contains(s, "s3cret") }

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// recorded is an event as it was received: the bytes, and what the server must
// know of it to honour a cursor.
type recorded struct {
	value []byte
	id    string // of the SSE event
	topic string // the Kafka topic behind EventStreams that it came from
	time  int64  // microseconds (Bluesky), milliseconds (Wikipedia)
}

// loadBluesky reads frames, one a line, and puts them in the order of time_us.
func loadBluesky(t *testing.T, path string) []recorded {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		var f struct {
			TimeUS int64 `json:"time_us"`
		}
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatalf("decode %.200q: %v", line, err)
		}
		all = append(all, recorded{value: line, time: f.TimeUS})
	}
	slices.SortStableFunc(all, func(a, b recorded) int { return int(a.time/1000 - b.time/1000) })
	return all
}

// loadWikipedia reads a capture of EventStreams: id and data of each event, one
// line of data each. A pair belongs together until the next blank line.
func loadWikipedia(t *testing.T, path string) []recorded {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recorded
	var id string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = rest
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Meta struct {
				Topic string    `json:"topic"`
				DT    time.Time `json:"dt"`
			} `json:"meta"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("decode %.200q: %v", data, err)
		}
		if id == "" || e.Meta.Topic == "" {
			t.Fatalf("no id or topic: %.200q", data)
		}
		all = append(all, recorded{value: []byte(data), id: id, topic: e.Meta.Topic, time: e.Meta.DT.UnixMilli()})
		id = ""
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b recorded) int { return int(a.time/1000 - b.time/1000) })
	return all
}

// playback serves recorded events over both wire protocols. Each stream's first
// connection breaks off halfway, so that the second has a cursor to honour.
type playback struct {
	bluesky, wikipedia []recorded

	blueskyConns, wikipediaConns atomic.Int32
	mu                           sync.Mutex
	cursors                      []string // what the clients resumed from
	repeated                     atomic.Int64
}

func (p *playback) resumed(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursors = append(p.cursors, fmt.Sprintf(format, args...))
}

// half returns how much of n events the connection's first turn gets.
func half(conn int32, n int) int {
	if conn == 1 {
		return n / 2
	}
	return n
}

// subscribe is Jetstream's /subscribe: everything from the inclusive cursor on.
func (p *playback) subscribe(w http.ResponseWriter, r *http.Request) {
	var cursor int64
	if s := r.URL.Query().Get("cursor"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			http.Error(w, "cursor: "+err.Error(), http.StatusBadRequest)
			return
		}
		cursor = n
		p.resumed("bluesky from %d", n)
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	turn := p.blueskyConns.Add(1)
	for i, e := range p.bluesky[:half(turn, len(p.bluesky))] {
		if e.time < cursor {
			continue
		}
		if turn > 1 && i < len(p.bluesky)/2 {
			p.repeated.Add(1)
		}
		if err := conn.Write(r.Context(), websocket.MessageText, e.value); err != nil {
			return
		}
	}
	if turn == 1 {
		return // no closing handshake: the connection broke
	}
	<-conn.CloseRead(r.Context()).Done()
}

// recentchange is EventStreams: everything from the timestamp on that the cursor
// has for an event's topic.
func (p *playback) recentchange(w http.ResponseWriter, r *http.Request) {
	from := map[string]int64{}
	if s := r.Header.Get("Last-Event-ID"); s != "" {
		var positions []struct {
			Topic     string `json:"topic"`
			Timestamp int64  `json:"timestamp"`
		}
		if err := json.Unmarshal([]byte(s), &positions); err != nil {
			http.Error(w, "Last-Event-ID: "+err.Error(), http.StatusBadRequest)
			return
		}
		for _, at := range positions {
			from[at.Topic] = at.Timestamp
		}
		p.resumed("wikipedia from %s", s)
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	fmt.Fprint(w, ":ok\n\n")
	turn := p.wikipediaConns.Add(1)
	for i, e := range p.wikipedia[:half(turn, len(p.wikipedia))] {
		if e.time < from[e.topic] {
			continue
		}
		if turn > 1 && i < len(p.wikipedia)/2 {
			p.repeated.Add(1)
		}
		if _, err := fmt.Fprintf(w, "event: message\nid: %s\ndata: %s\n\n", e.id, e.value); err != nil {
			return
		}
	}
	if err := out.Flush(); err != nil || turn == 1 {
		panic(http.ErrAbortHandler) // the connection broke
	}
	<-r.Context().Done()
}

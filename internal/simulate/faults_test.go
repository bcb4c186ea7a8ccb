package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

func TestPlansThatAreRead(t *testing.T) {
	got, err := ParsePlan(" cut@5000,wikipedia:stall@900:30s, 429@2:1s,malformed/1000,oversize@7:6MiB,gap@10:50,,binary/3,switch@4")
	want := Plan{{Name: "cut", N: 5000}, {Name: "stall", Stream: "wikipedia", N: 900, Value: int64(30 * time.Second)},
		{Name: "429", N: 2, Value: int64(time.Second)}, {Name: "malformed", N: 1000, Every: true}, {Name: "oversize", N: 7, Value: 6 << 20},
		{Name: "gap", N: 10, Value: 50}, {Name: "binary", Stream: "bluesky", N: 3, Every: true}, {Name: "switch", Stream: "wikipedia", N: 4}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	names := func(f *Faults) []string { return slices.Sorted(maps.Keys(f.Fired())) }
	if b, w := names(got.Faults("bluesky")), names(got.Faults("wikipedia")); !slices.Equal(b, []string{"429", "binary", "cut", "gap", "malformed", "oversize"}) ||
		!slices.Equal(w, []string{"429", "cut", "gap", "malformed", "oversize", "stall", "switch"}) {
		t.Errorf("bluesky %v, wikipedia %v", b, w)
	}
	if f := (Plan{}).Faults("bluesky"); f != nil || len(f.Fired()) != 0 {
		t.Error("no faults are some")
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"cut":                  "NAME@N",
		"explode@5":            "unknown name, want one of 429, 503, binary",
		"cut@x":                `"x" is not a positive`,
		"cut@-1":               `"-1" is not a positive`,
		"cut/0":                `"0" is not a positive`,
		"429@0":                `"0" is not a positive`,
		"cut@5:1s":             "takes no parameter",
		"stall@5:soon":         "not a duration",
		"stall@5:-1s":          "not a duration",
		"oversize@5:1KiB":      "over 4MiB",
		"oversize@5:1000MiB":   "at most 256MiB",
		"gap@5:0":              "not a number of events",
		"wikipedia:renumber@5": "bluesky only",
		"bluesky:switch@5":     "wikipedia only",
		"mars:cut@5":           "unknown name",
	} {
		if _, err := ParsePlan("close@1," + text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func plan(t testing.TB, text, stream string) *Faults {
	t.Helper()
	p, err := ParsePlan(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Faults(stream)
}

func fired(t *testing.T, f *Faults, want map[string]int64) {
	t.Helper()
	if got := f.Fired(); !maps.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
}

func TestBlueskyExtraFrames(t *testing.T) {
	f := plan(t, "duplicate@50,malformed/100,truncated@150,unknown@160,oversize@170:5MiB,binary@180", "bluesky")
	s, h := full(t, ServerConfig{Faults: f}, TimelineConfig{})
	var first [][]byte
	for replay := range 2 { // extra frames come again, as from a log
		c := h.subscribe("cursor=1")
		next, extra, frames := int64(0), map[string]int{}, [][]byte{}
		for next < 400 {
			kind, p, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			var w wireBluesky
			bad := json.Unmarshal(p, &w)
			switch {
			case kind == websocket.BinaryMessage:
				extra["binary"]++
			case bad != nil && !utf8.Valid(p):
				t.Fatalf("a text frame is not UTF-8: %q", p)
			case bad != nil && strings.Contains(string(p), `,,"n":`):
				extra["malformed"]++
			case bad != nil:
				extra["truncated"]++
			case w.Kind == "mystery":
				extra["unknown"]++
			case len(p) > 4<<20:
				if len(p) != 5<<20 {
					t.Errorf("%d bytes", len(p))
				}
				extra["oversize"]++
			case next == 50 && w.identity() == s.At(45).Identity && extra["duplicate"] == 0:
				extra["duplicate"]++
			case w.identity() == s.At(next).Identity:
				next++
				continue
			default:
				t.Fatalf("at event %d: %.300s", next, p)
			}
			frames = append(frames, p)
		}
		want := map[string]int{"duplicate": 1, "malformed": 3, "truncated": 1, "unknown": 1, "oversize": 1, "binary": 1}
		if !maps.Equal(extra, want) {
			t.Errorf("extra frames %v, want %v", extra, want)
		}
		if replay == 0 {
			first = frames
		} else if !slices.EqualFunc(first, frames, slices.Equal) {
			t.Error("a replay has other extra frames")
		}
		c.Close()
		got := f.Fired()
		if delete(got, "malformed"); got["truncated"] != 1 { // the server is ahead of us: more than 3 have fired
			t.Errorf("fired %v", got)
		}
	}
	if n := f.Fired()["malformed"]; n < 3 || n > 620 {
		t.Errorf("%d malformed frames counted", n)
	}
}

// drain reads from event i until the connection ends.
func drain(t *testing.T, c *subscriber, s *BlueskyServer, i int64) (next int64, last []byte, err error) {
	t.Helper()
	for {
		_, p, err := c.read()
		if err != nil {
			return i, last, err
		}
		var f wireBluesky
		if json.Unmarshal(p, &f) != nil || f.identity() != s.At(i).Identity {
			if last != nil {
				t.Fatalf("two frames at event %d that are none of the world: %s", i, p)
			}
			last = p
			continue
		}
		i++
	}
}

func TestBlueskyConnectionFaults(t *testing.T) {
	for name, ends := range map[string]func(error) bool{
		"cut": func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) || websocket.IsCloseError(err, websocket.CloseAbnormalClosure)
		},
		"close":   func(err error) bool { return websocket.IsCloseError(err, websocket.CloseNormalClosure) },
		"error":   func(err error) bool { return websocket.IsCloseError(err, websocket.CloseNormalClosure) },
		"restart": func(err error) bool { return websocket.IsCloseError(err, websocket.CloseAbnormalClosure) },
	} {
		f := plan(t, name+"@777", "bluesky")
		s, h := full(t, ServerConfig{Faults: f}, TimelineConfig{})
		c := h.subscribe("cursor=1")
		next, last, err := drain(t, c, s, 0)
		if next != 777 || !ends(err) {
			t.Errorf("%s: ended at event %d with %v", name, next, err)
		}
		if (name == "error") != (last != nil && strings.Contains(string(last), `"error":"ConsumerTooSlow"`)) {
			t.Errorf("%s: last frame %s", name, last)
		}
		fired(t, f, map[string]int64{name: 1})
		if name == "restart" {
			if _, err := h.trySubscribe("cursor=1"); err == nil {
				t.Error("restart: a new connection at once")
			}
			continue
		}
		expect(t, h.subscribe("cursor=1"), s, 0, 2000) // it happens once
		fired(t, f, map[string]int64{name: 1})
	}
}

func TestBlueskyStallSlowAndRestartTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(text string, i int64) (*BlueskyServer, *host, *subscriber, *Faults) {
			f := plan(t, text, "bluesky")
			tl := timeline(t, TimelineConfig{Rate: 100, Variant: "*"})
			s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl, Faults: f})
			h := serve(t, s, err, newMemory())
			c := h.subscribe("cursor=1")
			expect(t, c, s, 0, int(i))
			return s, h, c, f
		}
		s, _, c, f := run("stall@100:90s", 100)
		begin, pings := time.Now(), 0
		c.SetPingHandler(func(string) error { pings++; return nil })
		c.SetPongHandler(func(string) error { pings++; return nil })
		time.Sleep(time.Second)
		if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
			t.Error(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		_, _, err := c.ReadMessage()
		if got := time.Since(begin); err != nil || got < 89*time.Second || got > 91*time.Second || pings != 0 {
			t.Errorf("stall: %v and %d pings or pongs, %v", got, pings, err)
		}
		expect(t, c, s, 101, 100)
		fired(t, f, map[string]int64{"stall": 1})

		s, _, c, f = run("slow@100:5s", 100)
		begin = time.Now()
		expect(t, c, s, 100, 40)
		if got := time.Since(begin); got < 3900*time.Millisecond || got > 4300*time.Millisecond {
			t.Errorf("slow: 40 events in %v, want 4 s", got)
		}
		begin = time.Now()
		expect(t, c, s, 140, 600)
		if got := time.Since(begin); got > 4*time.Second {
			t.Errorf("slow never ends: 600 events in %v", got)
		}
		fired(t, f, map[string]int64{"slow": 1})

		_, h, c, f := run("restart@100:7s", 100)
		if _, _, err := c.read(); err == nil {
			t.Error("restart: the connection goes on")
		}
		begin = time.Now()
		for {
			if _, err := h.trySubscribe(""); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := time.Since(begin); got < 6900*time.Millisecond || got > 7200*time.Millisecond {
			t.Errorf("restart: down for %v", got)
		}
		fired(t, f, map[string]int64{"restart": 1})
	})
}

func TestBlueskyRenumbers(t *testing.T) {
	f := plan(t, "renumber@5000:4096", "bluesky")
	s, h := full(t, ServerConfig{Faults: f}, TimelineConfig{})
	c := h.subscribe("cursor=1")
	var last int64
	for i := range int64(5000) {
		w := c.event()
		if w.identity() != s.At(i).Identity || i > 0 && w.Cursor != last+1 {
			t.Fatalf("event %d: %+v", i, w)
		}
		last = w.Cursor
	}
	if _, _, err := c.read(); err == nil {
		t.Fatal("the connection goes on")
	}
	// A cursor of before means later events now; rewinding more than what was
	// handed out again finds the old ones, and then numbers repeat.
	c = h.subscribe(fmt.Sprintf("cursor=%d", last-5000+1))
	seen := map[int64]int{}
	for i := range int64(6000) {
		w := c.event()
		if w.identity() != s.At(i).Identity {
			t.Fatalf("event %d: %+v", i, w)
		}
		seen[w.Cursor]++
	}
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	if twice != 1000 { // those of events 904 to 1903 are those of 5000 to 5999
		t.Errorf("%d numbers came twice", twice)
	}
	expect(t, h.subscribe(fmt.Sprintf("cursor=%d", last)), s, 4999+4096, 10)
	fired(t, f, map[string]int64{"renumber": 1})
}

func TestGapsLeaveNothingBehind(t *testing.T) {
	f := plan(t, "gap@300:5000", "bluesky")
	s, h := full(t, ServerConfig{Faults: f}, TimelineConfig{})
	if next, _, err := drain(t, h.subscribe("cursor=1"), s, 0); next != 300 || !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("ended at %d: %v", next, err)
	}
	expect(t, h.subscribe("cursor=1"), s, 5300, 100)
	if s.floor.Load() != 5300 {
		t.Errorf("lost up to %d", s.floor.Load())
	}
	fired(t, f, map[string]int64{"gap": 1})

	f = plan(t, "gap@300:5000", "wikipedia")
	w, h := openWiki(t, ServerConfig{Faults: f}, TimelineConfig{})
	c := h.get(recentPath + "?since=1")
	c.expect(w, 0, 300)
	if m, err := c.next(); err == nil {
		t.Errorf("goes on: %+v", m)
	}
	h.get(recentPath+"?since=1").expect(w, 5300, 100)
	fired(t, f, map[string]int64{"gap": 1})
}

func TestRequestsThatAreRefused(t *testing.T) {
	f := plan(t, "429@2:3s,503/5", "bluesky")
	_, h := full(t, ServerConfig{Faults: f}, TimelineConfig{})
	for k := 1; k <= 10; k++ {
		c, err := h.trySubscribe("")
		want := map[int]string{2: "429 too many requests", 5: "503 service not ready: bootstrap in progress", 10: "503 service not ready: bootstrap in progress"}[k]
		if got := fmt.Sprint(err); want != "" && got != want || want == "" && err != nil {
			t.Errorf("request %d: %s, want %q", k, got, want)
		}
		if after := c.resp.Header.Get("Retry-After"); after != map[int]string{2: "3", 5: "1", 10: "1"}[k] {
			t.Errorf("request %d: Retry-After %q", k, after)
		}
	}
	fired(t, f, map[string]int64{"429": 1, "503": 2})

	f = plan(t, "503@1:90s", "wikipedia")
	_, h = openWiki(t, ServerConfig{Faults: f}, TimelineConfig{})
	r, err := h.tryGet(recentPath)
	if err != nil || r.resp.StatusCode != http.StatusServiceUnavailable || r.resp.Header.Get("Retry-After") != "90" {
		t.Errorf("%+v %v", r, err)
	}
	h.get(recentPath)
	fired(t, f, map[string]int64{"503": 1})
}

func TestWikipediaExtraEvents(t *testing.T) {
	f := plan(t, "duplicate@50,malformed/100,truncated@150,unknown@160,oversize@170:5MiB", "wikipedia")
	s, h := openWiki(t, ServerConfig{Faults: f}, TimelineConfig{})
	for range 2 {
		c := h.get(recentPath + "?since=1")
		extra := map[string]int{}
		for next := int64(0); next < 400; {
			m, err := c.next()
			if err != nil || m.kind != "message" || !utf8.ValidString(m.data) {
				t.Fatalf("%v %.300s", err, m.data)
			}
			var w wireWikipedia
			bad := json.Unmarshal([]byte(m.data), &w)
			switch {
			case bad != nil && strings.HasSuffix(m.data, ",,}"):
				extra["malformed"]++
			case bad != nil:
				extra["truncated"]++
			case strings.Contains(m.data, `"mystery":`):
				extra["unknown"]++
			case len(m.data) > 4<<20:
				if len(m.data) != 5<<20 {
					t.Errorf("%d bytes", len(m.data))
				}
				extra["oversize"]++
			case next == 50 && w.Meta.ID == s.At(45).Identity && extra["duplicate"] == 0:
				extra["duplicate"]++
			case w.Meta.ID == s.At(next).Identity:
				next++
			default:
				t.Fatalf("at event %d: %.300s", next, m.data)
			}
		}
		if want := map[string]int{"duplicate": 1, "malformed": 3, "truncated": 1, "unknown": 1, "oversize": 1}; !maps.Equal(extra, want) {
			t.Errorf("extra events %v, want %v", extra, want)
		}
		c.resp.Body.Close()
	}
	if got := f.Fired(); got["oversize"] != 1 || got["duplicate"] != 1 || got["malformed"] < 3 {
		t.Errorf("fired %v", got)
	}
}

func TestWikipediaConnectionFaults(t *testing.T) {
	for name, ends := range map[string]error{"cut": io.ErrUnexpectedEOF, "close": io.EOF, "error": io.EOF, "restart": io.ErrUnexpectedEOF} {
		f := plan(t, name+"@77", "wikipedia")
		s, h := openWiki(t, ServerConfig{Faults: f}, TimelineConfig{})
		c := h.get(recentPath + "?since=1")
		c.expect(s, 0, 77)
		m, err := c.next()
		if name == "error" {
			if m.kind != "error" || err != nil {
				t.Errorf("error: %+v %v", m, err)
			}
			m, err = c.next()
		}
		if !errors.Is(err, ends) {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, ends)
		}
		fired(t, f, map[string]int64{name: 1})
		if name == "restart" {
			if _, err := h.tryGet(recentPath); err == nil {
				t.Error("restart: a new connection at once")
			}
			continue
		}
		h.get(recentPath+"?since=1").expect(s, 0, 300)
		fired(t, f, map[string]int64{name: 1})
	}

	f := plan(t, "switch@77,switch@177", "wikipedia")
	s, h := openWiki(t, ServerConfig{Faults: f}, TimelineConfig{})
	h.get(recentPath+"?since=1").expect(s, 0, 400)
	if n := len(s.Timeline.Now().Segments); n != 3 {
		t.Errorf("%d segments after two switches", n)
	}
	fired(t, f, map[string]int64{"switch": 2})
}

func TestWikipediaStallsAndSlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plan(t, "stall@100:90s,slow@200:5s", "wikipedia")
		tl := timeline(t, TimelineConfig{Rate: 100, Variant: Eqiad})
		s, err := NewWikipedia(ServerConfig{World: NewWorld(1), Timeline: tl, Faults: f})
		c := serve(t, s, err, newMemory()).get(recentPath + "?since=1")
		c.expect(s, 0, 100)
		begin := time.Now()
		c.expect(s, 100, 100)
		if got := time.Since(begin); got < 89*time.Second || got > 91*time.Second {
			t.Errorf("stall: %v", got)
		}
		begin = time.Now()
		c.expect(s, 200, 40)
		if got := time.Since(begin); got < 3900*time.Millisecond || got > 4300*time.Millisecond {
			t.Errorf("slow: 40 events in %v, want 4 s", got)
		}
		fired(t, f, map[string]int64{"stall": 1, "slow": 1})
	})
}

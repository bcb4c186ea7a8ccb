package simulate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const recentPath = "/v2/stream/recentchange"

// wiki is an EventStreams server with a past of a minute at 1,000 events/s.
func openWiki(t testing.TB, cfg ServerConfig, tl TimelineConfig, adjust ...func(*WikipediaServer)) (*WikipediaServer, *host) {
	t.Helper()
	tl.Rate, tl.History, tl.Variant = cmp.Or(tl.Rate, 1000), cmp.Or(tl.History, time.Minute), cmp.Or(tl.Variant, Eqiad)
	cfg.World, cfg.Timeline = NewWorld(3), timeline(t, tl)
	s, err := NewWikipedia(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.maxPerIP = 100
	for _, change := range adjust {
		change(s)
	}
	return s, serve(t, s, err, nil)
}

func (s *sse) expect(server *WikipediaServer, i int64, n int) (last []idPart) {
	s.t.Helper()
	for k := range int64(n) {
		f, id := s.event()
		if want := server.At(i + k); f.Meta.ID != want.Identity || f.Meta.Offset != want.Offset {
			s.t.Fatalf("event %d is %+v, want %+v", i+k, f.Meta, want)
		}
		last = id
	}
	return last
}

func lastEventID(parts ...idPart) string {
	p, _ := json.Marshal(parts)
	return string(p)
}

func at(topic string, ms int64) idPart  { return idPart{Topic: topic + recentChange, Timestamp: &ms} }
func from(topic string, o int64) idPart { return idPart{Topic: topic + recentChange, Offset: &o} }

func TestWikipediaRefusals(t *testing.T) {
	s, h := openWiki(t, ServerConfig{}, TimelineConfig{})
	for _, c := range []struct {
		path, header, value string
		status              int
		want                string
	}{
		{recentPath, "User-Agent", "", 403, "user-agent"},
		{recentPath, "User-Agent", "Go-http-client/1.1", 403, "user-agent"},
		{"/v2/stream/nothing,recentchange,x", "", "", 400, `"detail":"Invalid streams: nothing,x"`},
		{"/v2/streams", "", "", 404, `"type":"not_found"`},
		{recentPath + "?since=yesterday", "", "", 400, `"type":"invalid_timestamp"`},
		{recentPath, "Last-Event-ID", "{", 400, `"name":"InvalidAssignmentError"`},
		{recentPath, "Last-Event-ID", "[]", 400, "Must provide either"},
		{recentPath, "Last-Event-ID", `{"topic":"eqiad.mediawiki.recentchange"}`, 400, "Must provide either"},
		{recentPath, "Last-Event-ID", `[{"topic":"eqiad.mediawiki.recentchange","partition":0}]`, 400, "Must provide either"},
		{recentPath, "Last-Event-ID", `[{"topic":"eqiad.mediawiki.recentchange","partition":0.5,"offset":1}]`, 400, "Must provide either"},
		{recentPath, "Last-Event-ID", `[{"topic":"eqiad.mediawiki.page-create","partition":0,"offset":1}]`, 404, "Topics eqiad.mediawiki.page-create are not available"},
	} {
		var header []string
		if c.header != "" {
			header = []string{c.header, c.value}
		}
		r, err := h.tryGet(c.path, header...)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.resp.Body)
		if r.resp.StatusCode != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %s %q: %d %s, want %d %s", c.path, c.header, c.value, r.resp.StatusCode, body, c.status, c.want)
		}
	}
	_ = s
}

func TestWikipediaConnectionsPerAddress(t *testing.T) {
	_, h := openWiki(t, ServerConfig{}, TimelineConfig{}, func(s *WikipediaServer) { s.maxPerIP = 2 })
	a, _ := h.get(recentPath), h.get(recentPath)
	r, err := h.tryGet(recentPath)
	if err != nil || r.resp.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("third connection: %v %v, want 429", r, err)
	}
	a.event()
	a.resp.Body.Close()
	for { // until the server has noticed
		if r, err := h.tryGet(recentPath); err == nil && r.resp.StatusCode == http.StatusOK {
			break
		}
	}
}

func TestWikipediaWire(t *testing.T) {
	s, h := openWiki(t, ServerConfig{}, TimelineConfig{})
	c := h.get(recentPath+"?since=0001-01-01", "Accept", "text/event-stream")
	if got := c.resp.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	want := ":ok\n\nevent: message\nid: [{\"topic\":\"eqiad.mediawiki.recentchange\",\"partition\":0,\"timestamp\":"
	p := make([]byte, len(want))
	if _, err := io.ReadFull(c.in, p); err != nil || string(p) != want {
		t.Fatalf("begins %q", p)
	}
	rest, _ := c.in.ReadString('\n')
	if !strings.HasSuffix(rest, "},{\"topic\":\"codfw.mediawiki.recentchange\",\"partition\":0,\"offset\":-1}]\n") {
		t.Errorf("goes on %q", rest)
	}
	if line, _ := c.in.ReadString('\n'); !strings.HasPrefix(line, `data: {"$schema":`) {
		t.Errorf("goes on %q", line)
	}
	if line, _ := c.in.ReadString('\n'); line != "\n" {
		t.Errorf("goes on %q", line)
	}
	c.expect(s, 1, 500)

	c = h.get(recentPath+"?since=0001-01-01", "Accept", "application/json")
	if line, _ := c.in.ReadString('\n'); line != "\n" {
		t.Errorf("lines of JSON begin %q", line)
	}
	for i := range int64(100) {
		line, _ := c.in.ReadString('\n')
		var f wireWikipedia
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Meta.ID != s.At(i).Identity {
			t.Fatalf("event %d: %s", i, line)
		}
	}

	c = h.get("/v2/stream/page-create,recentchange,mediawiki.recentchange?since=0001-01-01")
	if _, id := c.event(); len(id) != 4 || id[0].Topic != "eqiad.mediawiki.page-create" || *id[0].Offset != -1 || id[2].Timestamp == nil {
		t.Errorf("id of two streams: %+v", id)
	}
}

// records reads the timestamps of the first n records: those of the ids, less one.
func records(t *testing.T, h *host, n int) (ms []int64) {
	c := h.get(recentPath + "?since=0001-01-01")
	for range n {
		f, id := c.event()
		stamp := *id[0].Timestamp - 1
		ms = append(ms, stamp)
		when, err := time.Parse(time.RFC3339Nano, f.Meta.DT)
		if err != nil || stamp-when.UnixMilli() > 999 || when.UnixMilli() > stamp {
			t.Fatalf("record at %d, dt %s", stamp, f.Meta.DT)
		}
	}
	return ms
}

func TestWikipediaResumes(t *testing.T) {
	s, h := openWiki(t, ServerConfig{}, TimelineConfig{})
	ms := records(t, h, 5000)
	outOfOrder, shared := 0, 0
	for k := 1; k < len(ms); k++ {
		if d := ms[k-1] - ms[k]; d > 0 {
			outOfOrder++
			if d > 10 {
				t.Fatalf("record %d is %d ms before the one before", k, d)
			}
		} else if d == 0 {
			shared++
		}
	}
	if outOfOrder == 0 || shared == 0 {
		t.Errorf("%d records out of order, %d with the same stamp", outOfOrder, shared)
	}
	first := func(stamp int64) int64 { // what Kafka finds for a timestamp
		for k, m := range ms {
			if m >= stamp {
				return int64(k)
			}
		}
		t.Fatal("no such record")
		return 0
	}
	for _, k := range []int{700, 2345, 4321} {
		for d := int64(-3); d <= 3; d++ {
			stamp := ms[k] + d
			i := first(stamp)
			h.get(recentPath, "Last-Event-ID", lastEventID(at(Eqiad, stamp), at(Codfw, stamp))).expect(s, i, 40)
			h.get(fmt.Sprintf("%s?since=%d", recentPath, stamp)).expect(s, i, 40)
			since := url.QueryEscape(time.UnixMilli(stamp).UTC().Format(time.RFC3339Nano))
			h.get(recentPath+"?since="+since).expect(s, i, 40)
		}
	}
	// The header beats the parameter; an offset is an offset.
	h.get(recentPath+"?since=0001-01-01", "Last-Event-ID", lastEventID(at(Eqiad, ms[3000]))).expect(s, first(ms[3000]), 10)
	h.get(recentPath, "Last-Event-ID", lastEventID(from(Eqiad, s.At(1234).Offset))).expect(s, 1234, 10)
	h.get(recentPath, "Last-Event-ID", lastEventID(from(Eqiad, -2))).expect(s, 0, 10)

	// Resolved topics are named with the offset that was found; the end is -1.
	_, id := h.get(recentPath, "Last-Event-ID", lastEventID(at(Codfw, ms[10]), at(Eqiad, ms[10]))).event()
	if id[0].Topic != Codfw+recentChange || *id[0].Offset != -1 || id[1].Timestamp == nil {
		t.Errorf("id %+v", id)
	}
	// Those with an offset come first.
	_, id = h.get(recentPath, "Last-Event-ID", lastEventID(at(Eqiad, ms[10]), from(Codfw, -1))).event()
	if id[0].Topic != Codfw+recentChange || *id[0].Offset != -1 || id[1].Topic != Eqiad+recentChange {
		t.Errorf("id %+v", id)
	}
	live := func(what string, c *sse) {
		t.Helper()
		tip := s.Tip()
		if f, _ := c.event(); f.Meta.Offset < offsetBase+tip-500 {
			t.Errorf("%s: begins at %d, want live at about %d", what, f.Meta.Offset-offsetBase, tip)
		}
	}
	live("nothing", h.get(recentPath))
	live("latest", h.get(recentPath, "Last-Event-ID", lastEventID(from(Eqiad, -1))))
	live("future", h.get(recentPath, "Last-Event-ID", lastEventID(at(Eqiad, time.Now().Add(time.Hour).UnixMilli()))))
	live("out of range", h.get(recentPath, "Last-Event-ID", lastEventID(from(Eqiad, 5))))
	live("a name", h.get(recentPath, "Last-Event-ID", `["eqiad.mediawiki.recentchange"]`))

	// Of an array with both kinds, the entry that carries both is lost.
	both := at(Eqiad, ms[100])
	both.Offset = new(int64)
	c := h.get(recentPath, "Last-Event-ID", lastEventID(both, at(Codfw, ms[100])))
	got := make(chan message, 1)
	go func() {
		m, _ := c.next()
		got <- m
	}()
	select {
	case m := <-got:
		t.Errorf("an entry with offset and timestamp beside one with a timestamp gets %+v", m)
	case <-time.After(200 * time.Millisecond):
	}
	c.resp.Body.Close()
	<-got
}

func TestWikipediaSendsWhatIsKept(t *testing.T) {
	_, h := openWiki(t, ServerConfig{}, TimelineConfig{}, func(s *WikipediaServer) { s.retention = 10 * time.Second })
	f, _ := h.get(recentPath + "?since=1").event()
	if i := f.Meta.Offset - offsetBase; i < 49_000 || i > 60_000 {
		t.Errorf("begins at event %d, want about 50,000", i)
	}
}

// The id of the idle data centre says "latest", so who sends it back verbatim
// loses what it has produced since; who sends a timestamp for both loses nothing.
func TestWikipediaSwitchesTheDataCentre(t *testing.T) {
	s, h := openWiki(t, ServerConfig{}, TimelineConfig{History: time.Second})
	c := h.get(recentPath + "?since=0001-01-01")
	before := c.expect(s, 0, 500)
	verbatim := lastEventID(before...)
	if err := s.Switch(); err != nil {
		t.Fatal(err)
	}
	var f wireWikipedia
	var id []idPart
	i := int64(500)
	for ; f.Meta.Topic != Codfw+recentChange; i++ {
		f, id = c.event()
		if f.Meta.ID != s.At(i).Identity {
			t.Fatalf("event %d: %+v", i, f)
		}
	}
	if id[0].Topic != Eqiad+recentChange || id[0].Timestamp == nil || id[1].Timestamp == nil {
		t.Errorf("id after the switch: %+v", id)
	}
	c.expect(s, i, 200)

	// Verbatim: the rest of the old one, then the new one from now on.
	r := h.get(recentPath, "Last-Event-ID", verbatim)
	last := int64(0)
	for {
		f, _ := r.event()
		n := f.Meta.Offset - offsetBase
		if f.Meta.Topic == Codfw+recentChange {
			if n <= last+1 {
				t.Errorf("nothing lost: event %d after %d", n, last)
			}
			break
		}
		last = n
	}
	margin := *before[0].Timestamp - 100
	r = h.get(recentPath, "Last-Event-ID", lastEventID(at(Codfw, margin), at(Eqiad, margin)))
	f, _ = r.event()
	n := f.Meta.Offset - offsetBase
	if n > 500 {
		t.Errorf("begins at %d", n)
	}
	r.expect(s, n+1, int(i-n+100))
	if err := s.Switch(); err != nil || s.variant(s.Timeline.Now().Segments[2].Variant).dc != Eqiad {
		t.Errorf("does not switch back: %v", err)
	}
}

func TestWikipediaPaceAgeAndSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 1, Variant: Eqiad})
		s, err := NewWikipedia(ServerConfig{World: NewWorld(1), Timeline: tl})
		h := serve(t, s, err, newMemory())
		begin := time.Now()
		c := h.get(recentPath + "?since=0001-01-01")
		for k := range 900 {
			m, err := c.next()
			if got := time.Since(begin); err != nil || got != time.Duration(k)*time.Second {
				t.Fatalf("event %d after %v: %v", k, got, err)
			}
			_ = m
		}
		if _, err := c.next(); err == nil || time.Since(begin) != 15*time.Minute {
			t.Errorf("the connection lived %v: %v", time.Since(begin), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 1, Variant: Eqiad, Limit: 3})
		s, err := NewWikipedia(ServerConfig{World: NewWorld(1), Timeline: tl})
		c := serve(t, s, err, newMemory()).get(recentPath + "?since=0001-01-01")
		c.expect(s, 0, 3)
		begin := time.Now()
		if _, err := c.next(); err == nil || time.Since(begin) != 2*time.Minute {
			t.Errorf("silence lasted %v: %v", time.Since(begin), err)
		}
	})
}

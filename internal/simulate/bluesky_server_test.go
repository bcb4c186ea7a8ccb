package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/event"
)

// full is a Bluesky server with a past of a minute.
func full(t testing.TB, cfg ServerConfig, tl TimelineConfig, adjust ...func(*BlueskyServer)) (*BlueskyServer, *host) {
	t.Helper()
	tl.Rate, tl.Variant = 1000, "*"
	if tl.History == 0 {
		tl.History = time.Minute
	}
	cfg.World, cfg.Timeline = NewWorld(3), timeline(t, tl)
	s, err := NewBluesky(cfg)
	for _, change := range adjust {
		change(s)
	}
	return s, serve(t, s, err, nil)
}

func TestBlueskyRefusals(t *testing.T) {
	many := strings.Repeat("&wantedCollections=app.bsky.feed.post", 101) // one after all
	different, dids := "", ""
	for k := range 101 {
		different += fmt.Sprintf("&wantedCollections=app.bsky.feed.x%d", k)
	}
	for k := range 10_001 {
		dids += fmt.Sprintf("&wantedDids=did:plc:%d", k)
	}
	for _, c := range []struct{ query, want string }{
		{"cursor=abc", `400 subscribe: invalid cursor: "abc"`},
		{"cursor=1.5", `400 subscribe: invalid cursor: "1.5"`},
		{"cursor=-5", `400 subscribe: invalid cursor: negative value -5`},
		{"wantedCollections=foo", `400 subscribe: invalid options: invalid collection: foo`},
		{"wantedCollections=app.bsky.fo*", `400 subscribe: invalid options: invalid collection: app.bsky.fo*`},
		{"wantedDids=x", `400 subscribe: invalid options: invalid DID: x`},
		{different[1:], `400 subscribe: invalid options: too many wanted collections: > 100`},
		{many[1:], ""},
		{"wantedCollections=app.bsky.*&wantedCollections=a.b.*", ""},
		{"maxMessageSizeBytes=zz", ""},
		{"maxMessageSizeBytes=-1&compress=true", ""},
	} {
		_, h := full(t, ServerConfig{}, TimelineConfig{})
		s, err := h.trySubscribe(c.query)
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%.60s: %s, want %s", c.query, got, c.want)
		}
		if s.resp != nil && s.resp.Header.Get(event.OriginHeader) != "3" {
			t.Errorf("%.60s: no origin header", c.query)
		}
	}
	// 10,001 accounts do not fit a request line.
	if _, err := newFilter(nil, strings.Split(dids[1:], "&"), 0); err == nil {
		t.Error("wantedDids= is no DID")
	}
	var list []string
	for k := range 10_001 {
		list = append(list, fmt.Sprintf("did:plc:%d", k))
	}
	if _, err := newFilter(nil, list, 0); err == nil || !strings.HasSuffix(err.Error(), "too many wanted DIDs: 10001 > 10000") {
		t.Errorf("10,001 accounts: %v", err)
	}
	if _, err := newFilter(nil, list[1:], 0); err != nil {
		t.Errorf("10,000 accounts: %v", err)
	}
}

// expect reads events and holds them against the truth from index i on.
func expect(t *testing.T, c *subscriber, s *BlueskyServer, i int64, n int) []wireBluesky {
	t.Helper()
	var out []wireBluesky
	for k := range int64(n) {
		f := c.event()
		if got, want := f.identity(), s.At(i+k).Identity; got != want {
			t.Fatalf("event %d: %s, want %s", i+k, got, want)
		}
		out = append(out, f)
	}
	return out
}

// A cursor that is too old begins silently at the oldest event
// that is kept: of a minute at 1,000 events/s the last half.
func TestBlueskyCursorsThatAreTooOld(t *testing.T) {
	s, h := full(t, ServerConfig{}, TimelineConfig{}, func(s *BlueskyServer) { s.retention = 30 * time.Second })
	tip := s.Tip()
	id := h.subscribe("cursor=1").event().identity()
	for i := tip - 30_000; i <= s.Tip()-30_000; i++ {
		if s.At(i).Identity == id {
			return
		}
	}
	t.Errorf("a cursor that is too old begins with %s, want events %d to %d", id, tip-30_000, s.Tip()-30_000)
}

func TestBlueskyCursors(t *testing.T) {
	s, h := full(t, ServerConfig{}, TimelineConfig{})
	events := expect(t, h.subscribe("cursor=0"), s, 0, 3000)
	if events[0].Cursor != s.base+1 {
		t.Errorf("first number %d", events[0].Cursor)
	}
	back, same := int64(0), 0
	newest := int64(0)
	for k := 1; k < len(events); k++ {
		if events[k].Cursor != events[k-1].Cursor+1 {
			t.Fatalf("cursor %d after %d", events[k].Cursor, events[k-1].Cursor)
		}
		newest = max(newest, events[k-1].TimeUS)
		back = max(back, newest-events[k].TimeUS)
		if events[k].TimeUS == events[k-1].TimeUS {
			same++
		}
	}
	if same == 0 || back == 0 || back > 33_000 {
		t.Errorf("%d stamps are like the one before, %d µs back at most", same, back)
	}
	expect(t, h.subscribe(fmt.Sprintf("cursor=%d", events[1234].Cursor)), s, 1234, 50)
	// Microseconds: the first in order whose stamp is not before, and then all.
	for _, k := range []int{500, 1234, 2000} {
		at := events[k].TimeUS
		want := slices.IndexFunc(events, func(f wireBluesky) bool { return f.TimeUS >= at })
		expect(t, h.subscribe(fmt.Sprintf("cursor=%d", at)), s, int64(want), 50)
	}
	for _, q := range []string{"", fmt.Sprintf("cursor=%d", s.base+1+s.Tip()+100_000), "cursor=999999999999999",
		fmt.Sprintf("cursor=%d", time.Now().Add(time.Hour).UnixMicro())} {
		tip := s.Tip()
		if f := h.subscribe(q).event(); f.Cursor < s.seq(tip) {
			t.Errorf("%q: begins at %d, want live at %d or later", q, f.Cursor, s.seq(tip))
		}
	}
}

func TestBlueskyFilters(t *testing.T) {
	s, h := full(t, ServerConfig{}, TimelineConfig{})
	all := slices.Collect(s.Items(0, 20_000))
	pick := func(keep func(Item) bool) (ids []string) {
		for _, it := range all {
			if keep(it) {
				ids = append(ids, it.Identity)
			}
		}
		return ids
	}
	someone := url.QueryEscape(all[100].DID)
	accounts := func(it Item) bool { return it.Route == event.Account }
	for query, want := range map[string][]string{
		"wantedCollections=app.bsky.feed.post": pick(func(it Item) bool { return accounts(it) || it.Collection == "app.bsky.feed.post" }),
		"wantedCollections=app.bsky.graph.*&wantedCollections=app.bsky.feed.post": pick(func(it Item) bool {
			return accounts(it) || strings.HasPrefix(it.Collection, "app.bsky.graph.") || it.Collection == "app.bsky.feed.post"
		}),
		"wantedCollections=net.nobody.writes": pick(accounts),
		"wantedDids=" + someone:               pick(func(it Item) bool { return it.DID == all[100].DID }),
		"wantedDids=" + someone + "&wantedCollections=" + all[100].Collection: pick(func(it Item) bool {
			return it.DID == all[100].DID && (accounts(it) || it.Collection == all[100].Collection)
		}),
	} {
		c := h.subscribe("cursor=1&" + query)
		for k, id := range want {
			if f := c.event(); f.identity() != id {
				t.Fatalf("%s: event %d is %s, want %s", query, k, f.identity(), id)
			}
		}
	}
	c := h.subscribe("cursor=1&maxMessageSizeBytes=520")
	dropped := 0
	for _, it := range all[:3000] {
		if frame := s.source("*").(*Bluesky).AppendFrame(nil, it.Index, stampOf(it.Index), s.seq(it.Index)); len(frame) > 520 {
			dropped++
			continue
		}
		if f := c.event(); f.identity() != it.Identity {
			t.Fatalf("event %d is %s, want %s", it.Index, f.identity(), it.Identity)
		}
	}
	if dropped == 0 {
		t.Error("no event was over the limit")
	}
}

func TestBlueskyHelloAndUpdates(t *testing.T) {
	s, h := full(t, ServerConfig{}, TimelineConfig{})
	c := h.subscribe("cursor=1&requireHello=true")
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var quiet net.Error
	if _, p, err := c.ReadMessage(); !errors.As(err, &quiet) || !quiet.Timeout() {
		t.Fatalf("sends before hello: %s %v", p, err)
	}
	c = h.subscribe("cursor=1&requireHello=true")
	for _, m := range []string{`{"type":"whatever"}`, `{"type":"options_update","payload":{"wantedCollections":["app.bsky.feed.post"]}}`} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	for _, it := range slices.Collect(s.Items(0, 500)) {
		if it.Collection == "app.bsky.feed.post" || it.Route == event.Account {
			if f := c.event(); f.identity() != it.Identity {
				t.Fatalf("%s, want %s", f.identity(), it.Identity)
			}
		}
	}
	for m, code := range map[string]int{
		`no JSON`: 1007,
		`{"type":"options_update","payload":{"wantedCollections":["x"]}}`: 1008,
	} {
		c := h.subscribe("requireHello=true")
		if err := c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.read(); !websocket.IsCloseError(err, code) {
			t.Errorf("%s: %v, want close code %d", m, err, code)
		}
	}
}

// The real servers' dictionary is not part of this program.
func TestBlueskyDoesNotCompress(t *testing.T) {
	_, h := full(t, ServerConfig{}, TimelineConfig{})
	if kind, _, err := h.subscribe("cursor=1&compress=true").read(); kind != websocket.TextMessage {
		t.Errorf("kind %d, %v", kind, err)
	}
}

func TestBlueskySaysGoodbye(t *testing.T) {
	tl := timeline(t, TimelineConfig{Rate: 1, Variant: "*"})
	s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl})
	h := serve(t, s, err, nil)
	c := h.subscribe("")
	c.event()
	go s.Close()
	if _, _, err := c.read(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("%v, want close code 1001", err)
	}
}

// Everything in this test takes the time that it says, in a bubble.
func TestBlueskyPaceAndPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 1, Variant: "*"})
		begin := time.Now()
		s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl})
		h := serve(t, s, err, newMemory())
		c := h.subscribe("cursor=1")
		pings := 0
		c.SetPingHandler(func(string) error {
			pings++
			return c.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
		})
		for k := range int64(100) {
			f := c.event()
			if got := time.Since(begin); got != time.Duration(k)*time.Second || f.identity() != s.At(k).Identity {
				t.Fatalf("event %d came after %v", k, got)
			}
		}
		if pings != 3 {
			t.Errorf("%d pings in 99 s, want 3", pings)
		}
	})
}

// The server gives up a client that does not answer its pings.
func TestBlueskyClientsThatDoNotPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 1, Variant: "*"})
		s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl})
		c := serve(t, s, err, newMemory()).subscribe("")
		c.SetPingHandler(func(string) error { return nil })
		begin := time.Now()
		for err == nil && time.Since(begin) < time.Minute {
			_, _, err = c.read()
		}
		lived := time.Since(begin)
		if lived < 35*time.Second || lived > 37*time.Second {
			t.Errorf("lived %v, %v", lived, err)
		}
	})
}

func TestBlueskyPaceAtHighRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 20_000, Variant: "app.bsky.feed.post"})
		begin := time.Now()
		s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl})
		h := serve(t, s, err, newMemory())
		c := h.subscribe("cursor=1")
		segs := tl.Now().Segments
		for k := range int64(20_001) {
			c.event()
			if late := time.Now().UnixMicro() - segs.Time(k); late < 0 || late > 5_000 {
				t.Fatalf("event %d is %d µs late", k, late)
			}
		}
		if got := time.Since(begin).Round(10 * time.Millisecond); got != time.Second {
			t.Errorf("20,001 events took %v", got)
		}
		// A change of the rate is felt at once.
		if err := tl.Change(2, ""); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		for range 10 {
			c.event()
		}
		if got := time.Since(at); got < 4*time.Second || got > 5*time.Second {
			t.Errorf("10 events at 2/s took %v", got)
		}
	})
}

// The server waits for a slow client, but not for one that takes nothing for 5 s.
func TestBlueskySlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(rate float64, pause time.Duration) (got int, err error) {
			tl := timeline(t, TimelineConfig{Rate: rate, Variant: "*"})
			s, e := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl})
			c := serve(t, s, e, newMemory()).subscribe("cursor=1")
			for c.event().identity() != s.At(10).Identity {
			}
			begin := time.Now()
			time.Sleep(pause)
			for time.Since(begin) < pause+time.Second {
				if _, _, err = c.ReadMessage(); err != nil {
					return got, err
				}
				got++
			}
			return got, nil
		}
		if got, err := run(5000, 4900*time.Millisecond); err != nil || got < 24_000 {
			t.Errorf("behind by 24,500: %d events, %v", got, err)
		}
		if got, err := run(5000, 5200*time.Millisecond); err == nil {
			t.Errorf("taking nothing for 5.2 s: %d events", got)
		}
	})
}

func TestBlueskyManyClientsComeAndGo(t *testing.T) {
	s, h := full(t, ServerConfig{}, TimelineConfig{})
	done := make(chan error, 20)
	for g := range uint64(20) {
		go func() {
			r := rand.New(rand.NewPCG(g, 3))
			for range 5 {
				i := r.Int64N(50_000)
				c, err := h.trySubscribe(fmt.Sprintf("cursor=%d", s.seq(i)))
				if err != nil {
					done <- err
					return
				}
				for k := range int64(r.IntN(200)) {
					_, p, err := c.read()
					var f wireBluesky
					if err != nil || json.Unmarshal(p, &f) != nil || f.identity() != s.At(i+k).Identity {
						done <- fmt.Errorf("event %d: %s, %w", i+k, p, err)
						return
					}
				}
				c.Close()
			}
			done <- nil
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

package bluesky

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
)

func TestStart(t *testing.T) {
	const us = 1_791_110_060_549_000
	for _, tt := range []struct {
		name    string
		from    event.Cursor
		numbers numbering
		mode    mode
		cursor  int64
	}{
		{"no position", event.Cursor{Host: "a:443", Scope: "*", Origin: "live"}, unknown, live, 0},
		{"same v1 host: the event itself, not one more", event.Cursor{Host: "a:443", TimeUS: us}, unknown, exact, us},
		{"same v1 host, known as one", event.Cursor{Host: "a:443", TimeUS: us}, unnumbered, exact, us},
		{"same v2 host: 4,096 back", event.Cursor{Host: "a:443", TimeUS: us, Seq: 10_000}, unknown, bySeq, 10_000 - 4096},
		{"same v2 host, near its beginning", event.Cursor{Host: "a:443", TimeUS: us, Seq: 100}, numbered, bySeq, 1},
		{"another host: time, 10 s back", event.Cursor{Host: "b:443", TimeUS: us, Seq: 10_000}, unknown, byTime, us - 10_000_000},
		{"another host, v1 before", event.Cursor{Host: "b:443", TimeUS: us}, numbered, byTime, us - 10_000_000},
		{"v1 host that became v2: its stamps are new", event.Cursor{Host: "a:443", TimeUS: us}, numbered, byTime, us - 10_000_000},
		{"v2 host that became v1: its numbers are gone", event.Cursor{Host: "a:443", TimeUS: us, Seq: 10_000}, unnumbered, byTime, us - 10_000_000},
		{"a number that would be read as a time", event.Cursor{Host: "a:443", TimeUS: us, Seq: 1e15}, numbered, byTime, us - 10_000_000},
		{"hostile number", event.Cursor{Host: "a:443", TimeUS: us, Seq: math.MaxInt64}, numbered, byTime, us - 10_000_000},
	} {
		m, c := start(&tt.from, &host{addr: "a:443", numbers: tt.numbers})
		if m != tt.mode || c != tt.cursor {
			t.Errorf("%s: %v, cursor %d; want %v, %d", tt.name, m, c, tt.mode, tt.cursor)
		}
	}
}

// step is one event that a resumed connection brings.
type step struct {
	route event.Route
	id    string
	seq   int64
	time  int64 // seconds after the old position
}

// The old position is at 100 s and, on a v2 host, at sequence number 50,000; the
// last event stored is W.
func TestWitness(t *testing.T) {
	const base = int64(1_791_110_000_000_000)
	us := func(s int64) int64 { return base + s*1_000_000 }
	v1 := event.Cursor{Host: "a:443", TimeUS: us(100), Last: "W", Scope: "*", Origin: "live"}
	v2 := v1
	v2.Seq = 50_000
	other := v2
	other.Host = "b:443"
	narrow := func(c event.Cursor, last string) event.Cursor {
		c.Last, c.Scope = last, "app.bsky.feed.post"
		return c
	}
	const post, like = "d\nr\napp.bsky.feed.post\nk\ncreate", "d\nr\napp.bsky.feed.like\nk\ncreate"
	D, A, R, S := event.Data, event.Account, event.Reject, event.Skip

	for _, tt := range []struct {
		name  string
		from  event.Cursor
		scope scope
		steps []step
		want  []verdict // after each step
		gap   int       // the step that finds the gap; -1 = none
	}{
		{"v1: the witness comes first", v1, nil, []step{{D, "W", 0, 0}, {D, "x", 0, 1}}, []verdict{found, found}, -1},
		{"v1: too old, the server starts at its oldest event", v1, nil, []step{{D, "x", 0, 3600}, {D, "y", 0, 3601}}, []verdict{waiting, absent}, 1},
		{"v1: one stamp an hour ahead", v1, nil, []step{{D, "x", 0, 3600}, {D, "W", 0, 0}, {D, "y", 0, 1}}, []verdict{waiting, found, found}, -1},
		{"v1: one stamp an hour ahead, and the witness is missing", v1, nil,
			[]step{{D, "x", 0, 1}, {D, "lie", 0, 3600}, {D, "y", 0, 1}, {D, "z", 0, 2}}, []verdict{waiting, waiting, waiting, absent}, 3},
		{"v1: the cutover mixed up 100 ms", v1, nil, []step{{D, "x", 0, 1}, {D, "W", 0, 0}, {D, "y", 0, 4}}, []verdict{waiting, found, found}, -1},
		{"v1: an account event is as good a witness", v1, nil, []step{{A, "W", 0, 0}}, []verdict{found}, -1},
		{"v1: rejects come before it", v1, nil, []step{{R, "sha256:1", 0, -100}, {D, "W", 0, 0}}, []verdict{waiting, found}, -1},
		{"v1: an unknown kind shows the gap as well", v1, nil, []step{{R, "sha256:1", 0, 50}, {R, "sha256:2", 0, 51}}, []verdict{waiting, absent}, 1},

		{"v2: the witness after the rewind", v2, nil, []step{{D, "o", 45_904, -9}, {D, "W", 50_000, 0}, {D, "x", 50_001, 0}}, []verdict{waiting, found, found}, -1},
		{"v2: stamps out of order say nothing", v2, nil, []step{{D, "o", 45_904, 30}, {D, "p", 45_905, 3600}, {D, "W", 50_000, 0}}, []verdict{waiting, waiting, found}, -1},
		{"v2: the server gave numbers out again, W got a later one", v2, nil, []step{{D, "x", 50_000, 0}, {D, "y", 54_096, 4}, {D, "W", 54_096, 9}}, []verdict{waiting, waiting, found}, -1},
		{"v2: W is no longer there", v2, nil, []step{{D, "o", 45_904, -9}, {D, "x", 50_001, 0}, {D, "y", 54_097, 1}, {D, "z", 54_098, 1}, {D, "z2", 54_099, 1}},
			[]verdict{waiting, waiting, waiting, waiting, absent}, 4},
		{"v2: older events come again first", v2, nil, []step{{D, "o", 40_000, -30}, {D, "p", 40_001, -30}, {D, "o", 45_904, -9}, {D, "W", 50_000, 0}},
			[]verdict{waiting, waiting, waiting, found}, -1},
		{"v2: one number far ahead", v2, nil, []step{{D, "lie", 900_000, -9}, {D, "o", 45_904, -9}, {D, "lie2", 900_000, -9}, {D, "W", 50_000, 0}},
			[]verdict{waiting, waiting, waiting, found}, -1},
		{"v2: clamped to 36 h", v2, nil, []step{{D, "x", 9_000_000, 7200}, {D, "y", 9_000_001, 7200}}, []verdict{waiting, absent}, 1},
		{"v2: numbers start anew", v2, nil, []step{{D, "x", 12, 60}, {D, "y", 13, 60}}, []verdict{waiting, absent}, 1},
		{"v2: a reject without a number says nothing", v2, nil, []step{{R, "sha256:1", 0, 3600}, {D, "W", 50_000, 0}}, []verdict{waiting, found}, -1},

		{"other host: within the margin", other, nil, []step{{D, "o", 7, -10}, {D, "W", 8, -3}, {D, "x", 9, 1}}, []verdict{waiting, found, found}, -1},
		{"other host: its clock is 14 s ahead", other, nil, []step{{D, "o", 7, 13}, {D, "W", 8, 14}}, []verdict{waiting, found}, -1},
		{"other host: it is out of reach", other, nil, []step{{D, "o", 7, 5}, {D, "p", 8, 10}, {D, "q", 8, 15}, {D, "x", 9, 16}, {D, "W", 10, 17}},
			[]verdict{waiting, waiting, waiting, absent, absent}, 3},
		{"other host: nothing before hours later", other, nil, []step{{D, "x", 7, 7200}, {D, "y", 8, 7201}}, []verdict{waiting, absent}, 1},

		{"nothing came yet", v2, nil, nil, nil, -1},
		{"no witness: the last thing was far from any event", event.Cursor{Host: "a:443", TimeUS: us(100)}, nil,
			[]step{{D, "x", 0, -1}, {D, "y", 0, 0}, {D, "z", 0, 3}}, []verdict{waiting, unasked, unasked}, -1},
		{"the scope is another, the witness outside", narrow(v1, like), scope{"app.bsky.feed.post"}, []step{{D, "x", 0, 3600}, {D, "y", 0, 3600}}, []verdict{waiting, unasked}, -1},
		{"the scope is another, the witness inside", narrow(v1, post), scope{"app.bsky.feed.*"}, []step{{D, "x", 0, 3600}, {D, "y", 0, 3600}}, []verdict{waiting, absent}, 1},
		{"the scope grew to everything", narrow(v1, post), nil, []step{{D, post, 0, 0}}, []verdict{found}, -1},
		{"account events are in every scope", narrow(v1, "d\naccount\n7"), scope{"app.bsky.feed.like"}, []step{{D, "x", 0, 3600}, {D, "y", 0, 3600}}, []verdict{waiting, absent}, 1},
		{"v2 without a witness: reached by number", narrow(v2, like), scope{"app.bsky.feed.post"},
			[]step{{D, "x", 45_904, 3600}, {D, "y", 47_900, 0}, {D, "y2", 49_900, 0}, {D, "z", 50_003, 0}}, []verdict{waiting, waiting, waiting, unasked}, -1},
		{"v2 without a witness: numbers start anew", narrow(v2, like), scope{"app.bsky.feed.post"}, []step{{D, "x", 12, 60}, {D, "y", 13, 60}}, []verdict{waiting, unasked}, -1},
		{"live", event.Cursor{}, nil, []step{{D, "x", 5, 0}, {S, "", 6, 1}}, []verdict{unasked, unasked}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrack(tt.from, &host{addr: "a:443"}, tt.scope, "live")
			gapAt := -1
			var got []verdict
			for i, s := range tt.steps {
				b := event.NewBatch()
				*b.Add() = event.Event{Route: s.route, ID: []byte(s.id), TimeUS: us(100 + s.time)}
				if tr.add(b, 0, Pos{Seq: s.seq, TimeUS: us(100 + s.time)}) {
					if gapAt >= 0 {
						t.Errorf("step %d: a second gap", i)
					}
					gapAt = i
				}
				got = append(got, tr.verdict)
				// The position stays until there is a verdict, and then it moves.
				c := tr.cursor(b)
				if tr.verdict == waiting && !reflect.DeepEqual(c, tt.from) || tr.verdict != waiting && s.route == event.Data && c.Last != s.id {
					t.Errorf("step %d, verdict %v: cursor %+v", i, tr.verdict, c)
				}
				b.Release()
			}
			if !reflect.DeepEqual(got, tt.want) || gapAt != tt.gap {
				t.Errorf("verdicts %v, gap at step %d; want %v, %d", got, gapAt, tt.want, tt.gap)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	const base = int64(1_791_110_000_000_000)
	type in struct {
		route event.Route
		id    string
		pos   Pos
	}
	at := func(seq, ms int64) Pos { return Pos{seq, base + ms*1000} }
	for _, tt := range []struct {
		name string
		in   []in
		want event.Cursor
	}{
		{"the newest of each", []in{{event.Data, "a", at(7, 50)}, {event.Data, "b", at(8, 20)}}, event.Cursor{Seq: 8, TimeUS: base + 50_000, Last: "b"}},
		{"a reject just behind changes nothing", []in{{event.Data, "z", at(6, 50)}, {event.Data, "a", at(7, 50)}, {event.Reject, "r", at(8, 60)}}, event.Cursor{Seq: 7, TimeUS: base + 50_000, Last: "a"}},
		{"a malformed frame changes nothing", []in{{event.Data, "a", at(7, 50)}, {event.Reject, "r", Pos{}}}, event.Cursor{Seq: 7, TimeUS: base + 50_000, Last: "a"}},
		{"rejects that run away by number", []in{{event.Data, "a", at(7, 50)}, {event.Data, "b", at(8, 50)}, {event.Reject, "r", at(9+4097, 60)}, {event.Reject, "r", at(9+4098, 60)}, {event.Reject, "r", at(9+4099, 60)}},
			event.Cursor{Seq: 4108, TimeUS: base + 60_000}},
		{"numbers that are handed out again", []in{{event.Data, "a", at(7000, 50)}, {event.Data, "b", at(7001, 50)}, {event.Data, "c", at(3000, 60)}, {event.Data, "d", at(3001, 70)}},
			event.Cursor{Seq: 7001, TimeUS: base + 70_000, Last: "d"}},
		{"rejects that run away by time", []in{{event.Data, "a", at(0, 50)}, {event.Reject, "r", at(0, 9000)}, {event.Reject, "r", at(0, 9001)}, {event.Reject, "r", at(0, 9002)}}, event.Cursor{TimeUS: base + 9_002_000}},
		{"an event after them", []in{{event.Data, "a", at(0, 50)}, {event.Reject, "r", at(0, 9000)}, {event.Reject, "r", at(0, 9001)}, {event.Data, "b", at(0, 9002)}}, event.Cursor{TimeUS: base + 9_002_000, Last: "b"}},
		{"one stamp an hour ahead", []in{{event.Data, "a", at(0, 50)}, {event.Data, "lie", at(0, 3_600_000)}, {event.Data, "b", at(0, 60)}, {event.Data, "lie", at(0, 3_600_001)}}, event.Cursor{TimeUS: base + 60_000, Last: "b"}},
		{"the first stamp an hour ahead", []in{{event.Data, "lie", at(0, 3_600_000)}, {event.Data, "a", at(0, 50)}, {event.Data, "b", at(0, 60)}}, event.Cursor{TimeUS: base + 60_000, Last: "b"}},
		{"one number far ahead", []in{{event.Data, "a", at(7, 50)}, {event.Data, "lie", at(9_000_000, 50)}, {event.Data, "b", at(8, 60)}}, event.Cursor{Seq: 8, TimeUS: base + 60_000, Last: "b"}},
		{"an hour in which nothing happened", []in{{event.Data, "a", at(7, 50)}, {event.Data, "b", at(8, 3_600_000)}, {event.Data, "c", at(9, 7_200_000)}, {event.Data, "d", at(10, 10_800_000)}},
			event.Cursor{Seq: 10, TimeUS: base + 3_600_000_000, Last: "b"}},
		{"rejects only", []in{{event.Reject, "r", at(0, 50)}}, event.Cursor{TimeUS: base + 50_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrack(event.Cursor{}, &host{addr: "a:443"}, nil, "live")
			b := event.NewBatch()
			defer b.Release()
			for i, in := range tt.in {
				*b.Add() = event.Event{Route: in.route, ID: []byte(in.id)}
				tr.add(b, i, in.pos)
			}
			tt.want.Host, tt.want.Scope, tt.want.Origin = "a:443", "*", "live"
			if c := tr.cursor(b); !reflect.DeepEqual(c, tt.want) {
				t.Errorf("cursor %+v, want %+v", c, tt.want)
			}
		})
	}
}

// The position of one server says nothing about another's clock or numbers.
func TestPositionStartsAnewOnAnotherHost(t *testing.T) {
	tr := newTrack(event.Cursor{Host: "b:443", Seq: 900_000, TimeUS: t0 + 5_000_000, Last: "W"}, &host{addr: "a:443"}, nil, "live")
	b := event.NewBatch()
	defer b.Release()
	*b.Add() = event.Event{Route: event.Data, ID: []byte("W")}
	tr.add(b, 0, Pos{Seq: 12, TimeUS: t0})
	want := event.Cursor{Host: "a:443", Seq: 12, TimeUS: t0, Last: "W", Scope: "*", Origin: "live"}
	if c := tr.cursor(b); !reflect.DeepEqual(c, want) {
		t.Errorf("cursor %+v, want %+v", c, want)
	}
}

func TestScope(t *testing.T) {
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("app.bsky.x%d", i)
	}
	for _, tt := range []struct {
		in   []string
		want string // the scope's name; empty = an error
	}{
		{nil, "*"}, {[]string{"*"}, "*"}, {[]string{"app.bsky.feed.post", "*"}, "*"},
		{[]string{"b.c.d", "a.b.c", "b.c.d"}, "a.b.c,b.c.d"}, {[]string{"app.bsky.feed.*"}, "app.bsky.feed.*"},
		{[]string{""}, ""}, {[]string{"post"}, ""}, {[]string{"app.bsky.*.post"}, ""}, {[]string{"app..post"}, ""}, {[]string{"app.bsky.feed.post "}, ""},
		{[]string{"app.bsky/feed"}, ""}, {[]string{"a." + strings.Repeat("x", 400)}, ""}, {[]string{".*"}, ""}, {many, ""}, {many[:100], strings.Join(sorted(many[:100]), ",")},
	} {
		s, err := parseScope(tt.in)
		if (err != nil) != (tt.want == "") || err == nil && s.String() != tt.want {
			t.Errorf("%.80q: scope %q, error %v; want %q", tt.in, s, err, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"another scheme":       {URLs: []string{"https://example.org/subscribe"}},
		"no scheme":            {URLs: []string{"jetstream.example.org"}},
		"no host":              {URLs: []string{"wss:///subscribe"}},
		"a password":           {URLs: []string{"wss://me:s3cret@example.org/subscribe"}},
		"a broken URL":         {URLs: []string{"wss://me:s3cret@example.org:port/"}},
		"the new wire format":  {URLs: []string{"wss://example.org/xrpc/network.bsky.jetstream.subscribeEvents"}},
		"an own cursor":        {URLs: []string{"wss://example.org/subscribe?cursor=1"}},
		"a filter by size":     {URLs: []string{"wss://example.org/subscribe?maxMessageSizeBytes=1"}},
		"a filter by account":  {URLs: []string{"wss://example.org/subscribe?wantedDids=did:plc:a"}},
		"a filter, coded":      {URLs: []string{"wss://example.org/subscribe?x=1&wanted%44ids="}},
		"compression, no file": {Compress: true},
		"compression, no dict": {Compress: true, Dictionary: []byte("hello")},
		"a bad collection":     {Collections: []string{"post"}},
	} {
		_, err := New(cfg)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v tells the password", name, err)
		}
	}
}

func TestHostsAreNamedWithTheirPort(t *testing.T) {
	for raw, want := range map[string]string{
		"wss://a.example": "a.example:443/subscribe", "ws://a.example/": "a.example:80/subscribe", "ws://127.0.0.1:7788/subscribe": "127.0.0.1:7788/subscribe",
		"wss://[::1]/x?requireSomething=1": "[::1]:443/x",
	} {
		hosts, err := parseHosts([]string{raw})
		if err != nil {
			t.Fatal(err)
		}
		if got := hosts[0].addr + hosts[0].url.Path; got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
	if hosts, err := parseHosts(nil); err != nil || len(hosts) != 6 || hosts[0].addr != "jetstream.us-east.bsky.network:443" {
		t.Errorf("defaults: %d hosts, %v", len(hosts), err)
	}
}

// query returns the cursor parameter of a request, "" where there is none.
func query(u *url.URL) string { return u.Query().Get("cursor") }

// A whole resume on one v1 server: what the server is asked, what is emitted,
// and where the cursor goes.
func TestResumeOnTheSameServer(t *testing.T) {
	srv := serve(t,
		func(p *peer) { p.text(v1(1, t0+1), v1(2, t0+2)); p.bye() },
		func(p *peer) { p.text(v1(2, t0+2), v1(3, t0+3)); p.bye() },
		func(p *peer) { p.text(v1(9, t0+9_000_000), v1(10, t0+9_000_000)); p.bye() })
	s := open(t, Config{}, srv.url())
	first, _ := streamOnce(t, s, event.Cursor{})
	second, _ := streamOnce(t, s, first.cursor(t))
	if got, want := query(srv.request(1).URL), "1791110060549002"; got != want {
		t.Errorf("resumed at %s, want %s: cursors are inclusive", got, want)
	}
	if got, want := second.ids(), []string{commitID(2), commitID(3)}; !reflect.DeepEqual(got, want) {
		t.Errorf("second connection brought %q, want %q", got, want)
	}
	third, _ := streamOnce(t, s, second.cursor(t))
	if got, want := third.ids(), []string{commitID(9), commitID(10), "GAP"}; !reflect.DeepEqual(got, want) {
		t.Errorf("third connection brought %q, want %q", got, want)
	}
	if c := third.cursor(t); c.Last != commitID(10) || c.TimeUS != t0+9_000_000 {
		t.Errorf("cursor after the gap %+v", c)
	}
	if st := s.Status(); st.Gaps != 1 || st.Frames != 6 || st.Reconnects != 2 || st.Connected {
		t.Errorf("status %+v", st)
	}
}

func TestResumeByNumberAndOnAnotherServer(t *testing.T) {
	a := serve(t,
		func(p *peer) { p.text(v2(70_001, 1, t0+5), v2(70_002, 2, t0+1)); p.bye() },
		func(p *peer) { p.text(v2(70_001, 1, t0+5), v2(70_002, 2, t0+1), v2(70_003, 3, t0+3)); p.bye() })
	b := serve(t, func(p *peer) { p.text(v2(5, 3, t0-2), v2(6, 4, t0)); p.bye() })
	both := open(t, Config{}, a.url(), b.url())
	first, _ := streamOnce(t, both, event.Cursor{})
	if c := first.cursor(t); c.Seq != 70_002 || c.TimeUS != t0+5 {
		t.Fatalf("cursor %+v", c)
	}
	second, _ := streamOnce(t, both, first.cursor(t))
	if got, want := query(a.request(1).URL), "65906"; got != want {
		t.Errorf("resumed at %s, want %s", got, want)
	}
	other := open(t, Config{}, b.url())
	third, _ := streamOnce(t, other, second.cursor(t))
	// 10 s before the newest time, which a carried the first time only.
	if got, want := query(b.request(0).URL), "1791110050549005"; got != want {
		t.Errorf("on another host resumed at %s, want %s", got, want)
	}
	if got, want := third.ids(), []string{commitID(3), commitID(4)}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
	if c := third.cursor(t); c.Host != b.addr() || c.Seq != 6 || c.TimeUS != t0 {
		t.Errorf("cursor %+v", c)
	}
}

// A host can take up another protocol: "v2 takes over the v1 URLs".
func TestResumeWhenTheServerRenumbers(t *testing.T) {
	for name, from := range map[string]event.Cursor{
		"v1 to v2": {TimeUS: t0, Last: commitID(1)},
		"v2 to v1": {TimeUS: t0, Last: commitID(1), Seq: 12_000},
	} {
		t.Run(name, func(t *testing.T) {
			step := func(p *peer) { p.text(`{"broken`, v2(7, 1, t0-5_000_000), v2(8, 2, t0)); p.bye() }
			if from.Seq != 0 {
				step = func(p *peer) { p.text(`{"broken`, v1(1, t0-5_000_000), v1(2, t0)); p.bye() }
			}
			srv := serve(t, step, step)
			from.Host = srv.addr()
			s := open(t, Config{}, srv.url(), "ws://127.0.0.1:1/subscribe")
			out, err := streamOnce(t, s, from)
			if !errors.Is(err, errRenumbered) || len(out.ids()) > 1 {
				t.Fatalf("first connection: %q, %v; want nothing but the broken frame, %v", out.ids(), err, errRenumbered)
			}
			out, _ = streamOnce(t, s, from)
			if got, want := query(srv.request(1).URL), "1791110050549000"; got != want {
				t.Errorf("second connection resumed at %s, want %s", got, want)
			}
			if got := out.ids(); len(got) != 3 || got[1] != commitID(1) || got[2] != commitID(2) {
				t.Errorf("second connection brought %q", got)
			}
		})
	}
}

// A crash before the verdict must meet the same gap again, under the same name.
func TestGapIsNotedOnceItCannotBeLost(t *testing.T) {
	srv := serve(t,
		func(p *peer) { p.text(v2(5, 11, t0-1)); p.bye() }, // not yet past the old position: no verdict
		func(p *peer) {
			p.text(v2(5, 11, t0-1), v2(6, 12, t0+60_000_000), v2(7, 13, t0+60_000_000), v2(8, 14, t0+60_000_000))
			p.bye()
		}, // past it
		func(p *peer) {
			p.text(v2(5, 11, t0-1), v2(6, 12, t0+60_000_000), v2(7, 13, t0+60_000_000), v2(8, 14, t0+60_000_000))
			p.bye()
		})
	s := open(t, Config{}, srv.url())
	from := event.Cursor{Host: "elsewhere:443", TimeUS: t0, Last: commitID(1), Scope: "*", Origin: "live"}
	first, _ := streamOnce(t, s, from)
	if c := first.cursor(t); !reflect.DeepEqual(c, from) {
		t.Errorf("cursor %+v before the verdict, want the old one", c)
	}
	second, _ := streamOnce(t, s, from)
	if got, want := second.ids(), []string{commitID(11), commitID(12), commitID(13), commitID(14), "GAP"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("brought %q, want %q", got, want)
	}
	third, _ := streamOnce(t, s, from) // as if what second brought had not been committed
	if a, b := second.all()[4].ID, third.all()[4].ID; a != b || a == "" {
		t.Errorf("the same gap is called %q and %q", a, b)
	}
}

// Until the overlap is seen the position stays the old server's; the events are the new one's.
func TestEventsAreOfTheServerThatSentThem(t *testing.T) {
	srv := serve(t, func(p *peer) { p.text(v2(5, 11, t0-1)); p.bye() })
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{Host: "elsewhere:443", TimeUS: t0, Last: commitID(1), Scope: "*", Origin: "live"})
	if c := out.cursor(t); c.Host != "elsewhere:443" || len(out.hosts) != 1 || out.hosts[0] != srv.addr() {
		t.Errorf("events of %q, position of %s; want %s and the old one", out.hosts, c.Host, srv.addr())
	}
}

// A position ahead of this machine's clock, as an older weir could commit after one wrong
// stamp: the server takes it for the future and sends what is new. That is noted at once,
// and not when the clock has caught up.
func TestPositionInTheFutureIsAGap(t *testing.T) {
	now := time.Now().UnixMicro()
	srv := serve(t, func(p *peer) { p.text(v1(8, now), v1(9, now+1)); p.bye() })
	s := open(t, Config{}, srv.url())
	out, _ := streamOnce(t, s, event.Cursor{Host: srv.addr(), TimeUS: now + time.Hour.Microseconds(), Last: commitID(1), Scope: "*", Origin: "live"})
	if got, want := out.ids(), []string{commitID(8), commitID(9), "GAP"}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
	if c := out.cursor(t); c.TimeUS != now+1 || c.Last != commitID(9) {
		t.Errorf("cursor %+v, want that of the last event", c)
	}
}

// One stamp an hour ahead from a v1 server, and then a short outage: what happened
// meanwhile must be asked for.
func TestOneStampAheadDoesNotSteerTheResume(t *testing.T) {
	hour := time.Hour.Microseconds()
	srv := serve(t,
		func(p *peer) {
			p.text(v1(1, t0+1), v1(2, t0+2), v1(3, t0+hour), v1(4, t0+4), v1(5, t0+hour+1))
			p.bye()
		},
		func(p *peer) { p.text(v1(4, t0+4), v1(6, t0+6)); p.bye() })
	s := open(t, Config{}, srv.url())
	first, _ := streamOnce(t, s, event.Cursor{})
	second, _ := streamOnce(t, s, first.cursor(t))
	if got, want := query(srv.request(1).URL), strconv.FormatInt(t0+4, 10); got != want {
		t.Errorf("resumed at %s, want %s", got, want)
	}
	if got, want := second.ids(), []string{commitID(4), commitID(6)}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
}

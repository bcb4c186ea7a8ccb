package wikipedia

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
)

const (
	eqiad = "eqiad.mediawiki.recentchange"
	codfw = "codfw.mediawiki.recentchange"
)

// step is one event that a resumed connection brings: in partition own of the
// position, so many seconds after the witness.
type step struct {
	route event.Route
	id    string
	own   int
	after int64
}

// The last event stored is W, in eqiad at t0.
func TestWitness(t *testing.T) {
	D, R, S := event.Data, event.Reject, event.Skip
	from := event.Cursor{Host: "h:443", TimeUS: t0 * 1000, Last: "W", Scope: "recentchange", Origin: "live",
		Partitions: []event.Partition{part(eqiad, 0, t0), part(codfw, 0, t0-3_600_000)}}
	with := func(f func(*event.Cursor)) event.Cursor { c := from.Clone(); f(&c); return c }
	for _, tt := range []struct {
		name  string
		from  event.Cursor
		steps []step
		wait  []bool // after each step: still no verdict
		gap   int    // the step that finds the gap; -1 = none
	}{
		{"within the margin", from, []step{{D, "o", 0, -15}, {D, "W", 0, 0}, {D, "x", 0, 60}}, []bool{true, false, false}, -1},
		{"out of order by a few ms", from, []step{{D, "x", 0, 4}, {D, "W", 0, 0}}, []bool{true, false}, -1},
		{"no longer kept", from, []step{{D, "x", 0, 3600}, {D, "y", 0, 3601}}, []bool{false, false}, 0},
		{"just past", from, []step{{D, "x", 0, 5}, {D, "y", 0, 6}}, []bool{true, false}, 1},
		{"a canary shows it as well", from, []step{{S, "c", 0, 60}}, []bool{false}, 0},
		{"the other data centre runs ahead", from, []step{{D, "x", 1, 200}, {D, "y", 1, 299}, {D, "W", 0, 0}}, []bool{true, true, false}, -1},
		{"the other data centre took over, and the witness is gone", from, []step{{D, "x", 1, 10}, {D, "y", 1, 301}}, []bool{true, false}, 1},
		{"a canary had moved the other one on", with(func(c *event.Cursor) { c.Partitions[1].TimestampMS = t0 + 7_200_000 }),
			[]step{{S, "c", 1, 7200}, {D, "W", 0, 0}}, []bool{true, false}, -1},
		{"a reject without a position", from, []step{{R, "sha256:1", -1, 0}, {D, "W", 0, 0}}, []bool{true, false}, -1},
		{"nothing came yet", from, nil, nil, -1},
		{"no witness", with(func(c *event.Cursor) { c.Last = "" }), []step{{D, "x", 0, 3600}}, []bool{false}, -1},
		{"another stream was asked for", with(func(c *event.Cursor) { c.Scope = "page-create" }), []step{{D, "x", 0, 3600}}, []bool{false}, -1},
		{"no position", event.Cursor{}, []step{{D, "x", 0, 3600}}, []bool{false}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTrack(tt.from, "h:443", "recentchange", "live")
			gapAt := -1
			var wait []bool
			for i, s := range tt.steps {
				if len(tt.from.Partitions) > 0 && s.own >= 0 {
					// As the id of that event says it.
					p := &tr.pos.known[s.own]
					p.TimestampMS = max(p.TimestampMS, t0+s.after*1000)
				} else if s.own >= 0 && len(tr.pos.known) == 0 {
					tr.pos.known = []event.Partition{part(eqiad, 0, t0)}
				}
				b := event.NewBatch()
				*b.Add() = event.Event{Route: s.route, ID: []byte(s.id), TimeUS: (t0 + s.after*1000) * 1000}
				if tr.add(b, 0, s.own, time.UnixMilli(t0)) {
					if gapAt >= 0 {
						t.Errorf("step %d: a second gap", i)
					}
					gapAt = i
				}
				wait = append(wait, tr.waiting)
				c := tr.cursor(b, time.UnixMilli(t0))
				if tr.waiting && !reflect.DeepEqual(c, tt.from) || !tr.waiting && s.route == event.Data && c.Last != s.id {
					t.Errorf("step %d, waiting %v: cursor %+v", i, tr.waiting, c)
				}
				b.Release()
			}
			if !reflect.DeepEqual(wait, tt.wait) || gapAt != tt.gap {
				t.Errorf("waiting %v, gap at step %d; want %v, %d", wait, gapAt, tt.wait, tt.gap)
			}
		})
	}
}

// The first partition of a cursor is the one that the last event came from:
// there, and only there, its absence shows quickly.
func TestWitnessIsLookedForInItsOwnPartition(t *testing.T) {
	both := []string{message(bothID(t0, t0-9000), editData(1, t0)), message(bothID(t0, t0+1), editData(2, t0+1))}
	srv := serve(t,
		func(p *peer) { p.send(both...) },
		func(p *peer) { p.send(message(bothID(t0+6000, t0+1), editData(3, t0+6000)), both[1]) },
		func(p *peer) { p.send(both...) },
		func(p *peer) { p.send(message(bothID(t0, t0+6100), editData(4, t0+6100))) })
	s := open(t, Config{}, srv.url())
	first, _ := streamOnce(t, s, event.Cursor{})
	if got, want := first.cursor(t).Partitions, []event.Partition{part(codfw, 0, t0+2), part(eqiad, 0, t0+1)}; !reflect.DeepEqual(got, want) {
		t.Errorf("partitions %v, want %v", got, want)
	}
	// eqiad runs 6 s ahead before codfw brings the witness.
	second, _ := streamOnce(t, s, first.cursor(t))
	if got, want := second.ids(), []string{uuid(3), uuid(2)}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
	again, _ := streamOnce(t, s, event.Cursor{})
	// codfw itself is 6 s past it.
	last, _ := streamOnce(t, s, again.cursor(t))
	if got, want := last.ids(), []string{uuid(4), "GAP"}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
}

// Canaries and rejects as the last thing of a connection: the position moves on,
// and nobody waits for something that will not come.
func TestLastThingWasNoEvent(t *testing.T) {
	srv := serve(t,
		func(p *peer) { p.send(edit(1, t0), message(eqiadID(t0+2000), canaryData(2, t0+2000))) },
		func(p *peer) {
			p.send(edit(1, t0), message(eqiadID(t0+60_000), canaryData(3, t0+60_000)),
				message(eqiadID(t0+60_001), canaryData(5, t0+60_001)), message(eqiadID(t0+60_002), canaryData(6, t0+60_002)))
		},
		func(p *peer) { p.send(edit(4, t0+90_000)) })
	s := open(t, Config{}, srv.url())
	first, _ := streamOnce(t, s, event.Cursor{})
	if c := first.cursor(t); c.Last != uuid(1) || c.Partitions[0].TimestampMS != t0+2001 {
		t.Errorf("after a canary 2 s later: %+v; the last event is still within the margin", c)
	}
	second, _ := streamOnce(t, s, first.cursor(t))
	if c := second.cursor(t); c.Last != "" || c.Partitions[0].TimestampMS != t0+60_003 {
		t.Errorf("after a canary a minute later: %+v; the last event will not come again", c)
	}
	third, _ := streamOnce(t, s, second.cursor(t))
	if got, want := third.ids(), []string{uuid(4)}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q: a false alarm", got, want)
	}
	if st := s.Status(); st.Canaries != 4 || st.Gaps != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestGapIsNotedOnceItCannotBeLost(t *testing.T) {
	late := int64(t0 + 8*24*3_600_000)
	srv := serve(t,
		func(p *peer) { p.send(edit(1, t0)) },
		func(p *peer) { p.send(edit(5, t0+1000)) }, // no verdict yet
		func(p *peer) { p.send(edit(5, t0+1000), edit(6, late), edit(7, late+1), edit(8, late+2)) },
		func(p *peer) { p.send(edit(5, t0+1000), edit(6, late), edit(7, late+1), edit(8, late+2)) })
	s := open(t, Config{}, srv.url())
	zero, _ := streamOnce(t, s, event.Cursor{})
	from := zero.cursor(t)
	first, _ := streamOnce(t, s, from)
	if c := first.cursor(t); !reflect.DeepEqual(c, from) {
		t.Errorf("cursor %+v before the verdict, want the old one", c)
	}
	second, _ := streamOnce(t, s, from)
	third, _ := streamOnce(t, s, from)
	if got, want := second.ids(), []string{uuid(5), uuid(6), uuid(7), uuid(8), "GAP"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("brought %q, want %q", got, want)
	}
	if a, b := second.all()[4].ID, third.all()[4].ID; a != b || a == "" {
		t.Errorf("the same gap is called %q and %q", a, b)
	}
	var gap map[string]any
	if err := json.Unmarshal([]byte(second.all()[4].Value), &gap); err != nil || gap["last"] != uuid(1) || gap["from"] != "2026-10-04T10:34:20.549Z" || gap["to"] != "2026-10-04T10:34:21.549Z" {
		t.Errorf("gap %v, %v", gap, err)
	}
}

// rec is a record in one of the two data centres' topics.
type rec struct {
	topic  string
	offset int64
	ms     int64
	n      int
}

// eventStreams behaves as EventStreams does, as far as resuming goes: an id
// carries the record's time plus one millisecond; a partition that has had none
// is at offset -1, its latest when one connects; a time means the first offset at
// or after which a record is as new (Kafka's offsetsForTimes).
type eventStreams struct {
	log  []rec // in the order of production
	have int   // how many of them exist by now
	send int   // how many more a connection sends before it is cut
}

func (s *eventStreams) serve(p *peer) {
	at := map[string]int64{eqiad: -1, codfw: -1}
	times := map[string]int64{}
	var last []struct {
		Topic     string
		Timestamp *int64
	}
	if h := p.r.Header.Get("Last-Event-ID"); h != "" {
		if err := json.Unmarshal([]byte(h), &last); err != nil {
			http.Error(p, err.Error(), http.StatusBadRequest)
			return
		}
	}
	for topic := range at {
		at[topic] = int64(len(s.of(topic, s.have)))
	}
	for _, e := range last {
		if e.Timestamp == nil {
			continue
		}
		for _, r := range s.of(e.Topic, s.have) {
			if r.ms >= *e.Timestamp {
				at[e.Topic] = r.offset
				break
			}
		}
	}
	// What is already there, and then what comes while the connection lasts.
	var queue []rec
	for i, r := range s.log[:min(s.have+s.send, len(s.log))] {
		if r.offset >= at[r.topic] {
			queue = append(queue, r)
			if i >= s.have {
				s.have = i + 1
			}
		}
		if len(queue) == s.send {
			break
		}
	}
	p.send(":ok\n\n")
	for _, r := range queue {
		times[r.topic] = r.ms + 1
		position := func(topic string) string {
			if ms, ok := times[topic]; ok {
				return ts(ms)
			}
			return silent
		}
		p.send(message(ids(entryOf(eqiad, 0, position(eqiad)), entryOf(codfw, 0, position(codfw))), editData(r.n, r.ms)))
	}
}

func (s *eventStreams) of(topic string, have int) (out []rec) {
	for _, r := range s.log[:have] {
		if r.topic == topic {
			out = append(out, r)
		}
	}
	return out
}

// TestNothingIsLostOverResumes cuts connections at random while records share
// milliseconds, come out of order and the data centre changes, some while nobody
// is connected. Every record from the first one received on must arrive.
func TestNothingIsLostOverResumes(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			srv := &eventStreams{}
			offsets := map[string]int64{}
			active, ms := eqiad, int64(t0)
			for n := range 400 {
				if rng.IntN(40) == 0 {
					active = map[string]string{eqiad: codfw, codfw: eqiad}[active]
				}
				ms += int64(rng.IntN(3)) * int64(rng.IntN(4000)) // a third in the same millisecond
				srv.log = append(srv.log, rec{active, offsets[active], ms - int64(rng.IntN(4)), n})
				offsets[active]++
			}
			srv.have = 5
			script := serve(t, slices.Repeat([]func(*peer){srv.serve}, 500)...)
			s := open(t, Config{}, script.url())
			var from event.Cursor
			got := map[string]bool{}
			first, resumes := -1, 0
			for round := 0; !got[uuid(len(srv.log)-1)] && round < 500; round++ {
				srv.have = min(srv.have+rng.IntN(4), len(srv.log)) // while nobody is connected
				srv.send = 1 + rng.IntN(40)
				if from.Last != "" {
					srv.send += 30 // get past what is sent again
					resumes++
				}
				out, err := streamOnce(t, s, from)
				if err != nil {
					t.Fatal(err)
				}
				for i, ev := range out.all() {
					if ev.Route == event.Gap {
						t.Fatalf("false alarm: %s", ev.Value)
					}
					if first < 0 && i == 0 {
						_, _ = fmt.Sscanf(ev.ID, "00000000-0000-4000-8000-%d", &first)
					}
					got[ev.ID] = true
				}
				if len(out.ids()) > 0 {
					from = out.cursor(t)
				}
			}
			for _, r := range srv.log[max(first, 0):srv.have] {
				if !got[uuid(r.n)] {
					t.Fatalf("record %d (%s, %d ms) was lost", r.n, r.topic, r.ms)
				}
			}
			if resumes < 5 || first < 0 || srv.have < len(srv.log) {
				t.Fatalf("the run proves little: first %d, %d of %d, %d resumes", first, srv.have, len(srv.log), resumes)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"another scheme":  {URL: "wss://example.org/v2/stream/recentchange"},
		"no scheme":       {URL: "stream.example.org"},
		"no host":         {URL: "https:///v2/stream/recentchange"},
		"a password":      {URL: "https://me:s3cret@example.org/"},
		"a broken URL":    {URL: "https://me:s3cret@example.org:port/"},
		"another stream":  {URL: "https://example.org/v2/stream/mediawiki.page_change.v1"},
		"one more":        {URL: "https://example.org/v2/stream/recentchange,page-create"},
		"one more, coded": {URL: "https://example.org/v2/stream/recentchange%2Cpage-create?since=2026-01-01"},
		"a line break":    {UserAgent: "weir\r\nX: y"},
	} {
		_, err := New(cfg)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if s := err.Error(); len(s) == 0 || slices.Contains([]rune(s), '\n') || containsSecret(s) {
			t.Errorf("%s: %q", name, s)
		}
	}
	s, err := New(Config{URL: "http://[::1]:7777"})
	if err != nil || s.addr != "[::1]:7777" || s.url.Path != "/v2/stream/recentchange" || s.scope != "recentchange" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = New(Config{URL: "https://example.org/v2/stream/recentchange,mediawiki.recentchange,recentchange"}); err != nil || s.addr != "example.org:443" || s.scope != "mediawiki.recentchange,recentchange" {
		t.Errorf("%+v, %v", s, err)
	}
}

// One id an hour ahead, and a short outage: what happened meanwhile is asked for. One
// event time an hour ahead does not take the clock of the duplicate filter along.
func TestOneStampAheadDoesNotSteerTheResume(t *testing.T) {
	const hour = 3_600_000
	lie := editData(3, t0+3+hour)
	srv := serve(t,
		func(p *peer) { p.send(edit(1, t0), edit(2, t0+1), message(eqiadID(t0+2+hour), lie), edit(4, t0+3)) },
		func(p *peer) { p.send(edit(4, t0+3), edit(5, t0+4)) })
	s := open(t, Config{}, srv.url())
	first, _ := streamOnce(t, s, event.Cursor{})
	c := first.cursor(t)
	if c.TimeUS != (t0+3)*1000 || c.Partitions[0].TimestampMS != t0+4 || c.Last != uuid(4) {
		t.Errorf("cursor %+v, want that of the last event", c)
	}
	second, _ := streamOnce(t, s, c)
	if got, want := second.ids(), []string{uuid(4), uuid(5)}; !reflect.DeepEqual(got, want) {
		t.Errorf("brought %q, want %q", got, want)
	}
}

package simulate

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzPlan reads plans of faults. What is taken is within its bounds.
func FuzzPlan(f *testing.F) {
	f.Add(" cut@5000,wikipedia:stall@900:30s, 429@2:1s,malformed/1000,oversize@7:6MiB,gap@10:50,,binary/3,switch@4")
	f.Add("oversize@5:1000MiB")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := ParsePlan(text)
		if err != nil {
			return
		}
		for _, x := range plan {
			if x.N < 0 || x.Every && x.N < 1 || x.Value < 0 || x.Name == FaultOversize && x.Value > 256<<20 {
				t.Errorf("%q has %+v", text, x)
			}
		}
		plan.Faults("bluesky")
	})
}

// FuzzTimeline reads files of a timeline of any bytes. In one that is taken, times increase with the
// index, and the index at the time of an event is behind it.
func FuzzTimeline(f *testing.F) {
	f.Add([]byte(`{"version":1,"world":"w","segments":[{"start_us":5,"index":0,"rate":10,"variant":"v"},{"start_us":1000005,"index":10,"rate":0.5,"variant":""}],"horizon_us":9}`), int64(3))
	f.Add([]byte(`{"version":1,"world":"w","segments":[{"start_us":9223372036854775807,"index":9223372036854775807,"rate":20000}],"horizon_us":9223372036854775807}`), int64(-1))
	f.Add([]byte(`{"version":1,"world":"w","segments":[{"start_us":0,"index":5,"rate":1},{"start_us":1,"index":5,"rate":1}]}`), int64(5))
	f.Add([]byte(`{"version":1,"world":"w","segments":[{"start_us":-1,"index":0,"rate":1}]}`), int64(0))
	f.Add([]byte(`{"version":2}`), int64(0))
	f.Add([]byte(`{"version":1,"world":"w"`), int64(0))
	f.Fuzz(func(t *testing.T, file []byte, index int64) {
		line := &Timeline{cfg: TimelineConfig{World: "w"}}
		if err := line.decode(bytes.NewReader(file)); err != nil {
			if line.segs != nil || line.horizon != 0 {
				t.Errorf("%q is refused, and taken as %v", file, line.segs)
			}
			return
		}
		s := line.segs
		for k := range s {
			if s[k].StartUS < 0 || s[k].Index < 0 || !(s[k].Rate >= MinRate && s[k].Rate <= MaxRate) || k > 0 && (s[k].StartUS <= s[k-1].StartUS || s[k].Index < s[k-1].Index) {
				t.Fatalf("%q is taken", file)
			}
		}
		last := s[len(s)-1]
		if index < s[0].Index || index > last.Index+1e9 || last.Index > 1<<61 || last.StartUS > 1<<61 {
			return // before the first event, or beyond any time
		}
		at, next := s.Time(index), s.Time(index+1)
		happened := index < s.end(s.Of(index)) && (s.Of(index) == &s[len(s)-1] || at < s[slices.IndexFunc(s, func(g Segment) bool { return g.Index > index })].StartUS)
		if happened && (next <= at || s.Until(at) <= index) {
			t.Errorf("%q: event %d at %d, the next at %d, until then %d", file, index, at, next, s.Until(at))
		}
	})
}

// FuzzSubscription reads what a client asks both simulated servers for, of any text. What is taken are
// identifiers as atproto has them, within its limits; and a position of EventStreams has one that
// encoding/json finds.
func FuzzSubscription(f *testing.F) {
	f.Add("wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.*&wantedDids=did:plc:x&cursor=17&maxMessageSizeBytes=5", `{"type":"options_update","payload":{"wantedCollections":["a.b.c"]}}`)
	f.Add("cursor=-1", `[{"topic":"t","partition":0,"timestamp":1e3}]`)
	f.Add("wantedCollections=.*", `"a,b"`)
	f.Add("wantedDids=did:plc:", `["t",{"topic":"u","partition":1,"offset":-1}]`)
	f.Add("%zz", `[{"topic":null}]`)
	f.Add("requireHello=true", `{"type":1}`)
	f.Add("since=2026-01-01", `null`)
	f.Fuzz(func(t *testing.T, query, message string) {
		check := func(of *filter) {
			if len(of.names)+len(of.prefixes) > maxWantedCollections || len(of.dids) > maxWantedDIDs || of.maxSize < 0 {
				t.Errorf("%q and %q: %+v", query, message, of)
			}
			for name := range of.names {
				if strings.Count(name, ".") < 2 || len(name) > 317 || strings.ContainsAny(name, " */\n") || !of.wantsCollection(name) {
					t.Errorf("the collection %q is taken", name)
				}
			}
			for did := range of.dids {
				if !strings.HasPrefix(did, "did:") || len(did) > 2048 || strings.ContainsAny(did, " \n/") {
					t.Errorf("the account %q is taken", did)
				}
			}
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		if s, err := parseSubscription(r); err == nil {
			if check(s.filter); s.cursor < noCursor {
				t.Errorf("%q: the cursor is %d", query, s.cursor)
			}
		}
		if of, code, err := parseUpdate([]byte(message)); err == nil && of != nil {
			check(of)
		} else if err != nil && code != 1007 && code != 1008 {
			t.Errorf("%q: closed with %d, %v", message, code, err)
		}
		list, problem := parseLastEventID(message)
		if (problem == "") != (len(list) > 0) || problem == "" && !json.Valid([]byte(message)) {
			t.Errorf("%q: %v, %q", message, list, problem)
		}
		for _, p := range effective(list, nil) {
			if p.offset == nil && p.timestamp == nil {
				t.Errorf("%q: no position in %+v", message, p)
			}
		}
		since, err := parseSince(query)
		if at, wrong := time.Parse(time.RFC3339Nano, query); wrong == nil && (err != nil || *since != at.UnixMilli()) {
			t.Errorf("since %q: %v", query, err)
		}
	})
}

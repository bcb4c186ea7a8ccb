package wikipedia

import (
	"reflect"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

const t0 = 1_791_110_060_549 // an event time, in ms

func TestStreamDeliversEveryKindOfEvent(t *testing.T) {
	srv := serve(t, func(p *peer) {
		p.send(":ok\n\n", edit(1, t0), message(eqiadID(t0+5), canaryData(2, t0+5)), "event: error\ndata: {\"message\":\"oops\"}\n\n",
			message(eqiadID(t0+7), `{"meta":{}`), "event: news\ndata: {}\n\n", edit(3, t0+9))
	})
	out, err := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	if err != nil {
		t.Errorf("a clean end gave %v", err)
	}
	type row struct {
		route event.Route
		kind  string
		value string
	}
	want := []row{
		{event.Data, "edit", editData(1, t0)}, {event.Skip, "canary", canaryData(2, t0+5)}, {event.Reject, event.ReasonError, `{"message":"oops"}`},
		{event.Reject, event.ReasonMalformed, `{"meta":{}`}, {event.Reject, event.ReasonUnknown, "{}"}, {event.Data, "edit", editData(3, t0+9)},
	}
	var got []row
	for _, ev := range out.all() {
		got = append(got, row{ev.Route, ev.Kind, ev.Value})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	wantCursor := event.Cursor{Host: srv.addr(), TimeUS: (t0 + 9) * 1000, Last: uuid(3), Scope: "recentchange", Origin: "live", Partitions: []event.Partition{
		{Topic: "eqiad.mediawiki.recentchange", TimestampMS: t0 + 10}, {Topic: "codfw.mediawiki.recentchange", TimestampMS: t0 + 1}}}
	if c := out.cursor(t); !reflect.DeepEqual(c, wantCursor) {
		t.Errorf("cursor %+v, want %+v", c, wantCursor)
	}
}

func TestRequest(t *testing.T) {
	srv := serve(t, func(p *peer) { p.send(edit(1, t0)) }, func(p *peer) { p.send(edit(2, t0)) })
	s := open(t, Config{}, srv.url())
	out, err := streamOnce(t, s, event.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	r := srv.request(0)
	if r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Last-Event-ID") != "" || r.URL.RawQuery != "" || r.URL.Path != "/v2/stream/recentchange" {
		t.Errorf("first request %v %v", r.URL, r.Header)
	}
	if e := r.Header.Get("Accept-Encoding"); e != "identity" {
		t.Errorf("asks for the encoding %q, want identity: a compressed stream arrives in lumps", e)
	}
	if ua := r.Header.Get("User-Agent"); !strings.HasPrefix(ua, "weir/") || !strings.Contains(ua, "https://") {
		t.Errorf("user agent %q has no name, version and contact", ua)
	}
	if _, err := streamOnce(t, s, out.cursor(t)); err != nil {
		t.Fatal(err)
	}
	// Worked out by hand: 15,000 ms before 1791110060550, for every partition.
	want := `[{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":1791110045550},{"topic":"codfw.mediawiki.recentchange","partition":0,"timestamp":1791110045550}]`
	if id := srv.request(1).Header.Get("Last-Event-ID"); id != want {
		t.Errorf("Last-Event-ID\n     %s\nwant %s", id, want)
	}
}

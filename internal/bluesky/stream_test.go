package bluesky

import (
	"crypto/sha1"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const t0 = 1_791_110_060_549_000 // an event time, in µs

func TestStreamDeliversEveryKindOfFrame(t *testing.T) {
	account := `{"did":"did:plc:a","time_us":1791110060549003,"kind":"account","account":{"active":true,"did":"did:plc:a","seq":17,"time":"2026-10-04T10:34:20Z"}}`
	identity := `{"did":"did:plc:a","time_us":1791110060549004,"kind":"identity","identity":{"did":"did:plc:a","handle":"x.y","seq":18,"time":"2026-10-04T10:34:20Z"}}`
	sync := `{"did":"did:plc:a","time_us":1791110060549005,"kind":"sync","sync":{}}`
	srv := serve(t, func(p *peer) {
		p.text(v1(1, t0+1), v1(2, t0+2), account, identity, sync, `{"did":"did:plc:a"`, v1(3, t0+6))
		p.bye()
	})
	out, err := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	if err == nil || !strings.Contains(err.Error(), "1012") {
		t.Errorf("ended with %v, want the server's close code 1012", err)
	}
	type row struct {
		route event.Route
		kind  string
		value string
	}
	want := []row{
		{event.Data, "create", v1(1, t0+1)}, {event.Data, "create", v1(2, t0+2)}, {event.Account, "account", account}, {event.Account, "identity", identity},
		{event.Reject, event.ReasonUnknown, sync}, {event.Reject, event.ReasonMalformed, `{"did":"did:plc:a"`}, {event.Data, "create", v1(3, t0+6)},
	}
	var got []row
	for _, ev := range out.all() {
		got = append(got, row{ev.Route, ev.Kind, ev.Value})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	wantCursor := event.Cursor{Host: srv.addr(), TimeUS: t0 + 6, Last: commitID(3), Scope: "*", Origin: "live"}
	if c := out.cursor(t); !reflect.DeepEqual(c, wantCursor) {
		t.Errorf("cursor %+v, want %+v", c, wantCursor)
	}
}

func TestRequest(t *testing.T) {
	srv := serve(t, func(p *peer) { p.text(v1(1, t0)) })
	s := open(t, Config{Collections: []string{"app.bsky.feed.post", "app.bsky.graph.*", "app.bsky.feed.post"}, UserAgent: "weir/1.2 (+https://example.org)"}, srv.url())
	if _, err := streamOnce(t, s, event.Cursor{}); err == nil {
		t.Error("no error at the end")
	}
	r := srv.request(0)
	if r.URL.Path != "/subscribe" || r.Header.Get("User-Agent") != "weir/1.2 (+https://example.org)" {
		t.Errorf("path %q, user agent %q", r.URL.Path, r.Header.Get("User-Agent"))
	}
	want := map[string][]string{"wantedCollections": {"app.bsky.feed.post", "app.bsky.graph.*"}}
	if q := r.URL.Query(); !reflect.DeepEqual(map[string][]string(q), want) {
		t.Errorf("query %v, want %v", q, want)
	}
	if r.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Error("asks for compression by extension")
	}
}

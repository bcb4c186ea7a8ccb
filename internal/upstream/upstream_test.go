package upstream

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRefusalSteersTheNextAttempt(t *testing.T) {
	for status, permanent := range map[int]bool{
		200: false, 301: false, 302: false, 400: true, 401: true, 403: true, 404: true, 405: true, 407: true, 410: true, 426: true, 451: true,
		408: false, 421: false, 425: false, 429: false, 500: false, 502: false, 503: false, 504: false,
	} {
		e := Refusal("h:1", &http.Response{StatusCode: status, Header: http.Header{}}, nil, "try that")
		if e.Permanent != permanent || e.RetryAfter != 0 {
			t.Errorf("%d: permanent %v, retry after %v; want %v, 0", status, e.Permanent, e.RetryAfter, permanent)
		}
		if text := e.Error(); !strings.HasPrefix(text, "h:1 answered ") || !strings.HasSuffix(text, ": try that") {
			t.Errorf("%d: %q does not name the host and the way out", status, text)
		}
	}
}

func TestRefusalSaysWhatTheServerSaid(t *testing.T) {
	for _, tt := range []struct{ name, contentType, body, want string }{
		{"text", "text/plain", "\n Invalid cursor \nmore\n", `h:1 answered 503 Service Unavailable ("Invalid cursor"); asked to wait 7s`},
		{"control bytes", "", "a\x1b[31m\xff", `h:1 answered 503 Service Unavailable ("a\x1b[31m?"); asked to wait 7s`},
		{"long", "", strings.Repeat("x", 5000), `h:1 answered 503 Service Unavailable ("` + strings.Repeat("x", 120) + `"); asked to wait 7s`},
		{"nothing", "", "", "h:1 answered 503 Service Unavailable; asked to wait 7s"},
		{"a page by its type", "Text/HTML; charset=utf-8", "<b>Log in</b>", "with a web page, not with a stream"},
		{"a page by its bytes", "", " <!DOCTYPE html><html>", "captive portal"},
	} {
		h := http.Header{"Content-Type": {tt.contentType}, "Retry-After": {"7"}}
		e := Refusal("h:1", &http.Response{StatusCode: http.StatusServiceUnavailable, Header: h}, []byte(tt.body), "")
		if !strings.Contains(e.Error(), tt.want) || e.RetryAfter != 7*time.Second {
			t.Errorf("%s: %q, retry after %v; want %q, 7s", tt.name, e.Error(), e.RetryAfter, tt.want)
		}
	}
}

func TestRefusalSaysHowLongWeirWaits(t *testing.T) {
	e := Refusal("h:1", &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"86400"}}}, nil, "")
	if want := "asked to wait 24h0m0s, of which weir waits 1h0m0s"; !strings.HasSuffix(e.Error(), want) {
		t.Errorf("%q, want %q at its end", e, want)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"":                               0,
		"120":                            2 * time.Minute,
		" 3 ":                            3 * time.Second,
		"0":                              0,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"99999999999999999999":           0,
		"Mon, 05 Oct 2026 12:00:30 GMT":  30 * time.Second,
		"Monday, 05-Oct-26 12:01:00 GMT": time.Minute,
		"Mon, 05 Oct 2026 11:59:00 GMT":  0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {in}}, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// A date counts from now, whenever now is.
func TestRefusalReadsADateAgainstTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		e := Refusal("h:1", &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {at}}}, nil, "")
		if e.RetryAfter != 90*time.Second || e.Permanent {
			t.Errorf("retry after %v, permanent %v; want 1m30s, false", e.RetryAfter, e.Permanent)
		}
	})
}

func TestOrigin(t *testing.T) {
	for in, want := range map[string]string{"": "live", "1": "simulated:1", strings.Repeat("9", 500): "simulated:" + strings.Repeat("9", 64)} {
		h := http.Header{}
		h.Set(event.OriginHeader, in)
		if got := Origin(h); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if err := SameOrigin("h:1", "", "live"); err != nil {
		t.Errorf("nothing stored yet: %v", err)
	}
	if err := SameOrigin("h:1", "simulated:1", "simulated:1"); err != nil {
		t.Errorf("same origin: %v", err)
	}
	err := SameOrigin("h:1", "simulated:1", "live")
	var se *event.StreamError
	if !errors.As(err, &se) || !se.Permanent || !strings.Contains(err.Error(), `"live"`) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("other origin: %v; want a permanent error with cause and way out", err)
	}
}

func TestGapIsRecognisable(t *testing.T) {
	g := Gap{Source: "bluesky", Host: "b:443", Previous: "a:443", FromUS: 1791110060549000, ToUS: 1791110070000001, Last: "did\nrev", Reason: "not seen"}
	b := event.NewBatch()
	defer b.Release()
	g.Add(b)
	again := g
	again.Host, again.ToUS = "c:443", 1791110080000000 // met once more, on another host
	again.Add(b)
	other := g
	other.Last = "did\nrev2"
	other.Add(b)

	ev := b.Events[0]
	if ev.Route != event.Gap || ev.Kind != "gap" || string(ev.Key) != "bluesky" || ev.TimeUS != g.FromUS || ev.Size != int64(len(ev.Value)) {
		t.Errorf("event %+v", ev)
	}
	var got map[string]any
	if err := json.Unmarshal(ev.Value, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"source": "bluesky", "host": "b:443", "previous_host": "a:443", "from": "2026-10-04T10:34:20.549Z", "to": "2026-10-04T10:34:30.000001Z",
		"from_us": 1791110060549000.0, "to_us": 1791110070000001.0, "last": "did\nrev", "reason": "not seen"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("value %v, want %v", got, want)
	}
	if string(ev.ID) != string(b.Events[1].ID) || string(ev.ID) == string(b.Events[2].ID) || !strings.HasPrefix(string(ev.ID), "gap:") {
		t.Errorf("identities %q, %q, %q: want the first two equal, the third another", ev.ID, b.Events[1].ID, b.Events[2].ID)
	}
}

package upstream

import (
	"bytes"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// FuzzURL takes what a user can give for a stream. No error has the password in it, and what is taken has
// an address.
func FuzzURL(f *testing.F) {
	f.Add("wss", "h:1/subscribe?x=y#f")
	f.Add("ws", "%zz")
	f.Add("http", "[::1")
	f.Add("https", "h:port/")
	f.Add("#", "h") // the parser finds no user
	const password = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, scheme, rest string) {
		if strings.Contains(scheme+rest, password) {
			t.Skip("another place than that of the password")
		}
		if _, err := ParseURL("x", "y", scheme+"://user:"+password+"@"+rest, "want", "ws", "wss"); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("a URL with a password: %v", err)
		}
		u, err := ParseURL("x", "y", scheme+"://"+rest, "want", "ws", "wss")
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(Address(u)); err != nil || u.Fragment != "" || u.Hostname() == "" {
			t.Errorf("%q is taken, with the address %q (%v)", rest, Address(u), err)
		}
	})
}

// FuzzRefusal makes errors of answers with any header and body. They are one short line without bytes that
// could steer a terminal, and weir waits as long as the header says by net/http's clock.
func FuzzRefusal(f *testing.F) {
	f.Add(429, "120", "text/plain", []byte("too many requests\nmore"))
	f.Add(503, "Sun, 06 Nov 1994 08:49:37 GMT", "text/html; charset=x", []byte("<!DOCTYPE html><p>"))
	f.Add(200, "99999999999999999999", "application/json", []byte("{}"))
	f.Add(403, " 5 ", "a\x1b[31m", []byte("\x1b]0;x\a\xff\u202e"))
	f.Add(408, "-1", "", []byte("  <HTML"))
	f.Add(302, "1e3", "Text/Event-Stream", bytes.Repeat([]byte("é"), 200))
	f.Fuzz(func(t *testing.T, status int, after, kind string, body []byte) {
		h := http.Header{"Retry-After": {after}, "Content-Type": {kind}, "Content-Encoding": {kind}, event.OriginHeader: {after}}
		e := Refusal("h:1", &http.Response{StatusCode: status, Header: h}, body, "hint")
		text := e.Error()
		if len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%d %q %q %q: %q", status, after, kind, body, text)
		}
		heals := status == 408 || status == 421 || status == 425 || status == 429
		if e.Permanent != (status >= 400 && status < 500 && !heals) || e.RetryAfter < 0 {
			t.Errorf("%d: permanent %v, after %v", status, e.Permanent, e.RetryAfter)
		}
		now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		want := time.Duration(0)
		if at, err := http.ParseTime(strings.TrimSpace(after)); err == nil && at.After(now) {
			want = at.Sub(now)
		} else if n, ok := new(big.Int).SetString(strings.TrimSpace(after), 10); ok && n.Sign() > 0 && n.BitLen() <= 31 && !strings.ContainsAny(after, "+_") {
			want = time.Duration(n.Int64()) * time.Second
		}
		if got := RetryAfter(h, now); got != want {
			t.Errorf("Retry-After: %q is %v, want %v", after, got, want)
		}
		plain := true
		for _, one := range strings.Split(strings.ToLower(kind), ",") {
			plain = plain && (strings.TrimSpace(one) == "" || strings.TrimSpace(one) == "identity")
		}
		if err := Plain("h:1", h); (err == nil) != plain || err != nil && len(err.Error()) > 1000 {
			t.Errorf("Content-Encoding: %q: %v", kind, err)
		}
		if origin := Origin(h); len(origin) > 100 || (origin == event.OriginLive) != (after == "") {
			t.Errorf("%q is of origin %q", after, origin)
		}
	})
}

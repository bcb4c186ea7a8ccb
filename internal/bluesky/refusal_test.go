package bluesky

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/event"
)

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name      string
		status    int
		header    map[string]string
		body      string
		permanent bool
		retry     time.Duration
		want      string
	}{
		{"bad request", 400, nil, "invalid cursor", true, 0, "--collections"},
		{"forbidden", 403, nil, "", true, 0, "does not serve this client"},
		{"not found", 404, nil, "404 page not found", true, 0, "wss://HOST/subscribe"},
		{"too many requests", 429, map[string]string{"Retry-After": "20"}, "", false, 20 * time.Second, "too many connections"},
		{"warming up", 503, map[string]string{"Retry-After": "7"}, "warming up", false, 7 * time.Second, `"warming up"`},
		{"warming up, without a time", 503, nil, "", false, 0, "starting"},
		{"captive portal", 200, map[string]string{"Content-Type": "text/html"}, "<html>log in</html>", false, 0, "captive portal"},
		{"captive portal by redirect", 302, map[string]string{"Location": "http://192.0.2.1/login", "Content-Type": "text/html"}, "<html>", false, 0, "captive portal"},
		{"another service", 200, nil, "hello", false, 0, "does not speak the WebSocket protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			s := open(t, Config{}, "ws"+strings.TrimPrefix(srv.URL, "http"))
			_, err := streamOnce(t, s, event.Cursor{})
			var se *event.StreamError
			if !errors.As(err, &se) || se.Permanent != tt.permanent || se.RetryAfter != tt.retry || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%#v: %v; want permanent %v, retry after %v, %q", se, err, tt.permanent, tt.retry, tt.want)
			}
			if st := s.Status(); st.Connected || st.LastError != err.Error() || st.Host == "" {
				t.Errorf("status %+v", st)
			}
			if tt.permanent { // and it stays so, without asking again
				if _, err := streamOnce(t, s, event.Cursor{}); !errors.As(err, &se) || !se.Permanent {
					t.Errorf("the next attempt: %v", err)
				}
			}
		})
	}
}

func TestUpgradeWithoutProof(t *testing.T) {
	url := rawServer(t, func(p *rawPeer) {
		_, _ = http.ReadRequest(p.br)
		p.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n")
	})
	if _, err := streamOnce(t, open(t, Config{}, url), event.Cursor{}); err == nil || !strings.Contains(err.Error(), "does not speak the WebSocket protocol") {
		t.Errorf("ended with %v", err)
	}
}

func TestFailover(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	ws := func(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }
	good := serve(t, func(p *peer) { p.text(v1(1, t0)) }, func(p *peer) { p.text(v1(1, t0), v1(2, t0+1)) })
	s := open(t, Config{}, ws(busy), ws(gone), good.url())

	var se *event.StreamError
	if _, err := streamOnce(t, s, event.Cursor{}); !errors.As(err, &se) || se.Permanent || se.RetryAfter != 0 {
		t.Errorf("busy server, others left: %v; want to try on at once", err)
	}
	if _, err := streamOnce(t, s, event.Cursor{}); !errors.As(err, &se) || se.Permanent || se.RetryAfter != 0 {
		t.Errorf("refusing server, others left: %v; want to try on at once", err)
	}
	first, _ := streamOnce(t, s, event.Cursor{})
	second, _ := streamOnce(t, s, first.cursor(t))
	if ids := second.ids(); len(ids) != 2 {
		t.Errorf("the good server brought %q the second time: it was left though it delivers", ids)
	}
	_, err := streamOnce(t, s, event.Cursor{}) // the script is over: 503
	if !errors.As(err, &se) || se.Permanent {
		t.Errorf("good server down: %v", err)
	}
	// Now the busy server's hour counts, and the refusing one stays out.
	good.Close()
	for range 3 {
		_, err = streamOnce(t, s, event.Cursor{})
	}
	if st := s.Status(); st.Host != good.addr() {
		t.Errorf("asked %s, which had refused or asked for an hour; last error %v", st.Host, err)
	}
}

// A server that opens streams and delivers nothing is left for the next one.
func TestFailoverFromASilentServer(t *testing.T) {
	silent, good := serve(t, func(p *peer) { p.bye() }), serve(t, func(p *peer) { p.text(v1(1, t0)) })
	s := open(t, Config{}, silent.url(), good.url())
	_, _ = streamOnce(t, s, event.Cursor{})
	if out, _ := streamOnce(t, s, event.Cursor{}); len(out.ids()) != 1 {
		t.Errorf("the next connection brought %q", out.ids())
	}
}

func TestEveryServerRefuses(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	url := "ws" + strings.TrimPrefix(gone.URL, "http")
	s := open(t, Config{}, url+"/a", url+"/b")
	var se *event.StreamError
	if _, err := streamOnce(t, s, event.Cursor{}); !errors.As(err, &se) || se.Permanent {
		t.Errorf("first: %v; want another try", err)
	}
	if _, err := streamOnce(t, s, event.Cursor{}); !errors.As(err, &se) || !se.Permanent {
		t.Errorf("second: %v; want a permanent error", err)
	}
}

func TestTheLastServerIsTriedFirst(t *testing.T) {
	a, b := serve(t, func(p *peer) { p.text(v1(1, t0)) }), serve(t, func(p *peer) { p.text(v1(1, t0)) })
	s := open(t, Config{}, a.url(), b.url())
	out, _ := streamOnce(t, s, event.Cursor{Host: b.addr(), TimeUS: t0, Last: commitID(1), Scope: "*", Origin: "live"})
	if len(a.asked) != 0 || len(out.ids()) != 1 {
		t.Errorf("%d requests to the first server, %q from the last", len(a.asked), out.ids())
	}
}

func TestOriginIsGuarded(t *testing.T) {
	srv := serve(t, func(p *peer) { p.text(v1(1, t0)) }, func(p *peer) { p.text(v1(1, t0)) }, func(p *peer) { p.text(v1(1, t0)) })
	srv.extra.Set(event.OriginHeader, "42")
	s := open(t, Config{}, srv.url())
	out, _ := streamOnce(t, s, event.Cursor{})
	c := out.cursor(t)
	if c.Origin != "simulated:42" || s.Status().Origin != "simulated:42" {
		t.Errorf("origin %q, status %q", c.Origin, s.Status().Origin)
	}
	if out, _ := streamOnce(t, s, c); len(out.ids()) != 1 {
		t.Error("the same origin was refused")
	}
	c.Origin = event.OriginLive
	out, err := streamOnce(t, s, c)
	var se *event.StreamError
	if !errors.As(err, &se) || !se.Permanent || len(out.ids()) != 0 {
		t.Errorf("another origin: %q, %v; want nothing and a permanent error", out.ids(), err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	upgrader := websocket.Upgrader{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for i := range 2000 { // several TLS records
			_ = ws.WriteMessage(websocket.TextMessage, []byte(v1(i, t0+int64(i))))
		}
	}))
	srv.Config.ErrorLog = discard()
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	_, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	if err == nil || !strings.Contains(err.Error(), "certificate") || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("an unknown certificate: %v; want cause and way out", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	out, _ := streamOnce(t, open(t, Config{RootCAs: pool}, url), event.Cursor{})
	if all := out.all(); len(all) != 2000 || all[1999].Value != v1(1999, t0+1999) {
		t.Errorf("%d events over TLS, want 2000", len(all))
	}
	// example.com is what the test certificate is for; another name is another server.
	named := open(t, Config{RootCAs: pool, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}}, "wss://jetstream.invalid/subscribe")
	if _, err := streamOnce(t, named, event.Cursor{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another name: %v", err)
	}
}

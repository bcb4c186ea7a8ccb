package wikipedia

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
		{"bad request", 400, nil, "bad id", true, 0, `"bad id"`},
		{"no contact", 403, nil, "", true, 0, "name a contact in the user agent"},
		{"not found", 404, nil, "", true, 0, "--wikipedia-url"},
		{"two connections", 429, map[string]string{"Retry-After": "20"}, "", false, 20 * time.Second, "two connections"},
		{"full", 502, nil, "", false, 0, "taken"},
		{"overloaded", 503, map[string]string{"Retry-After": "7"}, "", false, 7 * time.Second, "asked to wait 7s"},
		{"captive portal", 200, map[string]string{"Content-Type": "text/html"}, "<html>log in</html>", false, 0, "captive portal"},
		{"another service", 200, map[string]string{"Content-Type": "application/json"}, "{}", false, 0, "does not send Server-Sent Events"},
		{"no content", 204, nil, "", false, 0, "does not send Server-Sent Events"},
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
			s := open(t, Config{}, srv.URL)
			_, err := streamOnce(t, s, event.Cursor{})
			var se *event.StreamError
			if !errors.As(err, &se) || se.Permanent != tt.permanent || se.RetryAfter != tt.retry || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%#v: %v; want permanent %v, retry after %v, %q", se, err, tt.permanent, tt.retry, tt.want)
			}
			if st := s.Status(); st.Connected || st.LastError != err.Error() || st.Host == "" {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	srv := serve(t, func(p *peer) { p.send(edit(2, t0+1)) })
	moved := httptest.NewServer(http.RedirectHandler(srv.url(), http.StatusFound))
	defer moved.Close()
	from := event.Cursor{TimeUS: t0 * 1000, Partitions: []event.Partition{part(eqiad, 0, t0)}}
	if out, err := streamOnce(t, open(t, Config{}, moved.URL), from); err != nil || len(out.ids()) != 1 {
		t.Errorf("brought %q, %v", out.ids(), err)
	}
	if r := srv.request(0); r.Header.Get("Last-Event-ID") == "" || r.Header.Get("User-Agent") == "" || r.Header.Get("Accept") == "" {
		t.Errorf("the position was lost on the way: %v", r.Header)
	}
	loop := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	defer loop.Close()
	if _, err := streamOnce(t, open(t, Config{}, loop.URL), event.Cursor{}); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("a loop: %v", err)
	}
	tls := httptest.NewTLSServer(http.RedirectHandler(srv.url(), http.StatusFound))
	defer tls.Close()
	pool := x509.NewCertPool()
	pool.AddCert(tls.Certificate())
	if _, err := streamOnce(t, open(t, Config{RootCAs: pool}, tls.URL), event.Cursor{}); err == nil || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("from https to http: %v", err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 500 {
			_, _ = io.WriteString(w, edit(i, t0+int64(i)))
		}
	}))
	srv.Config.ErrorLog = discard()
	srv.StartTLS()
	defer srv.Close()
	_, err := streamOnce(t, open(t, Config{}, srv.URL), event.Cursor{})
	if err == nil || !strings.Contains(err.Error(), "certificate") || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("an unknown certificate: %v; want cause and way out", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	if out, err := streamOnce(t, open(t, Config{RootCAs: pool}, srv.URL), event.Cursor{}); err != nil || len(out.ids()) != 500 {
		t.Errorf("%d events over TLS, %v", len(out.ids()), err)
	}
}

func TestOriginIsGuarded(t *testing.T) {
	step := func(p *peer) { p.Header().Set(event.OriginHeader, "42"); p.send(edit(1, t0)) }
	srv := serve(t, step, step, step)
	s := open(t, Config{}, srv.url())
	out, _ := streamOnce(t, s, event.Cursor{})
	c := out.cursor(t)
	if c.Origin != "simulated:42" || s.Status().Origin != "simulated:42" {
		t.Errorf("origin %q, status %q", c.Origin, s.Status().Origin)
	}
	if out, err := streamOnce(t, s, c); len(out.ids()) != 1 || err != nil {
		t.Errorf("the same origin: %q, %v", out.ids(), err)
	}
	c.Origin = event.OriginLive
	out, err := streamOnce(t, s, c)
	var se *event.StreamError
	if !errors.As(err, &se) || !se.Permanent || len(out.ids()) != 0 {
		t.Errorf("another origin: %q, %v; want nothing and a permanent error", out.ids(), err)
	}
}

// TestProxyFromEnvironment runs itself again, since a process reads its proxy
// from the environment only once.
func TestProxyFromEnvironment(t *testing.T) {
	const child = "WEIR_TEST_PROXY_CHILD"
	if os.Getenv(child) != "" {
		out, err := streamOnce(t, open(t, Config{}, "http://stream.invalid/v2/stream/recentchange"), event.Cursor{})
		if ids := out.ids(); err != nil || len(ids) != 1 || ids[0] != uuid(1) {
			t.Errorf("brought %q through the proxy, %v", ids, err)
		}
		return
	}
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, edit(1, t0))
	}))
	defer proxy.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyFromEnvironment$")
	cmd.Env = append(os.Environ(), child+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if asked.Load() != "http://stream.invalid/v2/stream/recentchange" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
}

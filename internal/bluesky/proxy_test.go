package bluesky

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

// TestProxyFromEnvironment runs itself again, since a process reads its proxy
// from the environment only once.
func TestProxyFromEnvironment(t *testing.T) {
	const child = "WEIR_TEST_PROXY_CHILD"
	if os.Getenv(child) != "" {
		out, _ := streamOnce(t, open(t, Config{}, "ws://jetstream.invalid/subscribe"), event.Cursor{})
		if ids := out.ids(); len(ids) != 1 || ids[0] != commitID(1) {
			t.Errorf("brought %q through the proxy", ids)
		}
		return
	}
	upstream := serve(t, func(p *peer) { p.text(v1(1, t0)); p.bye() })
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host
		far, err := net.Dial("tcp", upstream.addr())
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); far.Close() }()
		_, _ = io.Copy(near, far)
	}))
	defer proxy.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyFromEnvironment$")
	cmd.Env = append(os.Environ(), child+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.HasPrefix(asked, "CONNECT jetstream.invalid") {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// status asks for a page, with a bearer token where one is given.
func status(t *testing.T, link, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

var linkLine = regexp.MustCompile(`(?m)^ +web UI +(http://\S+)$`)

// TestListenEverywhere: pages that others can reach tell nothing without the token
// of the link, which leads to this machine; the health check needs none.
func TestListenEverywhere(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	up := start(t, env, "", "up", "--listen", "0.0.0.0:0")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	m := linkLine.FindStringSubmatch(up.stderr.String())
	if m == nil {
		t.Fatalf("the banner has no link:\n%s", up.stderr)
	}
	link, err := url.Parse(m[1])
	if err != nil {
		t.Fatal(err)
	}
	token := link.Query().Get("token")
	if link.Hostname() != "127.0.0.1" || len(token) < 20 {
		t.Errorf("the link is %s", link)
	}
	base := "http://" + link.Host
	for _, path := range []string{"/", "/metrics", "/readyz", "/api/v1/topics", "/api/v1/state"} {
		if got := status(t, base+path, ""); got != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, got)
		}
	}
	for _, path := range []string{"/", "/metrics", "/api/v1/topics"} {
		if got := status(t, base+path, token); got != http.StatusOK {
			t.Errorf("%s with the token: %d", path, got)
		}
	}
	for _, listen := range []string{"127.0.0.1", "0.0.0.0", "[::]", ""} {
		if _, stderr, code := weir(t, env, "health", "--listen", listen+":"+link.Port()); code != cli.ExitOK {
			t.Errorf("health of %q: exit code %d: %s", listen, code, stderr)
		}
	}
}

// TestHealthOfNobody: no weir, another program and a bad address are told apart.
func TestHealthOfNobody(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	addr := strings.TrimPrefix(other.URL, "http://")
	env := testEnv(t)
	if _, stderr, code := weir(t, env, "health", "--listen", addr); code != cli.ExitConnect || !strings.Contains(stderr, "is not a weir") {
		t.Errorf("another program: exit code %d: %s", code, stderr)
	}
	other.Close()
	if _, stderr, code := weir(t, append(env, "WEIR_LISTEN="+addr), "health"); code != cli.ExitConnect || !strings.Contains(stderr, "refused") {
		t.Errorf("nobody: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "health", "--listen", "off"); code != cli.ExitUsage || !strings.Contains(stderr, "host:port") {
		t.Errorf("off: exit code %d: %s", code, stderr)
	}
}

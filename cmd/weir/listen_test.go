package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// askedAs is the status of a page that is asked for under a host name.
func askedAs(t *testing.T, link, name, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = name
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestTokenFile: the token of a file is asked for, and told to nobody; names that
// were allowed are answered to, and no others.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	const token = "hidden-hidden-hidden"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := testEnv(t)
	up := start(t, env, "", "up", "--listen", "127.0.0.1:0", "--token-file", file, "--allow-host", "Weir.example.org,weir.internal.")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	m := linkLine.FindStringSubmatch(up.stderr.String())
	if m == nil {
		t.Fatalf("the banner has no link:\n%s", up.stderr)
	}
	for _, c := range []struct {
		name, token string
		want        int
	}{
		{"weir.example.org", token, http.StatusOK},
		{"weir.internal:8080", token, http.StatusOK},
		{"localhost", token, http.StatusOK},
		{"localhost", "", http.StatusUnauthorized},
		{"weir.example.org", token + "x", http.StatusUnauthorized},
		{"evil.example.org", token, http.StatusMisdirectedRequest},
		{"example.org", token, http.StatusMisdirectedRequest},
	} {
		if got := askedAs(t, m[1]+"/api/v1/topics", c.name, c.token); got != c.want {
			t.Errorf("as %s with token %q: %d, want %d", c.name, c.token, got, c.want)
		}
	}
	if code := up.stop(t); code != cli.ExitOK || strings.Contains(up.stderr.String()+up.stdout.String(), "hidden") {
		t.Errorf("exit code %d:\n%s", code, up.stderr)
	}
}

// TestAllowHostAsksForAToken: a name means that something in front lets others in.
func TestAllowHostAsksForAToken(t *testing.T) {
	t.Parallel()
	up := start(t, testEnv(t, "WEIR_ALLOW_HOST=weir.example.org"), "", "up", "--listen", "127.0.0.1:0")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	m := linkLine.FindStringSubmatch(up.stderr.String())
	if m == nil || !strings.Contains(m[1], "/?token=") {
		t.Errorf("the banner has no link with a token:\n%s", up.stderr)
	}
}

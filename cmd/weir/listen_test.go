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

func TestTokenFileRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"short", "hidden\n", "holds 6"},
		{"empty", "", "openssl rand"},
		{"lines", "hidden-hidden-hidden\nhidden-hidden-hidden\n", "more than one line"},
		{"control", "hidden-hidden-\x01-hidden", "cannot have"},
		{"long", strings.Repeat("hidden", 1000), "holds more"},
	} {
		file := filepath.Join(dir, c.name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&listenFlag{tokenFile: file}).guard()
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var out strings.Builder
		if code := cli.Report(err, &out); code != cli.ExitUsage || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, %s", c.name, code, out.String())
		}
	}
	if _, err := (&listenFlag{tokenFile: filepath.Join(dir, "none")}).guard(); err == nil {
		t.Error("a file that is not there was taken")
	}
	for _, h := range []string{"*", "", "a b", "http://x", "host:8080", "10.0.0.1", "[::1]"} {
		if g, err := (&listenFlag{hosts: []string{h}}).guard(); err == nil {
			t.Errorf("--allow-host %q became %q", h, g.hosts)
		}
	}
}

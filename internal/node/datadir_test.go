package node

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDefaultData(t *testing.T) {
	for _, c := range []struct {
		env        map[string]string
		goos, want string
	}{
		{map[string]string{"HOME": "/home/u"}, "linux", "/home/u/.local/share/weir"},
		{map[string]string{"HOME": "/Users/u"}, "darwin", "/Users/u/Library/Application Support/weir"},
		{map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "/data"}, "linux", "/data/weir"},
		{map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "relative"}, "linux", "/home/u/.local/share/weir"},
	} {
		if got, err := DefaultData(c.env, c.goos); err != nil || got != c.want {
			t.Errorf("%v on %s: %q, %v, want %q", c.env, c.goos, got, err, c.want)
		}
	}
	if _, err := DefaultData(nil, "linux"); cli.ExitCode(err) != cli.ExitUsage {
		t.Errorf("no HOME: %v", err)
	}
}

func TestNoDescriptorsIsNoFaultOfTheDirectory(t *testing.T) {
	var out strings.Builder
	cli.Report(DirError("/data", &os.PathError{Op: "open", Path: "/data/lock", Err: syscall.EMFILE}), &out)
	if text := out.String(); !strings.Contains(text, "ulimit -n 4096") || strings.Contains(text, "another directory") {
		t.Errorf("says:\n%s", text)
	}
}

func TestPorts(t *testing.T) {
	var p Ports
	if err := p.Set("1, 2,3,4"); err != nil || p.All != [4]int{1, 2, 3, 4} || !p.Given {
		t.Errorf("%+v, %v", p, err)
	}
	if err := p.Set("0"); err != nil || p.All != [4]int{} || !p.Given {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "1", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,1,2,3", "1,2,3,65536", "-1,2,3,4"} {
		if err := p.Set(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	// A free port is taken in place of a default that is not free; one that was given is
	// an error (TestErrors of cmd/weir).
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	var free Ports
	if addr, note, err := free.address(port, "Redis"); err != nil || addr != "127.0.0.1:0" || !strings.Contains(note, l.Addr().String()[len("127.0.0.1:"):]) {
		t.Errorf("a taken default: %q, %q, %v", addr, note, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if addr, note, err := free.address(port, "Redis"); err != nil || note != "" || addr != l.Addr().String() {
		t.Errorf("a free port: %q, %q, %v", addr, note, err)
	}
}

// TestMode: one stream that answers is enough for live, a named one is never
// replaced, and no answer says why for each host.
func TestMode(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }))
	defer up.Close()
	dead := "http://127.0.0.1:1/"
	mode := func(source, public string, urls ...string) (string, string) {
		t.Helper()
		s := &Streams{Mode: source, Public: strings.Split(public, ","), BlueskyURLs: urls}
		m, why, err := s.Decide(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m, why
	}
	if m, why := mode("auto", "ws"+strings.TrimPrefix(up.URL, "http")+"/subscribe,"+dead); m != Live || why != "" {
		t.Errorf("one of two answers: %s, %s", m, why)
	}
	m, why := mode("auto", "ws://127.0.0.1:1/subscribe,http://127.0.0.1:2/")
	if m != Simulated || !strings.Contains(why, "127.0.0.1:1: ") || !strings.Contains(why, "127.0.0.1:2: ") || !strings.Contains(why, "refused") {
		t.Errorf("none answers: %s, %s", m, why)
	}
	if m, _ := mode("auto", dead+","+dead, "ws://127.0.0.1:1/subscribe"); m != Live {
		t.Errorf("a named stream: %s", m)
	}
	if m, _ := mode("live", dead+","+dead); m != Live {
		t.Errorf("--source live: %s", m)
	}
	if m, _ := mode("simulated", up.URL+","+up.URL); m != Simulated {
		t.Errorf("--source simulated: %s", m)
	}
}

// TestProbeIsBounded: a server that takes the connection and never answers does not
// hold the start up.
func TestProbeIsBounded(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer silent.Close()
	defer close(hang)
	begun := time.Now()
	err := reachable(t.Context(), []string{silent.URL})
	if err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took < probeTime || took > 5*probeTime {
		t.Errorf("it took %v", took)
	}
}

// TestTokenFileRefuses: a token that is short, long or not one line is refused, and
// no error quotes it.
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
		_, err := (&Listen{TokenFile: file}).token()
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var out strings.Builder
		if code := cli.Report(err, &out); code != cli.ExitUsage || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, %s", c.name, code, out.String())
		}
	}
	if _, err := (&Listen{TokenFile: filepath.Join(dir, "none")}).token(); err == nil {
		t.Error("a file that does not exist was taken")
	}
	for _, h := range []string{"*", "", "a b", "http://x", "host:8080", "10.0.0.1", "[::1]"} {
		if names, err := (&Listen{Hosts: []string{h}}).hosts(); err == nil {
			t.Errorf("--allow-host %q became %q", h, names)
		}
	}
}

// TestRunning: a weir that was killed leaves its runtime file behind, which must not
// be believed, and nobody else can open the control socket of one that runs.
func TestRunning(t *testing.T) {
	data := t.TempDir()
	h, err := openHome(data, Live)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if _, err := openHome(data, Live); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a directory in use: %v", err)
	}
	r := &Runtime{PID: 1, Control: h.path(controlName)}
	if err := h.writeRuntime(r); err != nil {
		t.Fatal(err)
	}
	if got := Running(data); len(got) != 0 {
		t.Errorf("a dead weir is believed: %+v", got)
	}
	c, err := web.OpenSocket(h.path(controlName), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r.PID, r.Control, r.ControlToken = os.Getpid(), c.Path, c.Token
	if err := h.writeRuntime(r); err != nil {
		t.Fatal(err)
	}
	if got := Running(data); len(got) != 1 || got[0].PID != r.PID || got[0].Control != r.Control {
		t.Errorf("found %+v, want %+v", got, r)
	}
	info, err := os.Stat(c.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket can be opened by others: %v, %v", info, err)
	}
}

// TestLongControlPath: a unix socket's path is short, a data directory's need not be.
func TestLongControlPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := web.OpenSocket(filepath.Join(dir, controlName), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Path) > web.MaxSocketPath || !web.Answers(c.Path, c.Token) {
		t.Errorf("nobody answers on %s", c.Path)
	}
	parent := filepath.Dir(c.Path)
	if info, err := os.Stat(parent); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", parent, info, err)
	}
	c.Close()
	if _, err := os.Stat(parent); !os.IsNotExist(err) {
		t.Errorf("%s stays behind: %v", parent, err)
	}
}

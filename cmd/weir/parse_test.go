package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/web"
)

func TestQueryFlags(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		f       messageFlags
		counted bool
		from    inspect.Target
		max     int64
	}{
		{messageFlags{newest: 10}, false, inspect.Newest(10), 0},
		{messageFlags{newest: 3, follow: true}, true, inspect.Newest(3), 0},
		{messageFlags{newest: 10, offset: "5"}, false, inspect.AtOffset(5), 0},
		{messageFlags{newest: 4, offset: "-5"}, true, inspect.AtOffset(-5), 4},
		{messageFlags{newest: 10, offset: "oldest"}, false, inspect.Oldest(), 0},
		{messageFlags{newest: 10, offset: "end", follow: true}, false, inspect.End(), 0},
	} {
		q, err := c.f.query("t", c.counted, now)
		if err != nil || q.MaxMessages != c.max || q.Follow != c.f.follow {
			t.Errorf("%+v: %+v, %v", c.f, q, err)
		}
		if !reflect.DeepEqual(q.From, c.from) {
			t.Errorf("%+v begins at %+v, want %+v", c.f, q.From, c.from)
		}
	}
}

func TestPorts(t *testing.T) {
	var p ports
	if err := p.Set("1, 2,3,4"); err != nil || p.brokers != [3]int{1, 2, 3} || p.redis != 4 || !p.given {
		t.Errorf("%+v, %v", p, err)
	}
	if err := p.Set("0"); err != nil || p.brokers != [3]int{} || p.redis != 0 || !p.given {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "1", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,1,2,3", "1,2,3,65536", "-1,2,3,4"} {
		if err := p.Set(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	// A default that is taken gives way; one that was given does not (TestErrors).
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	port := freePorts(t, 1)[0]
	free := ports{}
	if addr, note, err := free.address(port, "Redis"); err != nil || note != "" || !strings.HasSuffix(addr, ":"+portList([]int{port})) {
		t.Errorf("a free port: %q, %q, %v", addr, note, err)
	}
	_, text, _ := strings.Cut(strings.TrimPrefix(taken.URL, "http://"), ":")
	var used int
	for _, c := range text {
		used = used*10 + int(c-'0')
	}
	if addr, note, err := free.address(used, "Redis"); err != nil || addr != "127.0.0.1:0" || !strings.Contains(note, text) {
		t.Errorf("a taken default: %q, %q, %v", addr, note, err)
	}
}

// TestMode: one stream that answers is enough for live, a named one is never
// replaced, and no answer says why for each host.
func TestMode(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }))
	defer up.Close()
	dead := "http://127.0.0.1:1/"
	mode := func(source, live string, urls ...string) (string, string) {
		t.Helper()
		a := newApp([]string{"WEIR_TEST_LIVE=" + live}, nil, newOutput(), newOutput())
		m, why, err := a.decideMode(context.Background(), &sourceFlags{source: source, blueskyURLs: urls})
		if err != nil {
			t.Fatal(err)
		}
		return m, why
	}
	if m, why := mode("auto", "ws"+strings.TrimPrefix(up.URL, "http")+"/subscribe,"+dead); m != modeLive || why != "" {
		t.Errorf("one of two answers: %s, %s", m, why)
	}
	m, why := mode("auto", "ws://127.0.0.1:1/subscribe,http://127.0.0.1:2/")
	if m != modeSimulated || !strings.Contains(why, "127.0.0.1:1: ") || !strings.Contains(why, "127.0.0.1:2: ") || !strings.Contains(why, "refused") {
		t.Errorf("nobody answers: %s, %s", m, why)
	}
	if m, _ := mode("auto", dead+","+dead, "ws://127.0.0.1:1/subscribe"); m != modeLive {
		t.Errorf("a named stream: %s", m)
	}
	if m, _ := mode("live", dead+","+dead); m != modeLive {
		t.Errorf("--source live: %s", m)
	}
	if m, _ := mode("simulated", up.URL+","+up.URL); m != modeSimulated {
		t.Errorf("--source simulated: %s", m)
	}
}

// TestProbeIsBounded: a server that takes the connection and says nothing does not
// hold the start up.
func TestProbeIsBounded(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer silent.Close()
	defer close(hang)
	begun := time.Now()
	err := reachable(context.Background(), []string{silent.URL})
	if err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took < probeTime || took > 5*probeTime {
		t.Errorf("it took %v", took)
	}
}

// TestFind: what was killed leaves its runtime file behind, which must not be
// believed; given addresses win over everything.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	find := func(env []string, given map[string]string) *target {
		t.Helper()
		a := newApp(append(env, "HOME="+dir, "XDG_DATA_HOME="+dir), nil, newOutput(), newOutput())
		a.given = given
		a.kafka, a.redis = []string{"10.0.0.1:9092"}, "redis://10.0.0.2/1"
		got, err := a.find()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := find(nil, nil); got.kafka[0] != "127.0.0.1:19092" || got.redis != "redis://127.0.0.1:6379/1" || got.running != nil {
		t.Errorf("nothing runs: %+v", got)
	}
	live := filepath.Join(dir, "weir", modeLive)
	write(t, filepath.Join(live, runtimeName), `{"pid":1,"kafka":["127.0.0.1:5"],"control":"`+filepath.Join(live, controlName)+`"}`)
	if got := find(nil, nil); got.running != nil {
		t.Errorf("a dead weir is believed: %+v", got)
	}
	h, err := openHome(filepath.Join(dir, "weir"), modeLive)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	c, err := web.OpenSocket(h.path(controlName), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := h.writeRuntime(&runtimeFile{PID: os.Getpid(), Command: "up", Mode: modeLive, Kafka: []string{"127.0.0.1:5"}, Redis: "redis://127.0.0.1:6/1", Control: c.Path}); err != nil {
		t.Fatal(err)
	}
	if got := find(nil, nil); got.running == nil || got.kafka[0] != "127.0.0.1:5" || got.redis != "redis://127.0.0.1:6/1" || got.mode != modeLive {
		t.Errorf("a running weir: %+v", got)
	}
	if got := find(nil, map[string]string{"kafka": "--kafka"}); got.kafka[0] != "10.0.0.1:9092" || got.redis != "redis://127.0.0.1:6/1" || got.mode != "" {
		t.Errorf("--kafka: %+v", got)
	}
	if got := find(nil, map[string]string{"redis": "WEIR_REDIS"}); got.kafka[0] != "127.0.0.1:5" || got.redis != "redis://10.0.0.2/1" || got.redisFrom != "WEIR_REDIS" {
		t.Errorf("WEIR_REDIS: %+v", got)
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
	if len(c.Path) > web.MaxSocketPath || !controlAnswers(c.Path) {
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

func TestDefaultDataDir(t *testing.T) {
	for _, c := range []struct {
		env        map[string]string
		goos, want string
	}{
		{map[string]string{"HOME": "/home/u"}, "linux", "/home/u/.local/share/weir"},
		{map[string]string{"HOME": "/Users/u"}, "darwin", "/Users/u/Library/Application Support/weir"},
		{map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "/data"}, "linux", "/data/weir"},
		{map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "relative"}, "linux", "/home/u/.local/share/weir"},
	} {
		if got, err := defaultDataDir(c.env, c.goos); err != nil || got != c.want {
			t.Errorf("%v on %s: %q, %v, want %q", c.env, c.goos, got, err, c.want)
		}
	}
	if _, err := defaultDataDir(nil, "linux"); cli.ExitCode(err) != cli.ExitUsage {
		t.Errorf("no HOME: %v", err)
	}
}

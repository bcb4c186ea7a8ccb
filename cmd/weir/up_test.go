package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

// counted is the JSON of weir counts.
func counted(t *testing.T, env []string, args ...string) map[string]map[string]int64 {
	t.Helper()
	stdout, stderr, code := weir(t, env, append([]string{"counts", "-o", "json"}, args...)...)
	if code != cli.ExitOK {
		t.Fatalf("weir counts: exit code %d: %s", code, stderr)
	}
	var all map[string]map[string]int64
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("weir counts printed %q: %v", stdout, err)
	}
	return all
}

func sum(kinds map[string]int64) (n int64) {
	for _, k := range kinds {
		n += k
	}
	return n
}

// waitCounted waits until both streams have counted more than before.
func waitCounted(t *testing.T, env []string, more int64, args ...string) {
	t.Helper()
	base := counted(t, env, args...)
	eventually(t, "more events are counted", func() bool {
		now := counted(t, env, args...)
		return sum(now["bluesky"]) >= sum(base["bluesky"])+more && sum(now["wikipedia"]) > sum(base["wikipedia"])
	})
}

func verified(t *testing.T, env []string) map[string]any {
	t.Helper()
	stdout, stderr, code := weir(t, env, "verify", "-o", "json")
	var report map[string]any
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("weir verify printed %q: %v\n%s", stdout, err, stderr)
	}
	if code != cli.ExitOK || report["ok"] != true {
		wrong := maps.Clone(report) // on one line: of a long output, only first lines may be shown
		maps.DeleteFunc(wrong, func(_ string, v any) bool {
			source, ok := v.(map[string]any)
			return !ok || source["ok"] == true
		})
		line, _ := json.Marshal(wrong)
		t.Errorf("weir verify: exit code %d: %s\n%s", code, line, stderr)
	}
	return report
}

// TestUp takes the whole program through a first hour, in process: up, look at
// everything, stop, up again.
func TestUp(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=300")
	up := start(t, env, "", "up")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	banner := up.stderr.String()
	for _, want := range []string{"SIMULATED", "bluesky-events", "wikipedia-edits", "~/.local/share/weir/simulated", "redis://127.0.0.1:", filepath.Base(os.Args[0]) + " verify\n"} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner does not say %q:\n%s", want, banner)
		}
	}
	waitCounted(t, env, 200)
	report := verified(t, env)
	if n := report["bluesky"].(map[string]any)["events"].(float64); n < 200 {
		t.Errorf("verify saw %v events", n)
	}
	t.Run("api", func(t *testing.T) { callsAPI(t, env, link.FindString(banner)) })
	t.Run("looks", func(t *testing.T) { looks(t, env) })
	t.Run("brokers", func(t *testing.T) { killsAndRestarts(t, env) })
	for _, want := range []string{" broker 2 was killed\n", " broker 2 was restarted\n"} {
		if n := strings.Count(up.stderr.String(), want); n != 2 { // once through the API, once from the terminal
			t.Errorf("weir up says %q %d times:\n%s", want, n, up.stderr)
		}
	}
	t.Run("groups", func(t *testing.T) { groupsChange(t, env) })

	before := counted(t, env)
	if code := up.stop(t); code != cli.ExitOK {
		t.Fatalf("exit code %d:\n%s", code, up.stderr)
	}
	for _, want := range []string{"create", "edit", "weir-bluesky-counter"} {
		if !strings.Contains(up.stdout.String(), want) {
			t.Errorf("the final counts lack %q:\n%s", want, up.stdout)
		}
	}
	if _, err := os.Stat(filepath.Join(dataOf(env), node.Simulated, "weir.json")); err == nil {
		t.Error("the runtime file stays behind")
	}
	if _, stderr, code := weir(t, append(env, "WEIR_REDIS=redis://127.0.0.1:1"), "counts"); code != cli.ExitConnect {
		t.Errorf("counts without a weir: exit code %d: %s", code, stderr)
	}

	again := start(t, env, "", "up")
	again.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	after := counted(t, env)
	for source, kinds := range before {
		for kind, n := range kinds {
			if after[source][kind] < n {
				t.Errorf("%s %s: %d counted before the restart, %d after it", source, kind, n, after[source][kind])
			}
		}
	}
	waitCounted(t, env, 100)
	verified(t, env)
}

func dataOf(env []string) string {
	for _, kv := range env {
		if home, ok := strings.CutPrefix(kv, "HOME="); ok {
			return filepath.Join(home, ".local", "share", "weir")
		}
	}
	return ""
}

// looks runs the commands that look, in every format.
func looks(t *testing.T, env []string) {
	for _, c := range []struct{ args, table string }{
		{"counts", "create"},
		{"topics", "weir.cursors"},
		{"topics bluesky-events", "max.message.bytes"},
		{"groups", "weir-wikipedia-counter"},
		{"groups list", "Stable"},
		{"groups describe weir-bluesky-counter", "bluesky-events"},
		{"brokers", "127.0.0.1:"},
		{"brokers list", "controller"},
		{"version", "weir"},
		{"messages wikipedia-edits -n 3", "kind="},
		{"messages bluesky-events --offset oldest -n 2", "did:plc:"},
		{"messages bluesky-events --since 1h --filter header:kind=create -n 2", "kind=create"},
	} {
		stdout, stderr, code := weir(t, env, strings.Fields(c.args)...)
		if code != cli.ExitOK || !strings.Contains(stdout, c.table) {
			t.Errorf("weir %s: exit code %d, want %q in:\n%s%s", c.args, code, c.table, stdout, stderr)
		}
		if strings.Contains(stdout, "\x1b") {
			t.Errorf("weir %s: escapes on what is no terminal", c.args)
		}
		var v any
		stdout, stderr, code = weir(t, env, strings.Fields(c.args+" -o json")...)
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != cli.ExitOK {
			t.Errorf("weir %s -o json: exit code %d, %v:\n%s%s", c.args, code, err, stdout, stderr)
		}
		stdout, _, code = weir(t, env, strings.Fields(c.args+" -o jsonl")...)
		for line := range strings.Lines(stdout) {
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Errorf("weir %s -o jsonl: %v: %s", c.args, err, line)
			}
		}
		if stdout == "" || code != cli.ExitOK {
			t.Errorf("weir %s -o jsonl: exit code %d, printed %q", c.args, code, stdout)
		}
	}
	stdout, _, _ := weir(t, env, "messages", "bluesky-events", "-n", "1", "-o", "raw")
	var post struct {
		DID string `json:"did"`
	}
	if err := json.Unmarshal([]byte(stdout), &post); err != nil || post.DID == "" {
		t.Errorf("-o raw: %v: %q", err, stdout)
	}
	if _, stderr, code := weir(t, env, "topics", "no-such-topic"); code != cli.ExitRuntime || !strings.Contains(stderr, "list the topics with: weir topics") {
		t.Errorf("an unknown topic: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "groups", "describe", "nobody"); code != cli.ExitRuntime || !strings.Contains(stderr, "list the groups with: weir groups") {
		t.Errorf("an unknown group: exit code %d: %s", code, stderr)
	}
	for _, c := range []struct{ args, want string }{
		{"messages", "bluesky-events"}, {"topics", "wikipedia-edits"}, {"groups describe", "weir-bluesky-counter"},
		{"brokers kill", "2"}, {"produce", "wikipedia"}, {"counts --output", "jsonl"},
	} {
		eventually(t, "completing weir "+c.args+" suggests "+c.want, func() bool { // it suggests nothing where the brokers take too long
			stdout, _, _ := weir(t, env, append(append([]string{"__complete"}, strings.Fields(c.args)...), "")...)
			return strings.Contains("\n"+stdout, "\n"+c.want)
		})
	}
}

// killsAndRestarts takes a broker away and brings it back: counting goes on.
func killsAndRestarts(t *testing.T, env []string) {
	state := func() string {
		stdout, _, _ := weir(t, env, "brokers")
		return stdout
	}
	if _, stderr, code := weir(t, env, "brokers", "kill", "7"); code != cli.ExitRuntime {
		t.Errorf("killing broker 7: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "brokers", "kill", "2"); code != cli.ExitOK || !strings.Contains(stderr, "broker 2 is down and leads 0 partitions") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if s := state(); strings.Count(s, "up") != 2 || strings.Count(s, "killed") != 1 {
		t.Errorf("after the kill:\n%s", s)
	}
	if _, _, code := weir(t, env, "brokers", "kill", "2"); code != cli.ExitRuntime {
		t.Errorf("killing it twice: exit code %d", code)
	}
	waitCounted(t, env, 100)
	if _, stderr, code := weir(t, env, "brokers", "restart", "2"); code != cli.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if s := state(); strings.Contains(s, "killed") {
		t.Errorf("after the restart:\n%s", s)
	}
	waitCounted(t, env, 100)
	verified(t, env)
}

// groupsChange replays a group, and resets one that nobody uses.
func groupsChange(t *testing.T, env []string) {
	if _, stderr, code := weir(t, env, "groups", "replay", "weir-wikipedia-counter"); code != cli.ExitUsage || !strings.Contains(stderr, "--yes") {
		t.Errorf("a replay that nobody confirms: exit code %d: %s", code, stderr)
	}
	joined, _, code := weir(t, env, "groups", "join", "weir-wikipedia-counter", "-o", "json")
	var change struct {
		Moved           int
		MovedPartitions []int32 `json:"moved_partitions"`
	}
	if err := json.Unmarshal([]byte(joined), &change); err != nil || code != cli.ExitOK || change.Moved == 0 || len(change.MovedPartitions) != change.Moved {
		t.Errorf("join: exit code %d, %v:\n%s", code, err, joined)
	}
	if _, stderr, code := weir(t, env, "groups", "leave", "weir-wikipedia-counter"); code != cli.ExitOK {
		t.Errorf("leave: exit code %d: %s", code, stderr)
	}
	stdout, stderr, code := weir(t, env, "groups", "replay", "weir-wikipedia-counter", "--yes")
	if code != cli.ExitOK || !strings.Contains(stderr, "equal") || !strings.Contains(stdout, "edit") {
		t.Errorf("replay: exit code %d:\n%s%s", code, stdout, stderr)
	}
	if _, stderr, code := weir(t, env, "groups", "reset", "weir-wikipedia-counter", "--to", "oldest", "--yes"); code != cli.ExitRuntime || !strings.Contains(stderr, "stop") {
		t.Errorf("resetting a group at work: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "groups", "reset", "weir-wikipedia-counter.replay", "--to", "oldest"); code != cli.ExitUsage || !strings.Contains(stderr, "--yes") {
		t.Errorf("a reset that nobody confirms: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "groups", "reset", "weir-wikipedia-counter.replay", "--to", "oldest", "--yes"); code != cli.ExitOK {
		t.Errorf("reset: exit code %d: %s", code, stderr)
	}
	if n := sum(counted(t, env, "--group", "weir-wikipedia-counter.replay")["wikipedia"]); n != 0 {
		t.Errorf("%d events are still counted after a reset", n)
	}
}

// TestSeparateCommands is the original project's way to work: a cluster, and the
// producers and consumers as programs of their own.
func TestSeparateCommands(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=300", "WEIR_SOURCE=auto", "WEIR_TEST_LIVE=ws://127.0.0.1:1/subscribe,http://127.0.0.1:1/")
	cluster := start(t, env, "", "cluster")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	if s := cluster.stderr.String(); !strings.Contains(s, "no live stream can be reached") || !strings.Contains(s, "127.0.0.1:1: connect: connection refused") {
		t.Errorf("the banner does not say why events are simulated:\n%s", s)
	}
	var all []*command
	for _, args := range []string{"produce bluesky", "produce wikipedia", "consume bluesky", "consume bluesky", "consume wikipedia --group mine"} {
		all = append(all, start(t, env, "", strings.Fields(args)...))
	}
	waitCountedGroup := func(group, source string, more int64) {
		t.Helper()
		eventually(t, group+" counts "+source, func() bool { return sum(counted(t, env, "--group", group)[source]) >= more })
	}
	waitCountedGroup("weir-bluesky-counter", "bluesky", 100)
	waitCountedGroup("mine", "wikipedia", 20)
	if _, stderr, code := weir(t, env, "produce", "bluesky"); code != cli.ExitRuntime || !strings.Contains(stderr, "simulates bluesky") {
		t.Errorf("a second simulation of one stream: exit code %d: %s", code, stderr)
	}
	for _, c := range all[:2] {
		if code := c.stop(t); code != cli.ExitOK || !strings.Contains(c.stdout.String(), "STORED") {
			t.Errorf("produce: exit code %d:\n%s%s", code, c.stdout, c.stderr)
		}
	}
	for _, c := range all[2:] {
		if code := c.stop(t); code != cli.ExitOK || !strings.Contains(c.stdout.String(), "all") {
			t.Errorf("consume: exit code %d:\n%s%s", code, c.stdout, c.stderr)
		}
	}
	verified(t, env)
}

// TestOneStreamFails: a stream that refuses for good is told and does not take the
// other with it.
func TestOneStreamFails(t *testing.T) {
	t.Parallel()
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer forbidden.Close()
	sim, url := startSimulate(t, "1")
	env := testEnv(t, "WEIR_SOURCE=auto")
	up := start(t, env, "", "up", "--bluesky-url", url, "--wikipedia-url", forbidden.URL+"/v2/stream/recentchange")
	up.stderr.waitFor(t, "wikipedia stopped", startPatience)
	eventually(t, "bluesky is counted", func() bool { return sum(counted(t, env)["bluesky"]) >= 100 })
	if code := up.stop(t); code != cli.ExitConnect || !strings.Contains(up.stderr.String(), "403") {
		t.Errorf("exit code %d:\n%s", code, up.stderr)
	}
	if code := sim.stop(t); code != cli.ExitOK || !strings.Contains(sim.stdout.String(), "happened") {
		t.Errorf("simulate: exit code %d:\n%s%s", code, sim.stdout, sim.stderr)
	}

	// The topics now hold the events of seed 1: no others may join them.
	_, url = startSimulate(t, "2")
	_, stderr, code := weir(t, env, "up", "--bluesky-url", url, "--wikipedia-url", forbidden.URL+"/v2/stream/recentchange")
	if code == cli.ExitOK || !strings.Contains(stderr, "simulated:1") || !strings.Contains(stderr, "simulated:2") || !strings.Contains(stderr, "--data") {
		t.Errorf("events of another origin: exit code %d:\n%s", code, stderr)
	}
}

// startSimulate starts weir simulate and returns its Bluesky URL.
func startSimulate(t *testing.T, seed string) (*command, string) {
	t.Helper()
	sim := start(t, testEnv(t), "", "simulate", "--listen", "127.0.0.1:0", "--rate", "300", "--seed", seed)
	sim.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	for _, word := range strings.Fields(sim.stderr.String()) {
		if strings.HasPrefix(word, "ws://127.0.0.1:") {
			return sim, word
		}
	}
	t.Fatalf("no address in the banner:\n%s", sim.stderr)
	return nil, ""
}

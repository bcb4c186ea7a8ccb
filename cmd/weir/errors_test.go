package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// TestErrors runs what users get wrong: one message with the cause and the way
// out, and the documented exit code.
func TestErrors(t *testing.T) {
	const nobody = "127.0.0.1:1"
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "set a User-Agent with a contact", http.StatusForbidden)
	}))
	t.Cleanup(forbidden.Close) // the cases run side by side, after this function
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "in the way")
	newer := filepath.Join(dir, "newer")
	write(t, filepath.Join(newer, "simulated", "kafka", "FORMAT"), `{"format":999,"wrote":"a later weir"}`)
	foreign := filepath.Join(dir, "foreign")
	write(t, filepath.Join(foreign, "simulated", "kafka", "holiday.jpg"), "not ours")
	half := filepath.Join(dir, "half")
	write(t, filepath.Join(half, "simulated", "kafka", "FORMAT"), `{"form`)

	for _, c := range []struct {
		args string
		env  string
		code int
		want []string // all in the message
	}{
		{args: "upp", code: cli.ExitUsage, want: []string{`unknown command "upp"`, "up"}},
		{args: "grups", code: cli.ExitUsage, want: []string{`unknown command "grups"`, "did you mean groups?"}},
		{args: "groups descibe", code: cli.ExitUsage, want: []string{`unknown command "descibe" for "weir groups"`, "did you mean describe?"}},
		{args: "brokers nonsense", code: cli.ExitUsage, want: []string{`unknown command "nonsense"`, "see weir brokers --help"}},
		{args: "messages t --ofset 5", code: cli.ExitUsage, want: []string{"unknown flag: --ofset", "did you mean --offset?"}},
		{args: "up --nonsense", code: cli.ExitUsage, want: []string{"unknown flag: --nonsense", "see weir up --help"}},
		{args: "counts --data=", code: cli.ExitUsage, want: []string{"--data is empty", "name a directory"}},
		{args: "groups reset --nonsense", code: cli.ExitUsage, want: []string{"unknown flag: --nonsense", "see weir groups reset --help"}},
		{args: "up extra", code: cli.ExitUsage, want: []string{"extra"}},
		{args: "counts", env: "WEIR_KAFAK=x", code: cli.ExitUsage, want: []string{"WEIR_KAFAK", "unknown"}},
		{args: "up", env: "WEIR_RATE=fast", code: cli.ExitUsage, want: []string{"WEIR_RATE=fast", "--rate"}},
		{args: "up --source never", code: cli.ExitUsage, want: []string{"--source never", "auto, live, simulated"}},
		{args: "up --source simulated --bluesky-url ws://x/subscribe", code: cli.ExitUsage, want: []string{"contradict", "leave out"}},
		{args: "up --source live --bluesky-url http://x", code: cli.ExitUsage, want: []string{"http://x", "ws://"}},
		{args: "up --source live --wikipedia-url ftp://x", code: cli.ExitUsage, want: []string{"ftp://x"}},
		{args: "up --collections posts", code: cli.ExitUsage, want: []string{`"posts"`, "app.bsky.feed.post"}},
		{args: "up --rate 0", code: cli.ExitUsage, want: []string{"--rate 0"}},
		{args: "up --pace 0s", code: cli.ExitUsage, want: []string{"--pace 0s", "between 1ms and 5s"}},
		{args: "produce bluesky --pace 6s", code: cli.ExitUsage, want: []string{"--pace 6s", "between 1ms and 5s"}},
		{args: "up --ports 1,2", code: cli.ExitUsage, want: []string{"four ports"}},
		{args: "up --ports 1,2,2,3", code: cli.ExitUsage, want: []string{"port 2", "twice"}},
		{args: "up --ports 1,2,70000,3", code: cli.ExitUsage, want: []string{"70000"}},
		{args: "up --log-level loud", code: cli.ExitUsage, want: []string{"loud", "debug"}},
		{args: "counts -o xml", code: cli.ExitUsage, want: []string{"xml", "json"}},
		{args: "counts --redis http://x", code: cli.ExitUsage, want: []string{"--redis", "redis://"}},
		{args: "topics --kafka localhost", code: cli.ExitUsage, want: []string{"localhost", "host:port"}},
		{args: "topics", env: "KAFKA_BROKER=localhost", code: cli.ExitUsage, want: []string{"KAFKA_BROKER", "host:port"}},
		{args: "produce facebook", code: cli.ExitUsage, want: []string{`"facebook"`, "bluesky and wikipedia"}},
		{args: "consume", code: cli.ExitUsage, want: []string{"arg"}},
		{args: "messages t --since yesterday", code: cli.ExitUsage, want: []string{"yesterday", "10m"}},
		{args: "messages t --offset first", code: cli.ExitUsage, want: []string{"first", "oldest"}},
		{args: "messages t --offset 1 --since 1h", code: cli.ExitUsage, want: []string{"--offset", "--since"}},
		{args: "messages t --filter /(/", code: cli.ExitUsage, want: []string{"filter"}},
		{args: "messages t --follow -o json", code: cli.ExitUsage, want: []string{"jsonl"}},
		{args: "groups reset g", code: cli.ExitUsage, want: []string{"--to"}},
		{args: "groups reset g --to somewhere", code: cli.ExitUsage, want: []string{"somewhere", "oldest"}},
		{args: "up", env: "WEIR_READ_ONLY=maybe", code: cli.ExitUsage, want: []string{"WEIR_READ_ONLY=maybe", "--read-only"}},
		{args: "simulate --faults melt@5", code: cli.ExitUsage, want: []string{"melt", "cut"}},
		{args: "simulate --listen nowhere", code: cli.ExitUsage, want: []string{"nowhere", "host:port"}},
		{args: "brokers kill two", code: cli.ExitUsage, want: []string{`"two"`}},

		{args: "topics --kafka " + nobody, code: cli.ExitConnect, want: []string{nobody, "--kafka", "refused", "weir up"}},
		{args: "topics", env: "KAFKA_BROKER=" + nobody, code: cli.ExitConnect, want: []string{nobody, "KAFKA_BROKER"}},
		{args: "verify --kafka " + nobody, code: cli.ExitConnect, want: []string{nobody}},
		{args: "produce wikipedia --kafka " + nobody, code: cli.ExitConnect, want: []string{nobody}},
		{args: "up --kafka " + nobody, code: cli.ExitConnect, want: []string{nobody, "--kafka"}},
		{args: "up --redis redis://" + nobody, code: cli.ExitConnect, want: []string{nobody, "--redis"}},
		{args: "counts --redis redis://weir:hunter2@" + nobody, code: cli.ExitConnect, want: []string{nobody}},
		{args: "brokers kill 2", code: cli.ExitConnect, want: []string{"no weir runs", "weir up"}},
		{args: "up --source live --bluesky-url ws" + strings.TrimPrefix(forbidden.URL, "http") + "/subscribe --wikipedia-url " + forbidden.URL + "/x",
			code: cli.ExitConnect, want: []string{"403", "User-Agent", "bluesky", "wikipedia"}},
		{args: "rate wikipedia --source live --wikipedia-url " + forbidden.URL + "/x", code: cli.ExitConnect, want: []string{"403", "wikipedia"}},

		{args: "up --data " + file, code: cli.ExitRuntime, want: []string{file, "--data"}},
		{args: "up --data " + newer, code: cli.ExitRuntime, want: []string{newer, "newer version"}},
		{args: "up --data " + foreign, code: cli.ExitRuntime, want: []string{foreign, "not a weir data directory"}},
		{args: "up --data " + half, code: cli.ExitRuntime, want: []string{half, "damaged"}},
		{args: "up --ports " + takenPort + ",0,0,0", code: cli.ExitRuntime, want: []string{takenPort, "taken", "--ports"}},
		{args: "cluster --ports 0,0,0," + takenPort, code: cli.ExitRuntime, want: []string{takenPort, "Redis", "taken"}},
		{args: "simulate --listen 127.0.0.1:" + takenPort, code: cli.ExitRuntime, want: []string{takenPort, "--listen"}},
	} {
		t.Run(strings.ReplaceAll(c.args, "/", "_"), func(t *testing.T) {
			t.Parallel()
			env := testEnv(t)
			if c.env != "" {
				env = append(env, c.env)
			}
			stdout, stderr, code := weir(t, env, strings.Fields(c.args)...)
			message := ""
			if i := strings.LastIndex("\n"+stderr, "\nweir: "); i >= 0 {
				message = stderr[i:]
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(message, w) {
					t.Errorf("the message does not say %q", w)
				}
			}
			if n := strings.Count(message, "\n"); n < 1 || n > 2 {
				t.Errorf("%d lines, want the cause and the way out", n)
			}
			if strings.Contains(stderr, "hunter2") && strings.Contains(c.args, "weir:hunter2") {
				t.Error("the password is shown")
			}
			if strings.Contains(message, "panic") || strings.Contains(stdout, "panic") {
				t.Error("panic")
			}
			if t.Failed() {
				t.Logf("stderr:\n%s", stderr)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestInUse: a second weir on the same directory says who has it.
func TestInUse(t *testing.T) {
	env := testEnv(t)
	first := start(t, env, "", "cluster")
	first.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	_, stderr, code := weir(t, env, "up")
	if code != cli.ExitRuntime || !strings.Contains(stderr, "in use by weir cluster, process") || !strings.Contains(stderr, "--data") {
		t.Errorf("exit code %d, stderr:\n%s", code, stderr)
	}
	if code := first.stop(t); code != cli.ExitOK {
		t.Errorf("the first one: exit code %d:\n%s", code, first.stderr)
	}
}

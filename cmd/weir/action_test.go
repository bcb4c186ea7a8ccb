package main

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// TestActionsFromATerminal: what is done from a terminal is measured, listed and logged by
// the running weir, whether it serves pages or not.
func TestActionsFromATerminal(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "off"} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			env := testEnv(t, "WEIR_RATE=300")
			up := start(t, env, "", "up", "--listen", listen)
			up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
			waitCounted(t, env, 100)
			must := func(args ...string) string {
				t.Helper()
				stdout, stderr, code := weir(t, env, args...)
				if code != cli.ExitOK {
					t.Fatalf("weir %s: exit code %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
				}
				return stdout + stderr
			}
			pause := regexp.MustCompile(`no transaction of \w+ was acknowledged for \d+ ms at most \(usually every \d+ ms\)`)
			if s := must("brokers", "kill", "1"); !pause.MatchString(s) || !strings.Contains(s, "broker 1 is down and leads 0 partitions") {
				t.Errorf("the kill does not say how long producers waited:\n%s", s)
			}
			if s := must("brokers", "restart", "1"); !pause.MatchString(s) {
				t.Errorf("nor does the restart:\n%s", s)
			}
			must("groups", "join", "weir-wikipedia-counter")
			must("groups", "leave", "weir-wikipedia-counter")
			must("groups", "replay", "weir-wikipedia-counter", "--yes")
			must("groups", "reset", "weir-wikipedia-counter.replay", "--to", "2h", "--yes")

			found := node.Running(filepath.Join(strings.TrimPrefix(env[0], "HOME="), ".local/share/weir"))
			if len(found) != 1 {
				t.Fatalf("found %d running weirs", len(found))
			}
			running := actionsOf(found[0])
			var log struct{ Entries []watch.Entry }
			var changes web.ChangesAnswer
			if err := running.ask(t.Context(), http.MethodGet, "/log?limit=500", nil, &log); err != nil {
				t.Fatal(err)
			}
			if err := running.ask(t.Context(), http.MethodGet, "/brokers/changes", nil, &changes); err != nil {
				t.Fatal(err)
			}
			if len(changes.Changes) != 2 || changes.Changes[1].Change != "killed" || changes.Changes[1].From != "a terminal" || changes.Changes[1].PauseMS < 0 {
				t.Errorf("the list of changes is %+v", changes.Changes)
			}
			var text strings.Builder
			for _, e := range log.Entries {
				text.WriteString(e.Text + "\n")
			}
			for _, want := range []string{`broker 1 was killed from a terminal, which took \d+ ms`, `broker 1 was killed: ` + pause.String(),
				`broker 1 was restarted from a terminal`, `weir-wikipedia-counter: a member was added from a terminal`,
				`weir-wikipedia-counter: a member was removed from a terminal`, `replay of group weir-wikipedia-counter into weir-wikipedia-counter\.replay was started from a terminal`,
				`replay of group weir-wikipedia-counter into .* ended: both have the same counts`, `group weir-wikipedia-counter\.replay was reset to \S+ from a terminal`} {
				if !regexp.MustCompile(want).MatchString(text.String()) {
					t.Errorf("the log does not say %q:\n%s", want, text.String())
				}
			}
			if pages := link.FindString(up.stderr.String()); listen == "off" && pages != "" {
				t.Errorf("pages are served at %s", pages)
			} else if listen != "off" {
				resp, err := http.Get(pages + "/api/v1/brokers/changes")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			if code := up.stop(t); code != cli.ExitOK {
				t.Errorf("exit code %d:\n%s", code, up.stderr)
			}
		})
	}
}

// TestLabsFromATerminalAreLogged: the weir that runs on the data directory logs the start,
// the end and the verdict of a lab that another process runs.
func TestLabsFromATerminalAreLogged(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=100")
	up := start(t, env, "", "cluster", "--listen", "off")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	c := start(t, env, "", smallLab...)
	c.stderr.waitFor(t, "upstream begins", startPatience)
	c.stop(t)
	dir := filepath.Join(strings.TrimPrefix(env[0], "HOME="), ".local/share/weir")
	a := &app{dataDir: dir, log: slog.New(slog.DiscardHandler), labControl: true}
	begun, ended := a.noteLab(t.Context(), "batching")
	begun()
	begun()
	ended(&lab.Report{Report: record.Report{Verdict: record.DoesNotHold}}, nil)
	_, refused := a.noteLab(t.Context(), "groups")
	refused(nil, errors.New("another lab is running"))
	found := node.Running(dir)
	if len(found) != 1 {
		t.Fatalf("found %d running weirs", len(found))
	}
	var log struct{ Entries []watch.Entry }
	if err := actionsOf(found[0]).ask(t.Context(), http.MethodGet, "/log?limit=500", nil, &log); err != nil {
		t.Fatal(err)
	}
	var text string
	for _, e := range log.Entries {
		text += e.Kind + ": " + e.Text + "\n"
	}
	if !regexp.MustCompile(`^lab: lab backpressure, started from a terminal, runs
lab: lab backpressure, started from a terminal, ended after \d+s without a verdict
lab: lab batching, started from the page, runs
lab: lab batching, started from the page, ended after \d+s: the claim does not hold
$`).MatchString(text) {
		t.Errorf("the log says\n%s", text)
	}
}

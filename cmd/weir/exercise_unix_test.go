//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// submission writes a program in sh.
func submission(t *testing.T, path, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExerciseCheckAll(t *testing.T) {
	env, dir := testEnv(t), t.TempDir()
	submission(t, filepath.Join(dir, "ada", "count", "run.sh"), "echo no luck; exit 3\n")
	submission(t, filepath.Join(dir, "ben", "produce", "run.sh"), "exit 0\n")
	submission(t, filepath.Join(dir, "ben", "notes.txt"), "nothing to grade")
	stdout, stderr, code := weir(t, env, "exercise", "check", "all", "--free-ports", dir)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != cli.ExitFailed || len(lines) != 3 {
		t.Fatalf("exit code %d, stderr %s:\n%s", code, stderr, stdout)
	}
	for i, want := range []string{"ada/count", "ben/produce"} {
		if l := lines[i+1]; !strings.Contains(l, want) || !strings.Contains(l, "wrong") || !strings.Contains(l, "ended by itself") {
			t.Errorf("line %d is %q", i+1, l)
		}
	}
	if !strings.Contains(lines[1], "exit code 3: no luck") {
		t.Errorf("the reason is missing: %q", lines[1])
	}
}

// TestExerciseCheckAllIsStopped stops the grading: the submissions that are graded already are in the table.
func TestExerciseCheckAllIsStopped(t *testing.T) {
	dir := t.TempDir()
	begun := filepath.Join(dir, "begun")
	submission(t, filepath.Join(dir, "ada", "count", "run.sh"), "echo no luck; exit 3\n")
	submission(t, filepath.Join(dir, "ben", "count", "run.sh"), "touch "+begun+"; sleep 1000\n")
	c := start(t, testEnv(t), "", "exercise", "check", "all", "--free-ports", dir)
	eventually(t, "the second submission runs", func() bool { return exists(begun) })
	code := c.stop(t)
	if code != cli.ExitUnclear || !strings.Contains(c.stderr.String(), "stopped after 1 of 2 submissions") {
		t.Errorf("exit code %d: %s", code, c.stderr)
	}
	if out := c.stdout.String(); !strings.Contains(out, "ada/count") || strings.Contains(out, "ben/count") {
		t.Errorf("the table is:\n%s", out)
	}
}

// TestExerciseCheckIsStopped stops a check with Ctrl-C: the program and its child end.
func TestExerciseCheckIsStopped(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf("sleep 1000 & echo $$ $! > %s.new && mv %s.new %s; wait", pids, pids, pids)
	c := start(t, testEnv(t), "", "exercise", "check", "count", "--free-ports", "--", "sh", "-c", script)
	eventually(t, "the program runs", func() bool { return exists(pids) })
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	if code := c.stop(t); code != cli.ExitUnclear || !strings.Contains(c.stderr.String(), "all its children were stopped") {
		t.Errorf("exit code %d: %s", code, c.stderr)
	}
	var shell, child int
	if _, err := fmt.Sscan(string(b), &shell, &child); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{shell, child} {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d still runs", pid)
		}
	}
}

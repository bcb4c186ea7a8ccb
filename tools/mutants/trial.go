package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What can become of a mutant.
const (
	killed     = "killed"     // a test failed
	survived   = "survived"   // the tests passed
	timeLimit  = "time limit" // nothing failed in time, which proves nothing on a busy machine
	broken     = "broken"     // it does not compile, or no test has the name
	equivalent = "equivalent" // no test can notice it
)

// result is what became of one mutant.
type result struct {
	mutant
	Outcome string  `json:"outcome"`
	By      string  `json:"by,omitempty"` // the test that failed
	Seconds float64 `json:"seconds"`

	unchanged bool
	output    string // of the compiler or the test
}

// bad reports whether the outcome is one that it should not be.
func (r *result) bad() bool {
	if r.unchanged {
		return r.Outcome != survived && r.Outcome != equivalent
	}
	return r.Outcome != killed && r.Outcome != equivalent
}

// command is what runs the test on unchanged code.
func (r *result) command() string {
	return "go test -count=1 -run " + strconv.Quote(r.Pattern) + " ./" + r.Tests
}

// trial tries mutants.
type trial struct {
	root, work string
	limit      time.Duration
	unchanged  bool
}

// one compiles the package's tests with a mutant and runs those that have to notice it.
// Workers do so beside each other.
func (t *trial) one(ctx context.Context, m *mutant, worker int) (r result) {
	began := time.Now()
	r = result{mutant: *m, Outcome: equivalent, unchanged: t.unchanged}
	if m.Equivalent != "" {
		return r
	}
	defer func() { r.Seconds = time.Since(began).Seconds() }()
	binary := filepath.Join(t.work, "tests"+strconv.Itoa(worker))
	if out, err := t.compile(ctx, m, binary); err != nil {
		r.Outcome, r.output = broken, out+err.Error()
		return r
	}
	// A test that hangs may not even meet its own time limit.
	ctx, cancel := context.WithTimeout(ctx, t.limit+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", m.Pattern, "-test.count=1", "-test.failfast", "-test.timeout", t.limit.String())
	cmd.Dir, cmd.WaitDelay = filepath.Join(t.root, m.Tests), 10*time.Second
	out, err := cmd.CombinedOutput()
	r.output = string(out)
	r.Outcome, r.By = judge(r.output, err == nil)
	return r
}

// compile makes the test binary of the package.
func (t *trial) compile(ctx context.Context, m *mutant, binary string) (output string, err error) {
	text := m.changed
	file := filepath.Join(t.root, m.File)
	if t.unchanged {
		if text, err = os.ReadFile(file); err != nil {
			return "", err
		}
	}
	changed := binary + ".go"
	if err := os.WriteFile(changed, text, 0o600); err != nil { //nolint:gosec // G703: the directory is this program's own
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(binary+".json", overlay, 0o600); err != nil {
		return "", err
	}
	// Linking takes half as long without what a debugger needs.
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w -s", "-overlay", binary+".json", "-o", binary, "./"+filepath.ToSlash(m.Tests))
	cmd.Dir = t.root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	panicked   = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|WARNING: DATA RACE)`)
)

// judge tells from a test's output what became of the mutant, and by what.
func judge(output string, passed bool) (outcome, by string) {
	switch {
	case strings.Contains(output, "testing: warning: no tests to run"):
		return broken, "no test has the name"
	case passed:
		return survived, ""
	case strings.Contains(output, "panic: test timed out"):
		return timeLimit, ""
	}
	if m := failedTest.FindAllStringSubmatch(output, -1); m != nil {
		return killed, m[len(m)-1][1]
	}
	if m := panicked.FindString(output); m != "" {
		return killed, m
	}
	return timeLimit, "" // it was ended, and no test had failed
}

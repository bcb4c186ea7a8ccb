package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise/program"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// startPatience is how long a loaded machine, or the race detector, may take to start a cluster
// or to end a command. A test that waits that long has failed.
const startPatience = 5 * time.Minute

// asWeir makes the test binary be the program, for tests that need real processes.
const asWeir = "WEIR_TEST_PROCESS"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == countProgram {
		os.Exit(countEvents())
	}
	if os.Getenv(asWeir) != "" || len(os.Args) > 1 && os.Args[1] == program.GuardArgument {
		main()
		return
	}
	_ = os.Setenv(asWeir, "1")         // what the program starts is this very program
	_ = flag.Set("test.parallel", "4") // they mostly wait; -parallel overrides it
	goleak.VerifyTestMain(m)
}

// output is what a command wrote to one stream; it can be read while it runs.
type output struct {
	mu  sync.Mutex
	b   bytes.Buffer
	new chan struct{} // closed and replaced at every write
}

func newOutput() *output { return &output{new: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.new)
	o.new = make(chan struct{})
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// waitFor waits until the output has the text.
func (o *output) waitFor(t *testing.T, text string, patience time.Duration) {
	t.Helper()
	timeout := time.After(patience)
	for {
		o.mu.Lock()
		found, changed := strings.Contains(o.b.String(), text), o.new
		o.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %q within %v in:\n%s", text, patience, o)
		}
	}
}

// eventually waits until ok says yes, asking again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(startPatience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", startPatience, what)
		}
		<-tick.C
	}
}

// command is a run of the program in this process.
type command struct {
	stdout, stderr *output
	code           int
	cancel         context.CancelFunc
	done           chan struct{}
}

// testEnv is an environment that keeps a test away from the user's data, default
// ports and the network.
func testEnv(t *testing.T, more ...string) []string {
	return append([]string{"HOME=" + t.TempDir(), "WEIR_PORTS=0", "WEIR_SOURCE=simulated"}, more...)
}

// start runs the program until it ends or the test stops it.
func start(t *testing.T, env []string, stdin string, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &command{stdout: newOutput(), stderr: newOutput(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.code = cli.Report(run(ctx, args, env, strings.NewReader(stdin), c.stdout, c.stderr), c.stderr)
	}()
	t.Cleanup(func() { c.stop(t) })
	return c
}

// stop is the first Ctrl-C: it waits for the end and returns the exit code.
func (c *command) stop(t *testing.T) int {
	t.Helper()
	c.cancel()
	return c.wait(t)
}

func (c *command) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-c.done:
		return c.code
	case <-time.After(startPatience):
		t.Fatalf("the command does not end; stderr:\n%s", c.stderr)
		return -1
	}
}

// weir runs the program to its end.
func weir(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := start(t, env, "", args...)
	code = c.wait(t)
	return c.stdout.String(), c.stderr.String(), code
}

// golden compares with a file below testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (go test ./cmd/weir -run %s -update rewrites it); got:\n%s", path, t.Name(), got)
	}
}

// TestHelp keeps the help texts as they were read, and every command with an
// example and few flags.
func TestHelp(t *testing.T) {
	root := newRoot(newApp(nil, strings.NewReader(""), newOutput(), newOutput()))
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())
		if c.Name() == "help" || c.Name() == "completion" {
			return
		}
		stdout, _, code := weir(t, testEnv(t), append(path[1:], "--help")...)
		if code != cli.ExitOK {
			t.Errorf("%s --help: exit code %d", c.CommandPath(), code)
		}
		golden(t, filepath.Join("help", strings.Join(path, "-")+".txt"), stdout)
		if c.Runnable() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

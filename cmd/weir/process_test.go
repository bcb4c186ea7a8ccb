package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
)

// child is a real process of the program, started once.
type child struct {
	*exec.Cmd
	out  *output
	done chan struct{}
}

func spawn(t *testing.T, env []string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], args...), out: newOutput(), done: make(chan struct{})}
	c.Env = append([]string{asWeir + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	c.Stdout, c.Stderr = c.out, c.out
	c.SysProcAttr = childAttributes()
	c.WaitDelay = startPatience // a process that it started may hold its output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.Wait()
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.done
	})
	return c
}

func (c *child) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code, -1 for a signal.
func (c *child) exit(t *testing.T) int {
	t.Helper()
	return c.exitWithin(t, startPatience)
}

func (c *child) exitWithin(t *testing.T, patience time.Duration) int {
	t.Helper()
	select {
	case <-c.done:
		return c.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the process does not end:\n%s", c.out)
		return 0
	}
}

// TestSignals: the first signal drains, a second one ends the process at once.
func TestSignals(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	cluster := spawn(t, env, "cluster")
	cluster.out.waitFor(t, "Ctrl-C stops", startPatience)
	produce := spawn(t, env, "produce", "bluesky")
	produce.out.waitFor(t, "Ctrl-C stops", startPatience)
	waitTopic(t, env, "bluesky-events")

	// Without an answer of its cluster, draining takes as long as it may.
	cluster.signal(t, sigStop)
	told := len(produce.out.String())
	eventually(t, "produce waits with events that it cannot commit", func() bool {
		return strings.Contains(produce.out.String()[told:], "waiting for Kafka")
	})
	produce.signal(t, syscall.SIGTERM)
	produce.out.waitFor(t, "stopping", startPatience)
	produce.signal(t, os.Interrupt)
	if code := produce.exit(t); code != cli.ExitAborted {
		t.Errorf("a second signal: exit code %d, want %d:\n%s", code, cli.ExitAborted, produce.out)
	}
	cluster.signal(t, syscall.SIGKILL)
	cluster.exit(t)

	up := spawn(t, env, "up")
	up.out.waitFor(t, "Ctrl-C stops", startPatience)
	up.signal(t, syscall.SIGTERM)
	if code := up.exit(t); code != cli.ExitOK {
		t.Errorf("a first signal: exit code %d:\n%s", code, up.out)
	}
}

// waitTopic waits until a topic has a message.
func waitTopic(t *testing.T, env []string, topic string) {
	t.Helper()
	eventually(t, "something comes into "+topic, func() bool {
		stdout, _, _ := weir(t, env, "messages", topic, "-n", "1")
		return stdout != ""
	})
}

// TestCrashPoint: the test switch kills the process where it says.
func TestCrashPoint(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	up := spawn(t, append(env, "WEIR_TEST_CRASH=ingest: flushed:3"), "up")
	up.exit(t)
	if s := up.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Fatalf("it ended with %v:\n%s", up.ProcessState, up.out)
	}
	again := spawn(t, env, "up")
	again.out.waitFor(t, "Ctrl-C stops", startPatience)
	if !strings.Contains(again.out.String(), "SIMULATED") {
		t.Error("the banner does not say that events are simulated")
	}
	waitCounted(t, env, 20)
	verified(t, env)
}

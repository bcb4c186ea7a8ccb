package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/visible"
)

// terminal is a real pseudo-terminal with a process of the program on it.
type terminal struct {
	*child
	keys *os.File // what is typed
}

// onTerminal starts the program with a terminal as its standard streams.
func onTerminal(t *testing.T, env []string, columns int, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	c := &child{Cmd: exec.Command(os.Args[0], args...), out: newOutput(), done: make(chan struct{})}
	c.Env = append([]string{asWeir + "=1", "TERM=xterm", "PATH=" + os.Getenv("PATH")}, env...)
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			_, _ = c.out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(c.done)
		_ = c.Wait()
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.done
	})
	return &terminal{child: c, keys: master}
}

func (c *terminal) typeLine(t *testing.T, s string) {
	t.Helper()
	if _, err := c.keys.WriteString(s + "\n"); err != nil {
		t.Fatal(err)
	}
}

// TestTerminal: status lines are redrawn in place and never wider than the
// terminal, Ctrl-C typed there drains, and questions want their answer.
func TestTerminal(t *testing.T) {
	t.Parallel()
	const columns = 60
	env := testEnv(t, "NO_COLOR=1", "WEIR_RATE=300")
	up := onTerminal(t, env, columns, "up")
	up.out.waitFor(t, "\x1b[2A\r\x1b[J", startPatience) // two lines, drawn again
	waitCounted(t, env, 50)
	up.typeLine(t, "\x03")
	if code := up.exit(t); code != cli.ExitOK {
		t.Errorf("Ctrl-C: exit code %d:\n%q", code, up.out)
	}
	up.out.waitFor(t, "weir-bluesky-counter", time.Second)
	for block := range strings.SplitSeq(up.out.String(), "\x1b[J") {
		for line := range strings.Lines(block) {
			if line = strings.TrimRight(line, "\r\n"); strings.HasPrefix(line, "bluesky   (sim") && visible.Width(line) >= columns {
				t.Errorf("a status line takes %d of %d columns: %q", visible.Width(line), columns, line)
			}
		}
	}
	if strings.Contains(up.out.String(), "\x1b[1m") || strings.Contains(up.out.String(), "\x1b[33m") {
		t.Error("colours in spite of NO_COLOR")
	}

	cluster := start(t, env, "", "cluster")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	before := sum(counted(t, env)["wikipedia"])
	args := []string{"groups", "reset", "weir-wikipedia-counter", "--to", "oldest"}
	no := onTerminal(t, env, columns, args...)
	no.out.waitFor(t, "Type the group's name", startPatience)
	no.typeLine(t, "y")
	if code := no.exit(t); code != cli.ExitRuntime || sum(counted(t, env)["wikipedia"]) != before {
		t.Errorf("the wrong answer: exit code %d:\n%s", code, no.out)
	}
	yes := onTerminal(t, env, columns, args...)
	yes.out.waitFor(t, "Type the group's name", startPatience)
	yes.typeLine(t, "weir-wikipedia-counter")
	if code := yes.exit(t); code != cli.ExitOK || sum(counted(t, env)["wikipedia"]) != 0 {
		t.Errorf("the right answer: exit code %d:\n%s", code, yes.out)
	}
	messages := onTerminal(t, env, columns, "messages", "bluesky-events", "-n", "5")
	if code := messages.exit(t); code != cli.ExitOK {
		t.Errorf("messages: exit code %d:\n%s", code, messages.out)
	}
	for line := range strings.Lines(messages.out.String()) {
		if visible.Width(strings.TrimRight(line, "\r\n")) > columns {
			t.Errorf("a message takes more than a line: %q", line)
		}
	}
}

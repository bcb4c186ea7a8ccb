package program

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long something may take that a loaded machine does late.
const patience = time.Minute

// role makes this test binary another program: one that is started here.
const role = "TEST_ROLE"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == GuardArgument {
		os.Exit(Guard())
	}
	switch os.Getenv(role) {
	case "":
		goleak.VerifyTestMain(m)
	case "family": // it has a child that leaves the process group, and a grandchild
		family()
	case "child":
		<-time.After(time.Hour)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		<-time.After(time.Hour)
	case "polite":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		<-c
		fmt.Println("bye")
		os.Exit(7)
	case "checker": // it starts a family, says who it is, and is killed
		p, err := Start(Config{Args: []string{os.Args[0]}, Env: environ("family"), Self: os.Args[0]})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(firstLine(p))
		<-p.Ended()
	case "loud":
		for range 100 {
			fmt.Println(strings.Repeat("x", 1000))
		}
	case "big":
		b := make([]byte, 64<<20)
		for i := range b {
			b[i] = 1
		}
		fmt.Println("ready", len(b))
		<-time.After(time.Hour)
		runtime.KeepAlive(b)
	}
}

// environ is the environment of a role.
func environ(name string) []string { return append(os.Environ(), role+"="+name) }

// family prints its process IDs and stays.
func family() {
	child := exec.Command(os.Args[0])
	child.Env = environ("child")
	leaveGroup(child)
	if err := child.Start(); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("family", os.Getpid(), child.Process.Pid)
	<-time.After(time.Hour)
}

// launch starts a role and returns the first line that it prints.
func launch(t *testing.T, name string) (*Process, string) {
	t.Helper()
	p, err := Start(Config{Args: []string{os.Args[0]}, Env: environ(name), Self: os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	line := firstLine(p)
	if line == "" {
		t.Fatal("the program printed nothing")
	}
	return p, line
}

// firstLine waits until a program has printed a line; empty where it prints none.
func firstLine(p *Process) string {
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if lines := p.Output(); len(lines) > 0 {
			return lines[0]
		}
	}
	return ""
}

// pids reads the process IDs that a family prints.
func pids(t *testing.T, line string) (all []int) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != "family" {
		t.Fatalf("the family said %q", line)
	}
	for _, w := range words[1:] {
		n, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// gone waits until none of the processes runs.
func gone(t *testing.T, all []int) {
	t.Helper()
	for _, pid := range all {
		for end := time.Now().Add(patience); alive(pid); <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d of %v still runs", pid, all)
			}
		}
	}
}

func TestCloseEndsTheWholeFamily(t *testing.T) {
	p, line := launch(t, "family")
	all := pids(t, line)
	for _, pid := range all {
		if !alive(pid) {
			t.Fatalf("process %d does not run", pid)
		}
	}
	p.Close()
	for _, pid := range all {
		if alive(pid) {
			t.Errorf("process %d of %v runs after Close", pid, all)
		}
	}
	if e := p.Exit(); e.Signal == "" && runtime.GOOS != "windows" {
		t.Errorf("it ended with %s", e)
	}
}

// TestAKilledCheckerLeavesNothing kills the process that started a program.
func TestAKilledCheckerLeavesNothing(t *testing.T) {
	checker := exec.Command(os.Args[0])
	checker.Env = environ("checker")
	out, err := checker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := checker.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	all := pids(t, line)
	if err := checker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = checker.Wait() // killed
	gone(t, all)
}

func TestStopAsksFirst(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Ctrl-Break needs a console")
	}
	p, _ := launch(t, "polite")
	if !p.Stop(patience) || p.Exit().Code != 7 {
		t.Errorf("a program that ends when asked ended with %s", p.Exit())
	}
	if got := strings.Join(p.Output(), ","); got != "ready,bye" {
		t.Errorf("it printed %q", got)
	}
	deaf, _ := launch(t, "deaf")
	if deaf.Stop(100*time.Millisecond) || deaf.Exit().Signal == "" {
		t.Errorf("a program that ignores SIGTERM ended with %s", deaf.Exit())
	}
}

func TestOutputIsBounded(t *testing.T) {
	p, err := Start(Config{Args: []string{os.Args[0]}, Env: environ("loud"), Self: os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	p.Close()
	n, tooMuch := p.Printed()
	if n != 100*1001 || tooMuch {
		t.Errorf("it printed %d bytes, too much: %v", n, tooMuch)
	}
	lines := p.Output()
	if len(lines) != keptLines || len(lines[0]) != maxLine {
		t.Errorf("%d lines are kept, the first of %d bytes", len(lines), len(lines[0]))
	}
	if e := p.Exit(); e.Code != 0 || e.Signal != "" {
		t.Errorf("it ended with %s", e)
	}
}

func TestMemoryIsThatOfTheTree(t *testing.T) {
	p, _ := launch(t, "big")
	if n := p.Memory(); n < 64<<20 || n > 1<<30 {
		t.Errorf("%d MiB, want at least 64", n>>20)
	}
}

func TestCommandsThatDoNotExist(t *testing.T) {
	if _, err := Start(Config{Args: []string{"no-such-command-here"}, Self: os.Args[0]}); err == nil || !strings.Contains(err.Error(), "no-such-command-here") {
		t.Errorf("error %v", err)
	}
}

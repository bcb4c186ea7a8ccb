package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait: far more than a loaded machine needs.
const patience = 4 * time.Minute

func build(t *testing.T, dir, out, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out+string(os.PathSeparator), pkg)
	cmd.Dir = dir
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
}

// given are the ports that freePort has returned.
var given sync.Map

// freePort returns a port that nobody listens on and that it has not returned before. It is below those
// that Linux gives to outgoing connections: programs bind it later, and are restarted on it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(20000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// waitFor polls until ok, and fails the test after a long while.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("stopped while waiting for %s", what)
		}
	}
}

// process is a running program whose output is shown when the test fails.
type process struct {
	cmd  *exec.Cmd
	out  *lockedBuffer
	done chan error
}

func start(t *testing.T, name string, env []string, bin string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	return begin(t, name, cmd)
}

// begin starts a program that is more than its command line.
func begin(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, out: &lockedBuffer{}, done: make(chan error, 1)}
	p.cmd.SysProcAttr = childAttributes()
	p.cmd.Stderr = p.out
	if p.cmd.Stdout == nil { // else the test reads it
		p.cmd.Stdout = p.out
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", name, p.out.tail(6000))
		}
	})
	return p
}

// stop sends a signal and waits for the program's end.
func (p *process) stop(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %s: %v", p.cmd.Path, err)
	}
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if sig == syscall.SIGINT && errors.As(err, &exit) {
			t.Errorf("%s on Ctrl-C: %v", p.cmd.Path, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s did not stop", p.cmd.Path)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.Bytes()
	return string(s[max(0, len(s)-n):])
}

// engine is the one on which weir runs in the tests of upstreams: WEIR_TEST_ENGINE, or
// the embedded one.
func engine() string {
	if e := os.Getenv("WEIR_TEST_ENGINE"); e != "" {
		return e
	}
	return "embedded"
}

// weir is one data directory of the built program.
type weir struct {
	t              *testing.T
	bin, data, url string
	env            []string // beside the test's own
}

func (w *weir) up() *process {
	w.t.Helper()
	args := []string{"up", "--data", w.data, "--engine", engine(), "--ports", "0", "--listen", "off", "--log-level", "info",
		"--source", "live", "--wikipedia-url", "http://127.0.0.1:9/none", "--collections", "*"}
	for url := range strings.SplitSeq(w.url, " ") {
		args = append(args, "--bluesky-url", url)
	}
	p := start(w.t, "weir up", w.env, w.bin, args...)
	w.t.Cleanup(func() { // in order: Java's processes would outlive a weir that is killed
		if p.cmd.Process.Signal(syscall.SIGTERM) == nil {
			<-p.done
		}
	})
	waitFor(w.t, "weir", func() bool {
		_, err := w.run("counts", "-o", "json")
		return err == nil
	})
	return p
}

func (w *weir) run(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin, append(args, "--data", w.data)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.New(strings.Join(args, " ") + ": " + err.Error() + ": " + stderr.String())
	}
	return out, err
}

func (w *weir) counts() map[string]int64 {
	w.t.Helper()
	out, err := w.run("counts", "-o", "json")
	if err != nil {
		w.t.Fatal(err)
	}
	var all map[string]map[string]int64
	if err := json.Unmarshal(out, &all); err != nil {
		w.t.Fatalf("weir counts printed %q: %v", out, err)
	}
	return all["bluesky"]
}

func (w *weir) counted() (sum int64) {
	w.t.Helper()
	for _, n := range w.counts() {
		sum += n
	}
	return sum
}

// grows waits until that many more events are counted.
func (w *weir) grows(by int64) {
	w.t.Helper()
	target := w.counted() + by
	waitFor(w.t, "events to be counted", func() bool { return w.counted() >= target })
}

// brokers returns the brokers' addresses.
func (w *weir) brokers() string {
	w.t.Helper()
	out, err := w.run("brokers", "-o", "json")
	if err != nil {
		w.t.Fatal(err)
	}
	var all []struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) == 0 {
		w.t.Fatalf("weir brokers printed %q: %v", out, err)
	}
	var addresses []string
	for _, b := range all {
		addresses = append(addresses, b.Address)
	}
	return strings.Join(addresses, ",")
}

// topic reads a whole topic with kcat: the operation of each event, by identity.
func (w *weir) topic(name string) map[string]string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kcat", "-b", w.brokers(), "-C", "-t", name, "-o", "beginning", "-e", "-q",
		"-X", "isolation.level=read_committed", "-f", "%s\n").Output()
	if err != nil {
		w.t.Fatalf("kcat: %v", err)
	}
	events := map[string]string{}
	for line := range bytes.Lines(out) {
		id, operation, err := identity(line)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, again := events[id]; again {
			w.t.Errorf("twice in %s: %s", name, id)
		}
		events[id] = operation
	}
	return events
}

// verify runs the program's own proof.
func (w *weir) verify() {
	w.t.Helper()
	out, err := w.run("verify", "-o", "json")
	if err != nil {
		w.t.Errorf("weir verify: %v\n%s", err, out)
		return
	}
	w.t.Logf("weir verify: %s", out)
}

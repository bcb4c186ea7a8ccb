//go:build unix

package run

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait: far more than a loaded machine needs.
const patience = 3 * time.Minute

// TestDocuments follows each document as a reader would, with the program that WEIR_TEST_DOCS
// names. It has a home directory of its own, and simulated streams.
func TestDocuments(t *testing.T) {
	bin := os.Getenv("WEIR_TEST_DOCS")
	if bin == "" {
		t.Skip("needs WEIR_TEST_DOCS, the path of a weir binary: .ci/run docs")
	}
	skipped, commands := map[string]int{}, 0
	for _, d := range documents(t) {
		t.Run(d.name, func(t *testing.T) {
			r := newReader(t, bin)
			for _, b := range d.blocks {
				if need := missing(b.needs); need != "" {
					skipped[need]++
					continue
				}
				commands += len(b.commands)
				if r.follow(b); t.Failed() {
					return // the next steps build on this one
				}
			}
			for name := range r.running {
				t.Errorf("the document does not stop %s", name)
			}
		})
	}
	t.Logf("%d commands were executed; blocks that were not: %v", commands, skipped)
	if os.Getenv("CI") == "true" {
		for _, need := range []string{"kcat", "python"} {
			if skipped[need] > 0 {
				t.Errorf("%d blocks need %s, which this machine does not have", skipped[need], need)
			}
		}
	}
}

// missing returns the first of what a block needs that this machine does not have.
func missing(needs []string) string {
	for _, need := range needs {
		var err error
		switch need {
		case "network", "clone", "cluster": // nothing here contacts another machine
			err = errors.New("not on this machine")
		case "lab": // the tier lab runs them
			err = errors.New("takes a minute")
		case "java": // and Maven, which downloads the brokers once
			if _, err = exec.LookPath("java"); err == nil && os.Getenv("KAFKA_HOME") == "" {
				_, err = exec.LookPath("mvn")
			}
		case "docker":
			err = exec.Command("docker", "compose", "version").Run()
		case "python":
			err = exec.Command("python3", "-c", "import confluent_kafka, redis, websocket").Run()
		default:
			_, err = exec.LookPath(need)
		}
		if err != nil {
			return need
		}
	}
	return ""
}

// reader is somebody who follows a document: a directory, an environment, running programs.
type reader struct {
	t       *testing.T
	dir     string
	env     []string
	ports   *strings.Replacer // default addresses → those of this test
	running map[string]*program
}

type program struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
	seen int // bytes of out that an earlier block has shown
}

func newReader(t *testing.T, bin string) *reader {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "weir")); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 5)
	var replace []string
	for i, p := range []string{"19092", "29092", "39092", "6379", "8080"} {
		replace = append(replace, "127.0.0.1:"+p, "127.0.0.1:"+strconv.Itoa(ports[i]))
	}
	replace = append(replace, "go run ./cmd/weir", "./weir")
	cache, err := os.UserCacheDir() // the brokers' jars, which are downloaded once
	if err != nil {
		t.Fatal(err)
	}
	path := dir + string(os.PathListSeparator) + os.Getenv("PATH")
	r := &reader{
		t: t, dir: dir, ports: strings.NewReplacer(replace...), running: map[string]*program{},
		env: append(os.Environ(), "HOME="+filepath.Join(dir, "home"), "XDG_DATA_HOME=", "XDG_CACHE_HOME="+cache, "PATH="+path, "WEIR_SOURCE=simulated",
			fmt.Sprintf("WEIR_PORTS=%d,%d,%d,%d", ports[0], ports[1], ports[2], ports[3]), "WEIR_LISTEN=127.0.0.1:"+strconv.Itoa(ports[4])),
	}
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range r.running {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.done
		}
	})
	return r
}

// freePorts returns ports that nobody listened on a moment ago.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

// follow does what one block says.
func (r *reader) follow(b block) {
	r.t.Helper()
	switch {
	case b.file != "":
		if err := os.WriteFile(filepath.Join(r.dir, b.file), []byte(r.ports.Replace(b.body)), 0o600); err != nil {
			r.t.Fatal(err)
		}
	case b.kill != "":
		r.end(b.kill, syscall.SIGKILL)
		delete(r.running, b.kill)
	case b.interrupt != "":
		p := r.end(b.interrupt, syscall.SIGINT)
		if p == nil {
			return
		}
		delete(r.running, b.interrupt)
		c := b.commands[0]
		if len(c.want) > 0 { // it has also printed something since its start
			c.want = append([]string{"…"}, c.want...)
		}
		r.check(c, p.out.String()[p.seen:], false)
		if code := p.cmd.ProcessState.ExitCode(); code != b.exit {
			r.t.Errorf("line %d: %s ended with exit code %d, want %d", b.line, b.interrupt, code, b.exit)
		}
	default:
		for i, c := range b.commands {
			last := i == len(b.commands)-1
			if b.stays != "" && last {
				r.start(b.stays, c)
				continue
			}
			want := 0
			if last {
				want = b.exit
			}
			r.execute(c, want, b.soon)
		}
	}
}

// check reports the first line of a document that is not on the screen.
func (r *reader) check(c command, output string, open bool) {
	r.t.Helper()
	if len(c.want) == 0 {
		return
	}
	if line := shows(c.want, output, open); line != "" {
		r.t.Errorf("line %d: `%s` does not show %q; it shows:\n%s", c.line, c.text, line, tail(output))
	}
}

// execute runs a command to its end.
func (r *reader) execute(c command, code int, soon bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		p := r.run(c.text)
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.done
			r.t.Fatalf("line %d: `%s` did not end; it shows:\n%s", c.line, c.text, tail(p.out.String()))
		}
		out, got := p.out.String(), p.cmd.ProcessState.ExitCode()
		fits := got == code && (len(c.want) == 0 || shows(c.want, out, false) == "")
		if soon && !fits && time.Now().Before(deadline) {
			<-time.After(200 * time.Millisecond)
			continue
		}
		if got != code {
			r.t.Errorf("line %d: `%s` ended with exit code %d, want %d:\n%s", c.line, c.text, got, code, tail(out))
		}
		r.check(c, out, false)
		return
	}
}

// start runs a command that goes on, and waits for what it shows.
func (r *reader) start(name string, c command) {
	r.t.Helper()
	p := r.run(c.text)
	r.running[name] = p
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for shows(c.want, p.out.String(), true) != "" {
		select {
		case <-tick.C:
			continue
		case <-p.done:
			r.t.Errorf("line %d: `%s` ended", c.line, c.text)
		case <-deadline:
		}
		break
	}
	out := p.out.String()
	p.seen = len(out)
	r.check(c, out, true)
}

// run starts a command line in a process group of its own, as a shell at a terminal does.
func (r *reader) run(text string) *program {
	r.t.Helper()
	p := &program{cmd: exec.Command("bash", "-c", r.ports.Replace(text)), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = r.dir, r.env, &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// end signals a running program and waits for its end.
func (r *reader) end(name string, sig syscall.Signal) *program {
	r.t.Helper()
	p := r.running[name]
	if p == nil {
		r.t.Errorf("the document ends %s, which does not run", name)
		return nil
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil {
		r.t.Errorf("%s had ended by itself: %v:\n%s", name, err, tail(p.out.String()))
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		r.t.Fatalf("%s does not end:\n%s", name, tail(p.out.String()))
	}
	return p
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

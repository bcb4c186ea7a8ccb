package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

const (
	// labTellEvery is how often a browser gets an event at most.
	labTellEvery = 200 * time.Millisecond
	// labFirst is how long a start waits for the first report.
	labFirst = 10 * time.Second
	// labGrace is how long an experiment may take to end when it is asked to.
	labGrace = 20 * time.Second
	// labLine bounds a line of its output, and labStderr what is kept of its errors,
	// in bytes; labBacklog how many updates are kept for browsers.
	labLine    = 1 << 20
	labStderr  = 16 << 10
	labBacklog = 2000
)

// labRun runs one experiment at a time, and keeps what the last one has reported.
type labRun struct {
	mu      sync.Mutex
	wg      sync.WaitGroup
	running string // the lab that runs or starts; empty for none
	stdin   io.WriteCloser
	// What browsers see: a lab is shown once it has reported something.
	lab     string
	command string
	shown   bool // it is the one that runs
	picture record.Picture
	updates []record.Update // that the picture took in last; the first one has the number from
	from    int
	changed chan struct{} // closed when there are more, or others
}

// name is the lab that runs; empty for none.
func (l *labRun) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// start starts an experiment, or says why there is none. ctx is the server's.
func (l *labRun) start(ctx context.Context, cfg *Labs, name string, args []string, shell string) error {
	args = slices.Concat(cfg.Program[1:], args, []string{"-o", "jsonl", "--control", "--data", cfg.Data})
	cmd := exec.CommandContext(ctx, cfg.Program[0], args...)
	// It ends with the server: it is asked to, and killed where that takes too long.
	cmd.Cancel, cmd.WaitDelay = func() error { _, err := l.stop(); return err }, labGrace
	cmd.Env = labEnvironment(os.Environ())
	stderr := &labErrors{}
	cmd.Stderr = stderr
	stdout, err := l.open(cmd, name)
	if err != nil {
		return err
	}
	first := make(chan error, 2) // nil when it has reported something, or why it has ended
	l.wg.Go(func() {
		l.follow(stdout, func() {
			l.lab, l.command, l.picture, l.shown = name, shell, record.Picture{}, true
			l.from += len(l.updates) + 1 // every browser gets the whole picture
			l.updates = nil
			first <- nil
		})
		err := cmd.Wait()
		first <- badRequest("%s", l.end(err, string(stderr.kept)))
	})
	select {
	case err := <-first:
		return err
	case <-time.After(labFirst):
		return nil
	}
}

// open starts the process unless another one runs.
func (l *labRun) open(cmd *exec.Cmd, name string) (stdout io.Reader, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running != "" {
		return nil, conflict("the lab %s is running, and two at once would disturb each other's measurements: wait for its end, or stop it", l.running)
	}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		stdout, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	l.running, l.stdin = name, stdin
	return stdout, nil
}

// labEnvironment leaves out what is meant for this process: its flags and secrets.
func labEnvironment(env []string) (out []string) {
	for _, kv := range env {
		if !strings.HasPrefix(kv, "WEIR_") || strings.HasPrefix(kv, "WEIR_TEST_") {
			out = append(out, kv)
		}
	}
	return out
}

// follow reads updates until there are no more. It calls begin, under the lock, before the
// first.
func (l *labRun) follow(stdout io.Reader, begin func()) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, labLine)
	for lines.Scan() {
		var u record.Update
		if json.Unmarshal(lines.Bytes(), &u) != nil {
			continue // not an update
		}
		l.mu.Lock()
		if begin != nil {
			begin()
			begin = nil
		}
		l.add(u)
		l.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stdout) // a line that is too long ends the scanner
}

// add takes an update in. The lock is held.
func (l *labRun) add(u record.Update) {
	l.picture.Add(u)
	if len(l.updates) == labBacklog { // a browser that has fallen behind gets the picture
		l.from += labBacklog / 2
		l.updates = slices.Delete(l.updates, 0, labBacklog/2)
	}
	l.updates = append(l.updates, u)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// end notes how an experiment ended, and returns why where it did not report that itself.
func (l *labRun) end(err error, stderr string) (why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.stdin.Close()
	if why = lastError(stderr); why == "" {
		why = "it ended without a word"
		if err != nil {
			why = err.Error()
		}
	}
	if l.running = ""; !l.shown {
		return why // what was refused has not run: pages show what ran last
	}
	l.shown = false
	u := record.Update{At: l.picture.At}
	if l.picture.End == nil {
		u.Controls, u.End = []record.Control{}, &record.End{Error: why}
	}
	l.add(u)
	return why
}

// lastError is what a command says when it fails: "weir: cause" and a hint.
func lastError(stderr string) string {
	_, why, ok := strings.Cut("\n"+stderr, "\nweir: ")
	if !ok {
		return ""
	}
	return strings.Join(strings.Fields(why), " ")
}

var errNoLabRuns = conflict("no lab is running")

// stop asks the experiment to end.
func (l *labRun) stop() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == "" {
		return "", errNoLabRuns
	}
	_ = l.stdin.Close() // its control is gone, so it ends
	return l.running, nil
}

// labListens is how long a lab may take to read a setting.
const labListens = 2 * time.Second

// set changes a setting that the experiment offers. It writes without the lock: a lab that
// does not read its standard input must not stop the pages.
func (l *labRun) set(name, value string) (string, error) {
	lab, stdin, err := l.allows(name, value)
	if err != nil {
		return "", err
	}
	if d, ok := stdin.(interface{ SetWriteDeadline(time.Time) error }); ok { // a pipe has one
		_ = d.SetWriteDeadline(time.Now().Add(labListens)) // fails where the lab has ended, and so does the write
	}
	if _, err := io.WriteString(stdin, setLine(name, value)+"\n"); err != nil {
		return "", conflict("the lab does not read its settings: %w", err)
	}
	return lab, nil
}

// setLine changes a setting where a lab reads it from its standard input.
func setLine(name, value string) string {
	line, _ := json.Marshal(map[string]string{"set": name, "value": value}) // two texts
	return string(line)
}

// allows returns the lab that runs and its standard input if it offers a setting with that
// value now.
func (l *labRun) allows(name, value string) (lab string, stdin io.Writer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == "" {
		return "", nil, errNoLabRuns
	}
	i := slices.IndexFunc(l.picture.Controls, func(c record.Control) bool { return c.Name == name })
	if i < 0 || !l.shown {
		return "", nil, conflict("%s cannot be changed now", name)
	}
	if err := l.picture.Controls[i].Allows(value); err != nil {
		return "", nil, badRequest("%v", err)
	}
	return l.running, l.stdin, nil
}

// next waits until there is more than a browser has, which is the updates before number at,
// and then a little for more of it. It returns what is new and the number that comes next.
func (l *labRun) next(ctx context.Context, at int) (course json.RawMessage, next int, err error) {
	for {
		l.mu.Lock()
		if at != l.from+len(l.updates) {
			l.mu.Unlock()
			break
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-changed:
		}
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(labTellEvery):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := labCourse{Lab: l.lab, Command: l.command, Running: l.shown}
	if at >= l.from {
		c.Updates = l.updates[at-l.from:]
	} else {
		p := l.picture
		p.Lines, p.Marks, p.Measures, p.Checks = list(p.Lines), list(p.Marks), list(p.Measures), list(p.Checks)
		p.Tradeoffs, p.Tanks, p.Controls = list(p.Tradeoffs), list(p.Tanks), list(p.Controls)
		c.Picture = &p
	}
	course, err = json.Marshal(c) // under the lock: the picture goes on changing
	return course, l.from + len(l.updates), err
}

// list is never nil, so that a list without elements is a list in JSON, too.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// labErrors keeps the end of what is written to it.
type labErrors struct{ kept []byte }

// Write implements io.Writer.
func (t *labErrors) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-labStderr):]
	return len(p), nil
}

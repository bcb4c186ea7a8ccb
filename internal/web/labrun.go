package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

const (
	// labTellEvery is how often a browser is told at most.
	labTellEvery = 200 * time.Millisecond
	// labFirst is how long a start waits for the first word, which may be a refusal.
	labFirst = 10 * time.Second
	// labGrace is how long an experiment may take to end when it is asked to.
	labGrace = 20 * time.Second
	// labLine bounds a line of its output, and labStderr what is kept of its errors,
	// in bytes; labBacklog how many updates wait for a browser.
	labLine    = 1 << 20
	labStderr  = 16 << 10
	labBacklog = 2000
)

// labRun runs one experiment at a time, and keeps what the last one has told.
type labRun struct {
	mu      sync.Mutex
	wg      sync.WaitGroup
	lab     string
	command string
	running bool
	stdin   io.WriteCloser
	picture record.Picture
	subs    map[*labSub]bool
}

// labSub is a browser that listens.
type labSub struct {
	updates []record.Update
	whole   bool // the picture is to be sent
	news    chan struct{}
}

func (l *labRun) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return l.lab
	}
	return ""
}

// start starts an experiment, or says why there is none. ctx is the server's.
func (l *labRun) start(ctx context.Context, cfg *Labs, name string, args []string, shell string) error {
	l.mu.Lock()
	if l.running {
		defer l.mu.Unlock()
		return conflict("the lab %s is running, and two at once would disturb each other's measurements: wait for its end, or stop it", l.lab)
	}
	args = append(append(append([]string{}, cfg.Program[1:]...), args...), "-o", "jsonl", "--control", "--data", cfg.Data)
	cmd := exec.Command(cfg.Program[0], args...) //nolint:noctx // it is asked to end, which takes a moment
	cmd.Env = labEnvironment(os.Environ())
	stderr := &labErrors{}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.mu.Unlock()
		return fmt.Errorf("start lab: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.mu.Unlock()
		return fmt.Errorf("start lab: %w", err)
	}
	if err := cmd.Start(); err != nil {
		l.mu.Unlock()
		return fmt.Errorf("start lab: %w", err)
	}
	lastLab, lastCommand, lastPicture := l.lab, l.command, l.picture
	l.lab, l.command, l.running, l.stdin, l.picture = name, shell, true, stdin, record.Picture{}
	for sub := range l.subs {
		sub.restart()
	}
	l.mu.Unlock()
	first, ended := make(chan struct{}), make(chan struct{})
	l.wg.Go(func() {
		defer close(ended)
		l.follow(stdout, first)
		err := cmd.Wait()
		l.end(err, stderr.String())
	})
	l.wg.Go(func() { l.guard(ctx, cmd, ended) })
	select {
	case <-first:
		return nil
	case <-ended:
	case <-time.After(labFirst):
		return nil
	}
	select {
	case <-first: // it has told something, and then ended
		return nil
	default:
	}
	why := l.reason()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running { // what was refused has not run: pages show what ran last
		l.lab, l.command, l.picture = lastLab, lastCommand, lastPicture
		for sub := range l.subs {
			sub.restart()
		}
	}
	return badRequest("%s", why)
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

// guard lets an experiment end with the server.
func (l *labRun) guard(ctx context.Context, cmd *exec.Cmd, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	_, _ = l.stop() // it may have ended
	select {
	case <-ended:
	case <-time.After(labGrace):
		_ = cmd.Process.Kill()
	}
}

// follow reads updates until there are no more.
func (l *labRun) follow(stdout io.Reader, first chan struct{}) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, labLine)
	for begun := false; lines.Scan(); {
		var u record.Update
		if json.Unmarshal(lines.Bytes(), &u) != nil {
			continue // not an update
		}
		if !begun {
			begun = true
			close(first)
		}
		l.mu.Lock()
		l.tell(u)
		l.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stdout) // a line that is too long ends the scanner
}

// tell takes an update in. The lock is held.
func (l *labRun) tell(u record.Update) {
	l.picture.Add(u)
	for sub := range l.subs {
		if !sub.whole {
			sub.updates = append(sub.updates, u)
		}
		if len(sub.updates) > labBacklog {
			sub.restart()
		}
		sub.tell()
	}
}

// end notes how an experiment ended.
func (l *labRun) end(err error, stderr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = false
	_ = l.stdin.Close()
	if l.picture.End == nil { // it did not come so far
		why := lastError(stderr)
		if why == "" {
			why = "it ended without a word"
			if err != nil {
				why = err.Error()
			}
		}
		l.tell(record.Update{At: l.picture.At, Controls: []record.Control{}, End: &record.End{Error: why}})
	}
	for sub := range l.subs {
		sub.tell()
	}
}

// reason is why the last one failed.
func (l *labRun) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.picture.End == nil {
		return "it did not start"
	}
	return l.picture.End.Error
}

// lastError is what a command says when it fails: "weir: cause" and a hint.
func lastError(stderr string) string {
	_, why, ok := strings.Cut("\n"+stderr, "\nweir: ")
	if !ok {
		return ""
	}
	return strings.Join(strings.Fields(why), " ")
}

// stop asks the experiment to end.
func (l *labRun) stop() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		return "", conflict("no lab is running")
	}
	_ = l.stdin.Close() // its control is gone, so it ends
	return l.lab, nil
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
	line, err := json.Marshal(map[string]string{"set": name, "value": value})
	if err != nil {
		return "", err
	}
	if d, ok := stdin.(interface{ SetWriteDeadline(time.Time) error }); ok { // a pipe has one
		_ = d.SetWriteDeadline(time.Now().Add(labListens)) // fails where the lab has ended, and so does the write
	}
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		return "", conflict("the lab does not read its settings: %w", err)
	}
	return lab, nil
}

// allows returns the lab that runs and its standard input if it offers a setting with that
// value now.
func (l *labRun) allows(name, value string) (lab string, stdin io.Writer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		return "", nil, conflict("no lab is running")
	}
	for i := range l.picture.Controls {
		c := &l.picture.Controls[i]
		if c.Name != name {
			continue
		}
		if err := c.Allows(value); err != nil {
			return "", nil, badRequest("%v", err)
		}
		return l.lab, l.stdin, nil
	}
	return "", nil, conflict("%s cannot be changed now", name)
}

func (l *labRun) subscribe() *labSub {
	l.mu.Lock()
	defer l.mu.Unlock()
	sub := &labSub{whole: true, news: make(chan struct{}, 1)}
	sub.tell()
	if l.subs == nil {
		l.subs = map[*labSub]bool{}
	}
	l.subs[sub] = true
	return sub
}

func (l *labRun) unsubscribe(sub *labSub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs, sub)
}

func (s *labSub) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// restart sends the whole picture next.
func (s *labSub) restart() {
	s.whole, s.updates = true, nil
	s.tell()
}

// next waits for news, a little while for more of them, and returns them encoded
// under the lock: the picture goes on changing.
func (l *labRun) next(ctx context.Context, sub *labSub) (json.RawMessage, bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case <-sub.news:
	}
	select {
	case <-ctx.Done():
		return nil, false
	case <-time.After(labTellEvery):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := labCourse{Lab: l.lab, Command: l.command, Running: l.running, Updates: sub.updates}
	if sub.whole {
		p := l.picture
		// A list of nothing is a list.
		p.Lines, p.Marks = append([]record.Line{}, p.Lines...), append([]record.Mark{}, p.Marks...)
		p.Measures, p.Checks = append([]record.Measure{}, p.Measures...), append([]record.Check{}, p.Checks...)
		p.Tradeoffs = append([]record.Tradeoff{}, p.Tradeoffs...)
		p.Tanks, p.Controls = append([]record.Tank{}, p.Tanks...), append([]record.Control{}, p.Controls...)
		c.Picture, c.Updates = &p, nil
	}
	b, err := json.Marshal(c)
	sub.whole, sub.updates = false, nil
	return b, err == nil
}

// labErrors keeps the end of what is written to it.
type labErrors struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (t *labErrors) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if over := t.b.Len() - labStderr; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

// String returns it.
func (t *labErrors) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

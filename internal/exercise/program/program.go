// Package program starts a program of a learner with all that it starts itself, bounds it, and
// ends all of it: when asked, when this process ends, and when this process is killed. It knows
// no Kafka and judges nothing.
//
// On Unix a guard process of this binary starts the program in a process group of its own and
// waits on a pipe from this process. When the pipe closes, for whatever reason, the guard kills
// the program. On Linux it is also the parent of every process that lost its own, so it finds
// those that left the group. On Windows a job object does all of this.
package program

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// GuardArgument makes this binary a guard, as its only argument: main calls Guard then.
const GuardArgument = "guard-of-an-exercise"

// Limits of the output of a program.
const (
	maxOutput = 64 << 20 // bytes in all
	maxLine   = 500      // bytes that are kept of a line
	keptLines = 40
)

// Config says what to start.
type Config struct {
	// Args are the command and its arguments.
	Args []string
	// Dir is where it runs; empty means the directory of this process.
	Dir string
	// Env is its whole environment.
	Env []string
	// Self is the path of this binary, which is also the guard.
	Self string
}

// NotFoundError says that the command does not exist.
type NotFoundError struct {
	Command string
	Err     error
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("the command %q cannot be started: %v", e.Command, e.Err)
}

// Unwrap returns the cause.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Find returns the path of a command, as a shell would find it.
func Find(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return "", &NotFoundError{command, err}
	}
	return path, nil
}

// Exit is how a program ended.
type Exit struct {
	// Code is its exit code, -1 where a signal ended it.
	Code int
	// Signal is the name of that signal, empty for none.
	Signal string
	At     time.Time
}

func (e Exit) String() string {
	if e.Signal != "" {
		return "signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// Process is a program that was started. Close must be called.
type Process struct {
	control // of the operating system

	ended chan struct{}
	exit  Exit // once ended is closed

	out     sync.WaitGroup
	mu      sync.Mutex
	lines   []string
	printed int64
}

// Ended is closed when the program has ended by itself or was ended. Processes that it started
// may still run: Close ends them.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Exit returns how it ended; call it when Ended is closed.
func (p *Process) Exit() Exit { return p.exit }

// Over reports whether it has ended.
func (p *Process) Over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stop asks the program to end, and kills it with all its children after grace. It reports
// whether the program ended in time.
func (p *Process) Stop(grace time.Duration) bool {
	p.command(terminateNow)
	defer p.Close()
	select {
	case <-p.ended:
		return true
	case <-time.After(grace):
		return false
	}
}

// Printed returns how many bytes it has printed, and whether that is more than a program may print.
func (p *Process) Printed() (bytes int64, tooMuch bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed, p.printed > maxOutput
}

// Output returns the last lines that it printed.
func (p *Process) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// read keeps the last lines of the output.
func (p *Process) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		p.mu.Lock()
		p.printed += int64(len(part))
		p.mu.Unlock()
		if room := maxLine - line.Len(); room > 0 {
			line.Write(part[:min(room, len(part))])
		}
		if err == bufio.ErrBufferFull { //nolint:errorlint // ReadSlice returns it as it is
			continue
		}
		if text := strings.TrimRight(line.String(), "\r\n"); text != "" {
			p.keep(text)
		}
		line.Reset()
		if err != nil {
			return
		}
	}
}

func (p *Process) keep(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == keptLines {
		p.lines = p.lines[1:]
	}
	p.lines = append(p.lines, line)
}

package apache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/cluster/local"
	"github.com/weir-project/weir/internal/disk"
)

// node is one broker and its process.
type node struct {
	id        int32
	addr, dir string
	program   program
	bound     bool // it ends with this process
	log       *slog.Logger
	died      func(local.Broker)
	edit      func(int32, map[string]string) // may be nil

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd's process has ended
	asked  string        // the reason when this process ended it
	reason string        // why there is no process
	closed bool          // it never starts again
	writes bool          // cmd writes the archive of its classes when it ends
}

func (n *node) config() string  { return filepath.Join(n.dir, "server.properties") }
func (n *node) data() string    { return filepath.Join(n.dir, "data") }
func (n *node) logFile() string { return filepath.Join(n.dir, "broker.log") }
func (n *node) record() string  { return filepath.Join(n.dir, recordName) }

// format writes the node's identity and the cluster's features into its data directory.
func (n *node) format(ctx context.Context, clusterID string) error {
	args := n.program.args("", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", n.config())
	out, err := exec.CommandContext(ctx, n.program.java, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format broker %d: %w: %s", n.id, err, lastLines(out, 3))
	}
	return nil
}

// start starts the process, unless it runs. That is decided under the lock: of two
// restarts at once, from a page and a terminal, one starts a process. A fresh log omits
// what an earlier run printed. A restart appends, so the log shows why it was needed.
func (n *node) start(freshLog bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return errors.New("the cluster is closed")
	case n.cmd != nil:
		return errors.New("it is running")
	}
	mode := os.O_APPEND
	if freshLog {
		mode = os.O_TRUNC
	}
	out, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|mode, 0o600)
	if err != nil {
		return fmt.Errorf("start broker %d: %w", n.id, err)
	}
	defer out.Close() // the process has its own
	archive := ""
	if n.id == nodes { // one of them writes it; that makes its first end a few seconds longer
		if archive, err = n.program.newArchive(); err != nil {
			n.log.Warn("brokers cannot start from an archive of their classes, and start more slowly", "error", err)
		}
	}
	cmd := exec.Command(n.program.java, n.program.args(archive, "kafka.Kafka", n.config())...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = processAttributes(n.bound)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start broker %d: %w", n.id, err)
	}
	if err := writeRecord(n.record(), cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		n.reason = "its process could not be recorded"
		return fmt.Errorf("start broker %d: %w", n.id, err)
	}
	n.cmd, n.ended, n.asked, n.reason, n.writes = cmd, make(chan struct{}), "", "", archive != ""
	go n.wait(cmd, archive, n.ended)
	return nil
}

// wait notes the end of the process, whoever caused it.
func (n *node) wait(cmd *exec.Cmd, archive string, ended chan struct{}) {
	err := cmd.Wait()
	if archive != "" {
		if err := n.program.keepArchive(archive, endedInOrder(cmd.ProcessState.ExitCode())); err != nil {
			n.log.Warn("the archive of the brokers' classes cannot be kept, and brokers start more slowly", "error", err)
		}
	}
	n.mu.Lock()
	n.cmd = nil
	byItself := n.asked == ""
	if n.reason = n.asked; byItself {
		n.reason = "ended: exit status 0"
		if err != nil {
			n.reason = "ended: " + err.Error()
		}
		n.reason += fullDisk(n.data())
	}
	_ = os.Remove(n.record()) // under the lock: a restart writes its own
	n.mu.Unlock()
	close(ended)
	if byItself {
		n.died(n.broker())
	}
}

// endedInOrder reports whether an exit code is that of a Java program that ended by
// itself without an error (0) or because it was asked to by SIGTERM (128 + 15).
func endedInOrder(code int) bool { return code == 0 || code == 128+15 }

// lastWords returns the end of what the process printed, in one line.
func (n *node) lastWords() string {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	return cmp.Or(lastLines(b, 3), "nothing at all")
}

// fullBelow is the free space below which a broker cannot go on: it makes files of
// 10 MB beside each segment of a log.
const fullBelow = 16 << 20

// fullDisk says that a directory's disk is full, or nothing. A broker that cannot
// write ends without a message that a user would see.
func fullDisk(dir string) string {
	if _, free, err := disk.Space(dir); err == nil && free < fullBelow {
		return fmt.Sprintf(", because its disk is full (%d KiB are free at %s): make room there first", free>>10, dir)
	}
	return ""
}

// bindFailed is what a broker prints when another program has the port of one of its listeners.
var bindFailed = regexp.MustCompile(`failed to bind to (\S+:\d+):`)

// startError says why the process ended before it answered.
func (n *node) startError(reason string) error {
	printed, err := os.ReadFile(n.logFile())
	if taken := bindFailed.FindSubmatch(printed); err == nil && taken != nil {
		return &PortError{ID: n.id, Addr: string(taken[1])}
	}
	return fmt.Errorf("broker %d ended while starting (%s); what it printed is in %s, and ends: %s", n.id, reason, n.logFile(), n.lastWords())
}

// broker describes the node at this moment.
func (n *node) broker() local.Broker {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := local.Broker{ID: n.id, Addr: n.addr, LogFile: n.logFile()}
	if n.cmd == nil {
		b.Reason = cmp.Or(n.reason, "never started")
	} else {
		b.Alive, b.PID = true, n.cmd.Process.Pid
	}
	return b
}

// writesArchive reports whether the process writes the archive of its classes when it ends.
func (n *node) writesArchive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd != nil && n.writes
}

// close ends the process, with SIGKILL where it takes longer than patience, and lets no other start.
func (n *node) close(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if !n.broker().Alive || n.stop(ctx, false) == nil {
		return nil
	}
	err := n.stop(context.Background(), true)
	if !n.broker().Alive {
		return nil
	}
	return err
}

// stop ends the process and waits for that. It is an error when none runs.
func (n *node) stop(ctx context.Context, hard bool) (err error) {
	var ended <-chan struct{}
	if hard {
		ended, err = n.signal(syscall.SIGKILL, "killed")
	} else {
		ended, err = n.signal(syscall.SIGTERM, "stopped")
	}
	if err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop broker %d: it is still running: %w", n.id, ctx.Err())
	}
}

// signal sends a signal to the process and returns the channel that its end closes.
// asked is the reason for its end, if the signal ends it.
func (n *node) signal(s os.Signal, asked string) (ended <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil, fmt.Errorf("it is not running: it is %s", cmp.Or(n.reason, "never started"))
	}
	err = n.cmd.Process.Signal(s)
	if err != nil && (asked == "" || !errors.Is(err, os.ErrProcessDone)) {
		return nil, fmt.Errorf("signal broker %d: %w", n.id, err)
	}
	if err == nil && asked != "" {
		n.asked = asked
	}
	return n.ended, nil
}

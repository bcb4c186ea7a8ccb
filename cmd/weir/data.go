package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-project/weir/internal/cli"
)

// Modes of data: each has a directory of its own, so that live and simulated
// events can never share a topic.
const (
	modeLive      = "live"
	modeSimulated = "simulated"
)

// Names in a mode's directory. The subdirectories belong to the packages that
// write them.
const (
	lockName    = "lock"
	runtimeName = "weir.json"
	controlName = "control.sock"
	redisDir    = "redis"
)

// defaultDataDir is where data lies when --data says nothing: the operating
// system's place for data of a user's applications.
func defaultDataDir(env map[string]string, goos string) (string, error) {
	if dir := env["XDG_DATA_HOME"]; filepath.IsAbs(dir) { // the specification says to ignore a relative one
		return filepath.Join(dir, "weir"), nil
	}
	home := env["HOME"]
	if home == "" {
		return "", cli.UsageError("name a directory with --data", "no data directory: HOME is not set")
	}
	if goos == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "weir"), nil
	}
	return filepath.Join(home, ".local", "share", "weir"), nil
}

// data is the data directory in use, absolute.
func (a *app) data() (string, error) {
	dir := a.dataDir
	if from := a.given["data"]; dir == "" && from != "" {
		return "", cli.UsageError("name a directory, or leave it out for the default", "%s is empty", from)
	}
	if dir == "" {
		d, err := defaultDataDir(a.env, runtime.GOOS)
		if err != nil {
			return "", err
		}
		dir = d
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", cli.UsageError("name a directory with --data", "data directory %s: %w", dir, err)
	}
	return abs, nil
}

// home is a mode's directory, locked for this process.
type home struct {
	dir  string
	lock *os.File
}

// openHome makes and locks the directory of a mode. The lock is the kernel's, so
// it goes away with the process however that dies.
func openHome(data, mode string) (*home, error) {
	dir := filepath.Join(data, mode)
	if err := os.MkdirAll(dir, 0o700); err != nil { // others have no business with the control socket
		return nil, dirError(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dirError(dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, inUseError(dir)
		}
		return nil, dirError(dir, fmt.Errorf("lock: %w", err))
	}
	return &home{dir: dir, lock: f}, nil
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// close gives the directory to the next process.
func (h *home) close() { _ = h.lock.Close() } // closing releases the lock; nothing was written

func inUseError(dir string) error {
	who := "another weir"
	if r, err := readRuntime(dir); err == nil {
		who = fmt.Sprintf("weir %s, process %d", r.Command, r.PID)
	}
	return cli.RuntimeError("stop that one, or choose another directory with --data", "data directory %s is in use by %s", dir, who)
}

// dirError says what is wrong with a data directory in the user's words.
func dirError(dir string, err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) { // no fault of the directory
		return cli.RuntimeError(raiseDescriptors, "open data directory %s: %w", dir, err)
	}
	cause := err
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		cause = pe.Err
	}
	hint := "choose another directory with --data"
	if errors.Is(err, fs.ErrPermission) {
		hint = "make it writable for you, or choose another directory with --data"
	}
	return cli.RuntimeError(hint, "data directory %s cannot be used: %w", dir, cause)
}

// runtimeFile is what a running weir tells the other commands: weir.json in the
// mode's directory, there only while it runs.
type runtimeFile struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // up or cluster
	Mode    string    `json:"mode"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Kafka   []string  `json:"kafka"`
	Redis   string    `json:"redis"`
	Control string    `json:"control"` // path of the control socket
	// OwnKafka: the brokers are this weir's own and can be killed and restarted.
	OwnKafka bool `json:"own_kafka"`
	// Engine of those: embedded or apache.
	Engine string `json:"engine,omitempty"`
	// KafkaConfig is the file by which this weir logs in to an existing cluster.
	KafkaConfig string `json:"kafka_config,omitempty"`
}

// writeRuntime replaces the runtime file at once, never half.
func (h *home) writeRuntime(r *runtimeFile) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode runtime file: %w", err)
	}
	tmp := h.path(runtimeName + ".tmp")
	if err := os.WriteFile(tmp, append(body, '\n'), 0o600); err != nil {
		return dirError(h.dir, err)
	}
	if err := os.Rename(tmp, h.path(runtimeName)); err != nil {
		return dirError(h.dir, err)
	}
	return nil
}

func (h *home) removeRuntime() { _ = os.Remove(h.path(runtimeName)) } // a stale one is recognised by its dead socket

func readRuntime(dir string) (*runtimeFile, error) {
	body, err := os.ReadFile(filepath.Join(dir, runtimeName))
	if err != nil {
		return nil, err
	}
	var r runtimeFile
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("runtime file %s: %w", filepath.Join(dir, runtimeName), err)
	}
	return &r, nil
}

// alive reports whether the process of a runtime file runs: a process that was
// killed leaves its file behind.
func (r *runtimeFile) alive() bool {
	if r.PID <= 0 {
		return false
	}
	err := unix.Kill(r.PID, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// shortHome writes a path as a user types it.
func shortHome(path string, env map[string]string) string {
	if h := env["HOME"]; h != "" && h != "/" && strings.HasPrefix(path, h+string(filepath.Separator)) {
		return "~" + path[len(h):]
	}
	return path
}

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/disk"
	"github.com/weir-project/weir/internal/web"
)

// Modes of data: each has a directory of its own, so that live and simulated
// events can never share a topic. Auto is live, or simulated where no live stream
// can be reached.
const (
	Live      = "live"
	Simulated = "simulated"
	Auto      = "auto"
)

// Names in a mode's directory. The subdirectories belong to the packages that
// write them.
const (
	lockName    = "lock"
	runtimeName = "weir.json"
	controlName = "control.sock"
	redisDir    = "redis"
)

// DefaultData is where data lies when --data is not given: the operating system's
// place for the data of a user's applications.
func DefaultData(env map[string]string, goos string) (string, error) {
	dir, err := userDir(env, goos, "XDG_DATA_HOME", ".local/share", "Application Support", "data")
	if err != nil {
		return "", cli.UsageError("name a directory with --data", "no data directory: %w", err)
	}
	return dir, nil
}

// CacheDir is where downloaded jars lie: the operating system's place for files that
// can be downloaded again.
func CacheDir(env map[string]string, goos string) (string, error) {
	dir, err := userDir(env, goos, "XDG_CACHE_HOME", ".cache", "Caches", "cache")
	if err != nil {
		return "", cli.UsageError("set HOME or XDG_CACHE_HOME", "no cache directory for Apache Kafka: %w", err)
	}
	return dir, nil
}

// userDir is weir's directory below the one that a variable names, or below a
// directory in the user's home.
func userDir(env map[string]string, goos, variable, unixDir, macDir, windowsDir string) (string, error) {
	home := env["HOME"]
	switch dir := env[variable]; {
	case filepath.IsAbs(dir): // the specification says to ignore a relative one
		return filepath.Join(dir, "weir"), nil
	case goos == "windows" && env["LOCALAPPDATA"] != "":
		return filepath.Join(env["LOCALAPPDATA"], "weir", windowsDir), nil
	case home == "":
		return "", errors.New("HOME is not set")
	case goos == "darwin":
		return filepath.Join(home, "Library", macDir, "weir"), nil
	}
	return filepath.Join(home, unixDir, "weir"), nil
}

// home is a mode's directory, locked for this process.
type home struct {
	dir  string
	lock *os.File
}

// openHome makes and locks the directory of a mode. The kernel holds the lock, so
// it ends with the process however that ends.
func openHome(data, mode string) (*home, error) {
	dir := filepath.Join(data, mode)
	if err := os.MkdirAll(dir, 0o700); err != nil { // others have no business with the control socket
		return nil, DirError(dir, err)
	}
	f, err := openLocked(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, errLocked):
		who := "another weir"
		if r, err := readRuntime(dir); err == nil {
			who = fmt.Sprintf("weir %s, process %d", r.Command, r.PID)
		}
		return nil, cli.RuntimeError("stop that one, or choose another directory with --data", "data directory %s is in use by %s", dir, who)
	case err != nil:
		return nil, DirError(dir, err)
	}
	return &home{dir: dir, lock: f}, nil
}

// errLocked is the error of openLocked for a file that another process has locked.
var errLocked = errors.New("another process has locked it")

// openLocked opens a file and locks it for as long as it is open.
func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := disk.Lock(f)
	if held {
		err = errLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f, nil
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// close gives the directory to the next process.
func (h *home) close() { _ = h.lock.Close() } // closing releases the lock; nothing was written

const raiseDescriptors = "raise the limit with: ulimit -n 4096 (if the shell does not permit it, use a new terminal or ask root; " +
	"a systemd service needs LimitNOFILE=4096)"

// DirError says what is wrong with a data directory in the user's words.
func DirError(dir string, err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) { // not a fault of the directory
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

// Runtime is the runtime file, weir.json in the mode's directory: by it other
// commands find a running weir. It exists only while that weir runs.
type Runtime struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // up or cluster
	Mode    string    `json:"mode"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Kafka   []string  `json:"kafka"`
	Redis   string    `json:"redis"`
	Control string    `json:"control"` // path of the control socket, or its address where it has a token
	// ControlToken is the secret of a control socket that is a port.
	ControlToken string `json:"control_token,omitempty"`
	// OwnKafka: the brokers are this weir's own and can be killed and restarted.
	OwnKafka bool `json:"own_kafka"`
	// Engine of those: embedded or apache.
	Engine string `json:"engine,omitempty"`
	// KafkaConfig is the file by which this weir logs in to an existing cluster.
	KafkaConfig string `json:"kafka_config,omitempty"`
}

// writeRuntime replaces the runtime file at once, never half.
func (h *home) writeRuntime(r *Runtime) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode runtime file: %w", err)
	}
	if err := atomicfile.Write(h.path(runtimeName), append(body, '\n'), 0o600); err != nil {
		return DirError(h.dir, err)
	}
	return nil
}

func (h *home) removeRuntime() { _ = os.Remove(h.path(runtimeName)) } // a stale one is recognised by its dead socket

func readRuntime(dir string) (*Runtime, error) {
	body, err := os.ReadFile(filepath.Join(dir, runtimeName))
	if err != nil {
		return nil, err
	}
	var r Runtime
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("runtime file %s: %w", filepath.Join(dir, runtimeName), err)
	}
	return &r, nil
}

// Running returns the weirs that run on a data directory, the live one first. A
// runtime file counts only if its process lives and answers: a weir that was killed
// leaves its file behind, and its process id can be another process's since.
func Running(data string) (found []*Runtime) {
	for _, mode := range []string{Live, Simulated} {
		r, err := readRuntime(filepath.Join(data, mode))
		if err == nil && processLives(r.PID) && web.Answers(r.Control, r.ControlToken) {
			found = append(found, r)
		}
	}
	return found
}

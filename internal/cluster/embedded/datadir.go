package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/disk"
)

// formatVersion is the layout of the data directory. It rises when an older weir
// could no longer read what this one writes, which includes the files of the
// broker module below log/.
const formatVersion = 1

// Names inside the data directory.
const (
	lockName    = "LOCK"        // flock'd by the owner, holds its process id
	formatName  = "FORMAT"      // formatFile; written before anything else
	uncleanName = "UNCLEAN"     // exists while a cluster runs: found at start, the last one died
	epochsName  = "epochs.json" // leader epochs that clients have seen
	intentsName = "intents"     // transactions that are being committed
	logName     = "log"         // the broker module's own directory
)

type formatFile struct {
	Format int    `json:"format"`
	Wrote  string `json:"wrote"`
}

// dataDir is a data directory that this process has locked.
type dataDir struct {
	path    string
	lock    *os.File
	unclean bool // the last owner did not close it
	fresh   bool // there was nothing in it
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// openDataDir creates or takes over the directory. Creation is in an order that
// makes every interruption recoverable: lock, format, then the broker's files.
func openDataDir(path string) (_ *dataDir, err error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, notWritable(path, err)
	}
	d := &dataDir{path: path}
	d.lock, err = os.OpenFile(d.file(lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, notWritable(path, err)
	}
	defer func() {
		if err != nil {
			_ = d.lock.Close()
		}
	}()
	held, err := disk.Lock(d.lock)
	if err != nil {
		return nil, notWritable(path, err)
	}
	if held {
		return nil, &LockedError{Dir: path, PID: readPID(d.file(lockName))}
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := errors.Join(d.lock.Truncate(0), writeAt(d.lock, pid)); err != nil {
		return nil, notWritable(path, err)
	}
	if err := d.checkFormat(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.file(uncleanName)); err == nil {
		d.unclean = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, notWritable(path, err)
	}
	if err := atomicfile.Write(d.file(uncleanName), []byte(pid), 0o644); err != nil {
		return nil, notWritable(path, err)
	}
	return d, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func readPID(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (d *dataDir) checkFormat() error {
	raw, err := os.ReadFile(d.file(formatName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.create()
	}
	if err != nil {
		return notWritable(d.path, err)
	}
	var f formatFile
	if err := json.Unmarshal(raw, &f); err != nil || f.Format < 1 {
		return &FormatError{Dir: d.path, Reason: "its " + formatName + " file is damaged; restore the directory from a copy, or choose another --data directory"}
	}
	if f.Format > formatVersion {
		return &FormatError{Dir: d.path, Newer: true, Reason: fmt.Sprintf(
			"format %d is from a newer version of weir (this one reads up to %d); update weir, or choose another --data directory", f.Format, formatVersion)}
	}
	return d.checkTopics()
}

// create claims an empty directory. One that holds something else is refused
// rather than mixed with: the user mistyped.
func (d *dataDir) create() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return notWritable(d.path, err)
	}
	for _, e := range entries {
		switch e.Name() {
		case lockName, formatName + ".tmp":
		default:
			return &FormatError{Dir: d.path, Reason: fmt.Sprintf(
				"it is not a weir data directory, but holds other files (%s); choose an empty one", e.Name())}
		}
	}
	d.fresh = true
	raw, err := json.Marshal(formatFile{Format: formatVersion, Wrote: "weir"})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(d.file(formatName), raw, 0o644); err != nil {
		return notWritable(d.path, err)
	}
	return nil
}

// checkTopics refuses a log whose list of topics is gone: the broker would start
// with no topics and say nothing about the partitions that it no longer serves.
func (d *dataDir) checkTopics() error {
	log := d.file(logName)
	partitions, err := os.ReadDir(filepath.Join(log, "partitions"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(partitions) == 0 {
		return nil // nothing written yet, or creation was interrupted: begin again
	}
	if err != nil {
		return fmt.Errorf("read the log's partitions: %w", err)
	}
	for _, name := range []string{"meta.json", "topics.json"} {
		raw, err := os.ReadFile(filepath.Join(log, name))
		if err == nil && json.Valid(raw) {
			continue
		}
		return &FormatError{Dir: d.path, Reason: fmt.Sprintf(
			"%s is missing or damaged while there are partitions; restore the directory from a copy, or choose another --data directory",
			filepath.Join(logName, name))}
	}
	return nil
}

// close gives the directory back. clean says that everything was written.
func (d *dataDir) close(clean bool) error {
	var err error
	if clean {
		err = os.Remove(d.file(uncleanName))
	}
	return errors.Join(err, d.lock.Close())
}

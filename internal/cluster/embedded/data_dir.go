package embedded

import (
	"cmp"
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
// 2: the archive.
const formatVersion = 2

// Names inside the data directory.
const (
	lockName    = "LOCK"        // flock'd by the owner, holds its process id
	formatName  = "FORMAT"      // formatFile; written before anything else
	uncleanName = "UNCLEAN"     // exists while a cluster runs: found at start, the last one died
	epochsName  = "epochs.json" // leader epochs that clients have seen
	journalName = "intents"     // the commit journal: transactions that are being committed
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
	unclean bool // the last owner did not close it, or it is damaged
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// openDataDir creates or takes over the directory. Creation is in an order that
// makes every interruption recoverable: lock, format, then the broker's files.
func openDataDir(path string) (*dataDir, error) {
	d := &dataDir{path: path}
	if err := d.open(); err != nil {
		if d.lock != nil {
			_ = d.lock.Close()
		}
		return nil, dirError(path, err)
	}
	return d, nil
}

func (d *dataDir) open() (err error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	d.lock, err = os.OpenFile(d.file(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	held, err := disk.Lock(d.lock)
	if err != nil {
		return err
	}
	if held {
		holder, _ := os.ReadFile(d.file(lockName)) // empty where it has not written its ID yet
		return fmt.Errorf("another weir (process %s) uses it; stop that one, or choose another --data directory",
			cmp.Or(strings.TrimSpace(string(holder)), "unknown"))
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := d.lock.WriteAt([]byte(pid), 0); err != nil {
		return err
	}
	if err := d.checkFormat(); err != nil {
		return err
	}
	mark, err := readIfAny(d.file(uncleanName))
	if err != nil {
		return err
	}
	d.unclean = mark != nil
	return atomicfile.Write(d.file(uncleanName), []byte(pid), 0o600)
}

func (d *dataDir) checkFormat() error {
	raw, err := readIfAny(d.file(formatName))
	if err != nil {
		return err
	}
	if raw == nil {
		return d.create()
	}
	var f formatFile
	if err := json.Unmarshal(raw, &f); err != nil || f.Format < 1 {
		return errors.New("its " + formatName + " file is damaged; restore the directory from a copy, or choose another --data directory")
	}
	if f.Format > formatVersion {
		return fmt.Errorf("format %d is from a newer version of weir (this one reads up to %d); update weir, or choose another --data directory",
			f.Format, formatVersion)
	}
	if err := d.checkTopics(); err != nil || f.Format == formatVersion {
		return err
	}
	return d.setFormat()
}

func (d *dataDir) setFormat() error {
	return writeJSON(d.file(formatName), formatFile{Format: formatVersion, Wrote: "weir"})
}

// create claims an empty directory. It rejects one that holds other files: the user
// mistyped its name.
func (d *dataDir) create() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != formatName+".tmp" {
			return fmt.Errorf("it is not a weir data directory, but holds other files (%s); choose an empty one", e.Name())
		}
	}
	return d.setFormat()
}

// checkTopics rejects a log whose list of topics is gone: the broker would start
// with no topics and report nothing about the partitions that it no longer serves.
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
		return fmt.Errorf("%s is missing or damaged while there are partitions; restore the directory from a copy, or choose another --data directory",
			filepath.Join(logName, name))
	}
	return nil
}

// readIfAny reads a file, and returns nil where it does not exist.
func readIfAny(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// writeJSON replaces a file.
func writeJSON(path string, v any) error { return files{}.writeJSON(path, v) }

// close releases the directory. clean says that everything was written.
func (d *dataDir) close(clean bool) error {
	var err error
	if clean {
		err = os.Remove(d.file(uncleanName))
	}
	return errors.Join(err, disk.Unlock(d.lock), d.lock.Close())
}

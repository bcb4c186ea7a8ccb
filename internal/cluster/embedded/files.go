package embedded

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/crash"
)

// files changes files of the data directory. Tests make any operation fail, or copy the
// directory before it.
type files struct{ faults *atomicfile.Faults }

func (c *Cluster) files() files { return files{c.cfg.faults} }

func (d files) replace(path string, raw []byte) error {
	return atomicfile.Writer{Perm: 0o600, Faults: d.faults}.Write(path, raw)
}

func (d files) writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.replace(path, raw)
}

// remove removes a file, or a directory, that may be missing.
func (d files) remove(path string) error {
	if err := d.faults.Before("remove", path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func (d files) truncate(path string, size int64) error {
	if err := d.faults.Before("truncate", path); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

// appendTo writes at the end of a file. It does not sync: the module does not either.
func (d files) appendTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for _, half := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if err == nil {
			err = d.faults.Before("write", path)
		}
		if err == nil {
			_, err = f.Write(half)
		}
	}
	return errors.Join(err, f.Close())
}

// writeAt writes parts after the first size bytes of a file, and nothing stays behind them. On
// return they are on the disk. After an error the file has its old size where possible, so that
// a full disk gets its room back.
func (d files) writeAt(path string, size int64, parts [][]byte) (err error) {
	if err := d.faults.Before("open", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	step := func(op string, do func() error) {
		if err == nil {
			err = d.faults.Before(op, path)
		}
		if err == nil {
			err = do()
		}
	}
	step("truncate", func() error { return f.Truncate(size) })
	at := size
	for _, part := range parts {
		for i, half := range [][]byte{part[:len(part)/2], part[len(part)/2:]} {
			if i == 1 {
				crash.Here("archive: half a batch written")
			}
			step("write", func() error {
				n, err := f.WriteAt(half, at)
				at += int64(n)
				return err
			})
		}
	}
	step("sync", f.Sync)
	if err != nil && d.faults.Before("truncate", path) == nil {
		err = errors.Join(err, f.Truncate(size))
	}
	return errors.Join(err, f.Close())
}

// readAt fills a buffer from a file.
func (d files) readAt(path string, to []byte, pos int64) error {
	if err := d.faults.Before("read", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(to, pos)
	return errors.Join(err, f.Close())
}

// sync makes a file last, and its name.
func (d files) sync(path string) error {
	if err := d.faults.Before("sync", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d files) syncDir(dir string) error {
	if err := d.faults.Before("sync directory", dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}

// makeDir makes a directory that lasts.
func (d files) makeDir(dir string) error {
	if err := d.faults.Before("make directory", dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return d.syncDir(filepath.Dir(dir))
}

// removeDir removes the directory of an archived partition, first the file without which the others
// count for nothing.
func (d files) removeDir(dir string) error {
	if err := d.remove(filepath.Join(dir, archiveMeta)); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.syncDir(dir)
	}
	for _, e := range entries {
		if err == nil {
			err = d.remove(filepath.Join(dir, e.Name()))
		}
	}
	if err != nil {
		return err
	}
	return d.remove(dir)
}

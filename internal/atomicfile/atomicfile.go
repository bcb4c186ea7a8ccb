// Package atomicfile replaces a file as a whole: after a crash at any moment, or a write
// that fails, the file is the new one or the old one, never a mixture. It also explains
// errors of a disk that is full or broken, in the same words everywhere.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
)

// Write replaces the file at path. Where it fails, the old file stays and nothing else.
func Write(path string, data []byte, perm fs.FileMode) error {
	return Writer{Perm: perm}.Write(path, data)
}

// Writer says how files are replaced. The zero value is ready for use.
type Writer struct {
	Perm fs.FileMode // 0 means 0600
	// Partial is where the new file is written first, PATH.tmp when empty.
	Partial string
	// Previous is where the old file is kept; empty removes it. A crash, or a failure of
	// the last step, can then leave the old file there alone.
	Previous string
	// Faults makes operations fail, for tests. May be nil.
	Faults *Faults
}

// Write replaces the file at path by one that consists of the parts.
func (w Writer) Write(path string, parts ...[]byte) error {
	if w.Partial == "" {
		w.Partial = path + ".tmp"
	}
	if w.Perm == 0 {
		w.Perm = 0o600
	}
	err := w.fill(parts)
	if err == nil && w.Previous != "" {
		if err = w.rename(path, w.Previous); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = w.rename(w.Partial, path)
	}
	if err != nil {
		if e := w.Faults.Before("remove", w.Partial); e != nil {
			return errors.Join(err, e)
		}
		return errors.Join(err, Remove(w.Partial)) // which gives a full disk its room back
	}
	dir := filepath.Dir(path)
	if err = w.Faults.Before("sync directory", dir); err == nil {
		err = SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSynced, err)
	}
	return nil
}

// ErrNotSynced is part of Write's error where the file has been replaced, but after a
// crash of the machine it may be the old one.
var ErrNotSynced = errors.New("the directory could not be synced")

// fill writes the partial file, which is on the disk when it returns nil.
func (w Writer) fill(parts [][]byte) (err error) {
	if err := w.Faults.Before("create", w.Partial); err != nil {
		return err
	}
	f, err := os.OpenFile(w.Partial, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, w.Perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), w.Faults.Before("close", w.Partial)) }()
	for _, p := range parts {
		if cut, fault := w.Faults.write(w.Partial, len(p)); fault != nil {
			_, err := f.Write(p[:cut])
			return errors.Join(fault, err)
		}
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := w.Faults.Before("sync", w.Partial); err != nil {
		return err
	}
	return f.Sync()
}

func (w Writer) rename(from, to string) error {
	if err := w.Faults.Before("rename", to); err != nil {
		return err
	}
	if w.Faults.fires("rename " + filepath.Base(from)) {
		return w.Faults.Err
	}
	return os.Rename(from, to)
}

// SyncDir makes new and renamed files of a directory last. Some file systems cannot sync a directory, and the rename
// stands either way.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err = f.Sync(); !errors.Is(err, syscall.EIO) && !Full(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Remove removes a file that may be missing.
func Remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Full reports whether an error says that a disk, or a user's share of it, is full.
func Full(err error) bool {
	return slices.ContainsFunc(fullErrors, func(e error) bool { return errors.Is(err, e) })
}

// Explain says of an error of a write which disk failed and what to do. nil stays nil.
func Explain(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case Full(err):
		return fmt.Errorf("the disk of %s is full: free some space, or enlarge the disk (%w)", dir, err)
	case errors.Is(err, syscall.EMFILE):
		return NoDescriptors(dir, err)
	}
	return fmt.Errorf("a write to the disk of %s failed: check the disk (%w)", dir, err)
}

// NoDescriptors says of an error that weir has as many files open as it may, and what to do.
func NoDescriptors(dir string, err error) error {
	return fmt.Errorf("weir can open no file in %s: raise the limit with ulimit -n 4096 and start it again (%w)", dir, err)
}

// Faults makes the operations of a Writer fail while On is set. A nil one never does.
type Faults struct {
	// Step, if not nil, is called before each operation, also while On is not set. An error
	// is returned in place of the operation; a write is then done by half.
	Step func(op, path string) error
	// Op is what fails: create, write, sync, close, rename, or "rename NAME" for the
	// rename of one file. A write fails after half of it.
	Op string
	// Err is the error; nil makes a write short.
	Err   error
	On    atomic.Bool
	Fired atomic.Int32 // how often it failed
}

func (f *Faults) fires(op string) bool {
	if f == nil || f.Op != op || !f.On.Load() {
		return false
	}
	f.Fired.Add(1)
	return true
}

// Before returns the error of an operation that must not be done, or nil. Packages that
// write files without a Writer call it, too.
func (f *Faults) Before(op, path string) error {
	if f == nil {
		return nil
	}
	if f.Step != nil {
		if err := f.Step(op, path); err != nil {
			return err
		}
	}
	if f.fires(op) {
		return f.Err
	}
	return nil
}

// write returns how much of a write of n bytes is done, and why not all.
func (f *Faults) write(path string, n int) (int, error) {
	short := f != nil && f.Op == "write" && f.Err == nil && f.On.Load()
	if err := f.Before("write", path); err != nil {
		return n / 2, err
	}
	if short {
		return n / 2, io.ErrShortWrite
	}
	return n, nil
}

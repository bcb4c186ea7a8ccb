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
		return errors.Join(err, Remove(w.Partial)) // which gives a full disk its room back
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", ErrNotSynced, err)
	}
	return nil
}

// ErrNotSynced is part of Write's error where the file has been replaced, but after a
// crash of the machine it may be the old one.
var ErrNotSynced = errors.New("the directory could not be synced")

// fill writes the partial file, which is on the disk when it returns nil.
func (w Writer) fill(parts [][]byte) (err error) {
	if err := w.Faults.fail("create"); err != nil {
		return err
	}
	f, err := os.OpenFile(w.Partial, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, w.Perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), w.Faults.fail("close")) }()
	for _, p := range parts {
		if cut, fault := w.Faults.write(len(p)); cut < len(p) {
			_, err := f.Write(p[:cut])
			return errors.Join(fault, err)
		}
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	return errors.Join(w.Faults.fail("sync"), f.Sync())
}

func (w Writer) rename(from, to string) error {
	if err := errors.Join(w.Faults.fail("rename"), w.Faults.fail("rename "+filepath.Base(from))); err != nil {
		return err
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
	}
	return fmt.Errorf("a write to the disk of %s failed: check the disk (%w)", dir, err)
}

// Faults makes the operations of a Writer fail while On is set. A nil one never does.
type Faults struct {
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

func (f *Faults) fail(op string) error {
	if f.fires(op) {
		return f.Err
	}
	return nil
}

// write returns how much of a write of n bytes is done, and why not all.
func (f *Faults) write(n int) (int, error) {
	if !f.fires("write") {
		return n, nil
	}
	if f.Err == nil {
		return n / 2, io.ErrShortWrite
	}
	return n / 2, f.Err
}

//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"
)

// Lock takes an exclusive lock on f that ends with the process, however it ends, or when
// f is closed. held reports that another process has it.
func Lock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Unlock ends the lock at once. To close f is not enough while another goroutine starts a program:
// for a moment that has f, too.
func Unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// Space returns the size of the file system that holds dir and what is left of it, in
// bytes.
func Space(dir string) (total, free int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	size := int64(s.Bsize) //nolint:unconvert // its type differs between systems
	return int64(s.Blocks) * size, int64(s.Bavail) * size, nil
}

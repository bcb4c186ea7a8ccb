package disk

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// Lock takes an exclusive lock on f that ends with the process, however it ends, or when
// f is closed. held reports that another process has it.
func Lock(f *os.File) (held bool, err error) {
	// A byte far behind the end, so that what the file says can be read meanwhile.
	at := windows.Overlapped{Offset: math.MaxUint32 - 1, OffsetHigh: math.MaxInt32}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}

// Unlock does nothing: to close f is enough.
func Unlock(*os.File) error { return nil }

// Space returns the size of the file system that holds dir and what is left of it, in
// bytes.
func Space(dir string) (total, free int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var size, left uint64
	if err := windows.GetDiskFreeSpaceEx(path, &left, &size, nil); err != nil {
		return 0, 0, err
	}
	return int64(size), int64(left), nil
}

package node

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// checkDescriptors checks nothing: Windows has no such limit.
func checkDescriptors() error { return nil }

// lockFile locks a file until it is closed, or returns errLocked.
func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}

// processLives reports whether a process runs.
func processLives(pid int) bool {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer func() { _ = windows.CloseHandle(h) }()
	var code uint32
	const stillActive = 259
	return windows.GetExitCodeProcess(h, &code) == nil && code == stillActive
}

// errAddressTaken and errAddressForbidden are the errors of listening on a port that
// another program has, and on one that needs privileges.
const (
	errAddressTaken     = windows.WSAEADDRINUSE
	errAddressForbidden = windows.WSAEACCES
)

package node

import "golang.org/x/sys/windows"

// checkDescriptors checks nothing: Windows has no such limit.
func checkDescriptors() error { return nil }

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

package apache

import (
	"fmt"
	"io/fs"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// Windows has neither signal: its error says so.
const (
	pauseSignal  = syscall.Signal(0x13)
	resumeSignal = syscall.Signal(0x12)
)

// processAttributes gives a broker a process group of its own, so that the terminal's
// Ctrl-C reaches weir alone. Only Linux can bind it to the life of this process.
func processAttributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// startTime returns when a process began, in a form that is only compared: with
// the process id it names a process for good.
func startTime(pid int) (string, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return "", fmt.Errorf("find process %d: %w", pid, fs.ErrNotExist)
	}
	defer windows.CloseHandle(h)
	var code uint32
	if err := windows.GetExitCodeProcess(h, &code); err != nil || code != uint32(windows.STATUS_PENDING) {
		return "", fmt.Errorf("find process %d: it has ended: %w", pid, fs.ErrNotExist)
	}
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return "", fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	return strconv.FormatInt(created.Nanoseconds(), 10), nil
}

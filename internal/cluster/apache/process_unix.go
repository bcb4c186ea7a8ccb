//go:build unix

package apache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// startTime returns when a process began, in a form that is only compared: with
// the process id it names a process for good.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err == nil {
		// The command's name, in parentheses, may hold anything; field 22 counts from after it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 20 {
			return "", fmt.Errorf("read the start time of process %d: unknown form of its stat file", pid)
		}
		// The first thread of a process that was killed is a zombie while others still
		// hold its sockets and files.
		tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		if fields[0][0] == 'Z' && (err != nil || len(tasks) <= 1) {
			return "", fmt.Errorf("find process %d: it has ended: %w", pid, fs.ErrNotExist)
		}
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return "", fmt.Errorf("read the boot id: %w", err)
		}
		return string(bytes.TrimSpace(boot)) + " " + string(fields[19]), nil
	}
	out, psErr := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if psErr != nil || len(bytes.TrimSpace(out)) == 0 {
		return "", fmt.Errorf("find process %d: %w", pid, fs.ErrNotExist)
	}
	return string(bytes.TrimSpace(out)), nil
}

// Package proc reads what the kernel says of a process that a measurement has started.
package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory returns a line of /proc/PID/status in bytes, such as VmRSS, or VmHWM for the most
// since the process began. It fails where the process has ended, or the system has no such file.
func Memory(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, name)
}

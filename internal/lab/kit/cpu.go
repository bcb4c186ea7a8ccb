package kit

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPU is the CPU time of this process, and of the brokers' where they have their own.
func (e *Engine) CPU() time.Duration {
	all := ownCPU()
	brokers, _ := e.Brokers(context.Background()) // cannot fail where they are processes
	for _, b := range brokers {
		if b.PID != 0 {
			all += processCPU(b.PID)
		}
	}
	return all
}

// processCPU is the CPU time of another process, in steps of 10 ms; 0 where the system
// does not report it.
func processCPU(pid int) time.Duration {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(body), ") ") // its name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

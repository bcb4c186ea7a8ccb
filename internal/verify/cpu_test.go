//go:build unix

package verify_test

import (
	"syscall"
	"time"
)

// cpuTime is the processor time that this process has used, broker included: what
// a benchmark on a busy machine can go by.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package program

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of every descendant that loses its own.
func adopt() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // an old kernel: then the process group is all that ends
}

// attributes are of the program: a process group of its own, and its end with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// anyChild is what Wait4 waits for: adopted processes end, too.
func anyChild(int) int { return -1 }

// descendants are the processes that descend from this one, but for itself.
func descendants() []int {
	var out []int
	for _, p := range tree(os.Getpid()) {
		out = append(out, p.pid)
	}
	return out
}

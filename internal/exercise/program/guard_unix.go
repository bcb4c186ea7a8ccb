//go:build unix

package program

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// endTime is how long a guard tries to kill what a program has started.
const endTime = 30 * time.Second

// apart keeps a Ctrl-C in the terminal away from the guard: it is for weir alone.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// cage is not needed here: the guard finds what the program started.
type cage struct{}

func confine(*os.Process) (cage, error) { return cage{}, nil }

func (cage) close() {}

// guard starts the program and ends it when told.
func guard(path string, args []string) int {
	runtime.LockOSThread() // the program gets its death signal when the thread that started it ends
	adopt()
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return 1
	}
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), 2, 2}, Sys: attributes()})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return 1
	}
	// After the start, because the program would inherit that they are ignored.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	fmt.Fprintln(os.Stdout, "pid", pid)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		status := wait(pid)
		if status.Signaled() {
			fmt.Fprintln(os.Stdout, "signal", status.Signal())
			return
		}
		fmt.Fprintln(os.Stdout, "exit", status.ExitStatus())
	}()
	obey(func() { _ = syscall.Kill(-pid, syscall.SIGTERM) }) // it may have ended
	endAll(pid, ended)
	return 0
}

// wait waits for the end of the program. It also takes the exit codes of processes that this one adopted.
func wait(pid int) (status syscall.WaitStatus) {
	for {
		got, err := syscall.Wait4(anyChild(pid), &status, 0, nil)
		if got == pid || err != nil && !errors.Is(err, syscall.EINTR) {
			return status
		}
	}
}

// endAll kills the program and all that it has started until nothing of it is left.
func endAll(pid int, ended <-chan struct{}) {
	for limit := time.Now().Add(endTime); time.Now().Before(limit); {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // the group may be empty
		for _, d := range descendants() {
			_ = syscall.Kill(d, syscall.SIGKILL)
		}
		select {
		case <-ended:
			reap()
			if len(descendants()) == 0 {
				_ = syscall.Kill(-pid, syscall.SIGKILL)
				return
			}
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// reap takes the exit codes of adopted processes that have ended: until then they count as processes.
func reap() {
	for {
		if got, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); got <= 0 || err != nil {
			return
		}
	}
}

package program

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// apart keeps a Ctrl-C in the terminal away from the guard: it is for weir alone.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// cage is a job: all that its processes start is in it, too, and ends when its last handle is
// closed, which is also when this process is killed.
type cage struct{ job windows.Handle }

func confine(guard *os.Process) (_ cage, err error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return cage{}, fmt.Errorf("create a job: %w", err)
	}
	defer func() {
		if err != nil {
			_ = windows.CloseHandle(job)
		}
	}()
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil { //nolint:gosec // the only way to pass it
		return cage{}, fmt.Errorf("limit the job: %w", err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(guard.Pid)) //nolint:gosec // IDs have 32 bits
	if err != nil {
		return cage{}, fmt.Errorf("open the guard: %w", err)
	}
	defer windows.CloseHandle(process) //nolint:errcheck // nothing depends on it
	if err = windows.AssignProcessToJobObject(job, process); err != nil {
		return cage{}, fmt.Errorf("put the guard into the job: %w", err)
	}
	return cage{job}, nil
}

func (c cage) close() {
	if c.job != 0 {
		_ = windows.TerminateJobObject(c.job, 1)
		_ = windows.CloseHandle(c.job)
	}
}

// guard starts the program and ends it when told.
func guard(path string, args []string) int {
	program := exec.Cmd{Path: path, Args: args, Stdout: os.Stderr, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}}
	if err := program.Start(); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "pid", program.Process.Pid)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := program.Wait()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		}
		fmt.Fprintln(os.Stdout, "exit", code)
	}()
	obey(func() {
		// Windows has no SIGTERM: a program gets Ctrl-Break, which needs a console.
		_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(program.Process.Pid)) //nolint:gosec // IDs have 32 bits
	})
	_ = program.Process.Kill() // the job ends the rest
	<-ended
	return 0
}

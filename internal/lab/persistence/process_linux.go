package persistence

import "syscall"

// processAttributes are of a process that is killed: a group of its own, so that the
// terminal's Ctrl-C reaches the experiment alone, and its end with the experiment's.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

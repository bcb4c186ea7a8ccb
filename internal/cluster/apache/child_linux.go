package apache

import "syscall"

// processAttributes gives a broker a process group of its own, so that the terminal's
// Ctrl-C reaches weir alone, which then stops it in order. A bound one is killed by
// the operating system when this process ends, however it ends.
func processAttributes(bound bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if bound {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}

//go:build unix && !linux

package apache

import "syscall"

// processAttributes gives a broker a process group of its own, so that the terminal's
// Ctrl-C reaches weir alone, which then stops it in order. Only Linux can bind it to
// the life of this process.
func processAttributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

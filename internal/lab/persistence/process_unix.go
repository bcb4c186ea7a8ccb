//go:build !linux && !windows

package persistence

import "syscall"

// processAttributes are of a process that is killed: a group of its own, so that the
// terminal's Ctrl-C reaches the experiment alone.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

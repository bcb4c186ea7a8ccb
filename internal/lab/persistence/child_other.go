//go:build !linux && !windows

package persistence

import "syscall"

// childAttributes are of a process that is killed: a group of its own, so that the
// terminal's Ctrl-C reaches the experiment alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

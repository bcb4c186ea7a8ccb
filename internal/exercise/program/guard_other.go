//go:build unix && !linux

package program

import "syscall"

func adopt() {}

// attributes are of the program: a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func anyChild(pid int) int { return pid }

// descendants are unknown here: what left the process group is not found.
func descendants() []int { return nil }

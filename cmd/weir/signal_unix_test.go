//go:build unix

package main

import "syscall"

const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

func sendSignal(pid int, s syscall.Signal) error { return syscall.Kill(pid, s) }

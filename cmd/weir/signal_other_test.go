//go:build !unix

package main

import (
	"errors"
	"syscall"
)

// The tests that stop processes need brokers and servers that run on Unix systems only.
const (
	sigStop = syscall.Signal(19)
	sigCont = syscall.Signal(18)
)

func sendSignal(int, syscall.Signal) error { return errors.ErrUnsupported }

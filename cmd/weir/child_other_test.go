//go:build !linux

package main

import "syscall"

// childAttributes: only Linux can stop what a test's process leaves behind.
func childAttributes() *syscall.SysProcAttr { return nil }

//go:build !linux

package interop

import "syscall"

// childAttributes: only Linux can stop what a test's process leaves behind.
func childAttributes() *syscall.SysProcAttr { return nil }

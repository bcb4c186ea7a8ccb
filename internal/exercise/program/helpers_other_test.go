//go:build unix && !linux

package program

import "syscall"

// leaving is nothing: what leaves the group is not found here.
func leaving() *syscall.SysProcAttr { return nil }

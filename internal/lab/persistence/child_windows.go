package persistence

import "syscall"

// childAttributes are not used: the lab refuses to run on Windows.
func childAttributes() *syscall.SysProcAttr { return nil }

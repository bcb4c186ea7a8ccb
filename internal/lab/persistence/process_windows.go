package persistence

import "syscall"

// processAttributes are not used: the lab refuses to run on Windows.
func processAttributes() *syscall.SysProcAttr { return nil }

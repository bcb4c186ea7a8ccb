package program

import "syscall"

func leaving() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

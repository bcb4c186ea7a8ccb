package interop

import "syscall"

// childAttributes ask a process that a test started to stop, in order, when the test's
// process ends, also by a time limit: its brokers would hold memory and ports for ever.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

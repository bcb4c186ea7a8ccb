//go:build unix

package atomicfile

import "syscall"

var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT}

//go:build !unix

package embedded

import (
	"errors"
	"os"
)

// tryLock locks nothing on this platform: the ports, which two clusters cannot
// share either, are the only guard.
func tryLock(*os.File) (held bool, err error) { return false, nil }

func diskSpace(string) (total, free int64, err error) { return 0, 0, errors.ErrUnsupported }

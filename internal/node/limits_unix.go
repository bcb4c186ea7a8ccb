//go:build unix

package node

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weir-project/weir/internal/cli"
)

// minDescriptors is what weir needs to run brokers and Redis: about 170 for files
// and its own connections in a new directory, and room for segments and clients.
const minDescriptors = 512

// checkDescriptors fails if the process may open too few files. Without this
// check weir would start, and then fail somewhere else. The Go runtime has raised
// the soft limit to the hard one before main.
func checkDescriptors() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if uint64(l.Cur) < minDescriptors { //nolint:unconvert // signed on some systems
		return cli.RuntimeError(raiseDescriptors, "weir may open only %d files and connections, and needs at least %d", l.Cur, minDescriptors)
	}
	return nil
}

// processLives reports whether a process runs.
func processLives(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// errAddressTaken and errAddressForbidden are the errors of listening on a port that
// another program has, and on one that needs privileges.
const (
	errAddressTaken     = unix.EADDRINUSE
	errAddressForbidden = unix.EACCES
)

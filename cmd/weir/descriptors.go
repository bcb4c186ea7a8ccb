package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weir-project/weir/internal/cli"
)

// minDescriptors is what weir needs to run brokers and Redis: about 170 for files
// and its own connections in a new directory, and room for segments and clients.
const minDescriptors = 512

const raiseDescriptors = "raise the limit with: ulimit -n 4096 (if the shell does not permit it, use a new terminal or ask root; " +
	"a systemd service needs LimitNOFILE=4096)"

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

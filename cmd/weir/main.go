// Command weir puts the public streams of Bluesky and Wikipedia through Kafka
// and counts them exactly once. This package is the command line: one file for each
// subcommand, which goes from flags to a call of another package and prints the
// result. It owns flags and environment variables, help, and the texts and tables of a
// terminal. It opens no client of Kafka or Redis by itself, and runs nothing:
// internal/node does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise/program"
)

// gcPercent lets the heap grow threefold between collections. weir's live heap is
// small, so the default of 100 collects all the time, at a third more CPU at 1,000
// events/s; with much more than this the index that the embedded broker keeps of
// hours of small batches would be multiplied beyond what a laptop can spare.
// memoryLimit keeps that from multiplying a large heap, such as the one that reads
// a big log at the start. With 35 MB of the program's own file it is less than the
// 250 MB that weir may have resident; bench/soak measures that on the log of a day.
const (
	gcPercent   = 200
	memoryLimit = 192 << 20
)

// echoTime is how soon after the first signal another of its kind is the same one.
const echoTime = 200 * time.Millisecond

// errStopped is the cause of a context that a signal cancelled.
var errStopped = errors.New("stopped by a signal")

func main() {
	if len(os.Args) > 1 && os.Args[1] == program.GuardArgument {
		os.Exit(program.Guard())
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := <-signals
		cancel(fmt.Errorf("%w: %v", errStopped, first))
		// One Ctrl-C can arrive twice: timeout(1) signals the process and its group.
		for echo := time.Now().Add(echoTime); <-signals == first && time.Now().Before(echo); {
			continue
		}
		// Draining can wait for a broker that is gone; the second signal is the
		// user saying that they do not want to.
		os.Exit(cli.ExitAborted)
	}()
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	os.Exit(cli.Report(err, os.Stderr))
}

// run is the whole program: args without the program's name, environ as
// KEY=VALUE. It takes the environment whole because an unknown WEIR_* variable
// is an error, and single look-ups cannot find one. Cancelling ctx drains and
// returns; what came to its end that way is not an error.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	a := newApp(environ, stdin, stdout, stderr)
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started { // cobra's own complaints about flags and arguments
		return cli.AsUsage(cmd, err)
	}
	return err
}

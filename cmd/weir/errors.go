package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// Exit codes, documented in `weir --help`.
const (
	exitOK      = 0
	exitRuntime = 1   // something failed while running
	exitUsage   = 2   // a flag, an argument, a variable or an address that cannot be used
	exitConnect = 3   // Kafka, Redis or an upstream cannot be reached
	exitFailed  = 4   // verify or preflight found something wrong; a lab's claim does not hold
	exitUnclear = 5   // a lab is inconclusive
	exitAborted = 130 // a second Ctrl-C: stopped without draining
)

// errStopped is the cause of a context that a signal cancelled.
var errStopped = errors.New("stopped by a signal")

// cliError is an error with what the command line adds to it: the exit code and
// the way out.
type cliError struct {
	code int
	err  error
	hint string // the way out, one sentence; may be empty
}

func (e *cliError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *cliError) Unwrap() error { return e.err }

// usageError is an error of exit code 2. hint says the way out.
func usageError(hint, format string, args ...any) error {
	return &cliError{exitUsage, fmt.Errorf(format, args...), hint}
}

// connectError is an error of exit code 3.
func connectError(hint, format string, args ...any) error {
	return &cliError{exitConnect, fmt.Errorf(format, args...), hint}
}

// runtimeError is an error of exit code 1 that knows a way out.
func runtimeError(hint, format string, args ...any) error {
	return &cliError{exitRuntime, fmt.Errorf(format, args...), hint}
}

// asUsage gives err, of the command that refused, exit code 2 unless it has a code already.
func asUsage(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*cliError](err); ok {
		return err
	}
	msg := err.Error()
	// cobra adds its suggestions as lines of their own; the first line is the
	// cause, the rest the way out.
	cause, rest, _ := strings.Cut(msg, "\n")
	hint := strings.Join(strings.Fields(rest), " ")
	if hint == "" {
		hint = "see " + cmd.CommandPath() + " --help"
	}
	return &cliError{exitUsage, errors.New(cause), hint}
}

// exitCode is the process's exit code for what run returned.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*cliError](err); ok {
		return e.code
	}
	_, noKafka := errors.AsType[*kafka.ConnectError](err)
	_, noRedis := errors.AsType[*tally.ConnectError](err)
	_, refused := errors.AsType[*event.StreamError](err)
	if noKafka || noRedis || refused {
		return exitConnect
	}
	return exitRuntime
}

// report writes err as the one message that a user sees and returns the exit code.
func report(err error, stderr io.Writer) int {
	code := exitCode(err)
	if err == nil {
		return code
	}
	fmt.Fprintf(stderr, "weir: %s\n", oneLine(err.Error()))
	hint := ""
	if e, ok := errors.AsType[*cliError](err); ok {
		hint = e.hint
	}
	if hint == "" && notAllowed(err) {
		hint = "weir preflight, with the same --kafka and --kafka-config, names the permissions that are missing and the commands that add them"
	}
	if hint != "" {
		fmt.Fprintf(stderr, "      %s\n", oneLine(hint))
	}
	return code
}

// notAllowed reports whether the cluster forbids what was asked of it.
func notAllowed(err error) bool {
	for _, no := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// oneLine makes an error text safe for a terminal: errors quote what servers said.
func oneLine(s string) string { return visible(strings.Join(strings.Fields(s), " ")) }

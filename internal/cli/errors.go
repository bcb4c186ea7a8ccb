package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
)

// Exit codes, documented in `weir --help`.
const (
	ExitOK      = 0
	ExitRuntime = 1   // something failed while running
	ExitUsage   = 2   // a flag, an argument, a variable or an address that cannot be used
	ExitConnect = 3   // Kafka, Redis or an upstream cannot be reached
	ExitFailed  = 4   // verify or preflight found something wrong; a lab's claim does not hold
	ExitUnclear = 5   // a lab is inconclusive
	ExitAborted = 130 // a second Ctrl-C: stopped without draining
)

// Error is an error with an exit code and a hint: what the user can do about it.
type Error struct {
	Code int
	Err  error
	Hint string // one sentence; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// UsageError is an error with exit code 2. The hint says what to do.
func UsageError(hint, format string, args ...any) error {
	return &Error{ExitUsage, fmt.Errorf(format, args...), hint}
}

// ConnectError is an error with exit code 3.
func ConnectError(hint, format string, args ...any) error {
	return &Error{ExitConnect, fmt.Errorf(format, args...), hint}
}

// RuntimeError is an error with exit code 1 and a hint.
func RuntimeError(hint, format string, args ...any) error {
	return &Error{ExitRuntime, fmt.Errorf(format, args...), hint}
}

// AsUsage makes err, which parsing the command line of cmd returned, a usage error,
// unless it has an exit code already.
func AsUsage(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	msg := err.Error()
	// cobra adds its suggestions as separate lines: the first line is the cause, the rest
	// is the hint.
	cause, rest, _ := strings.Cut(msg, "\n")
	hint := strings.Join(strings.Fields(rest), " ")
	if hint == "" {
		hint = "see " + cmd.CommandPath() + " --help"
	}
	return &Error{ExitUsage, errors.New(cause), hint}
}

// ExitCode is the exit code of the process for an error; nil is success.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.As(err, new(*kafka.ConnectError)) || errors.As(err, new(*tally.ConnectError)) || errors.As(err, new(*event.StreamError)) {
		return ExitConnect
	}
	return ExitRuntime
}

// Report writes err and its hint, one line each, and returns the exit code.
func Report(err error, stderr io.Writer) int {
	code := ExitCode(err)
	if err == nil {
		return code
	}
	fmt.Fprintf(stderr, "weir: %s\n", OneLine(err.Error()))
	hint := ""
	if e, ok := errors.AsType[*Error](err); ok {
		hint = e.Hint
	}
	if hint == "" && notAllowed(err) {
		hint = "weir preflight, with the same --kafka and --kafka-config, names the permissions that are missing and the commands that add them"
	}
	if hint != "" {
		fmt.Fprintf(stderr, "      %s\n", OneLine(hint))
	}
	return code
}

// notAllowed reports whether the cluster rejected a request for lack of permission.
func notAllowed(err error) bool {
	return slices.ContainsFunc([]error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed}, func(no error) bool { return errors.Is(err, no) })
}

// OneLine makes an error text safe for a terminal: errors quote text from servers. Errors that
// were joined stand behind each other, with semicolons in between.
func OneLine(s string) string {
	return visible.Text(strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")), " "))
}

// Brief is the innermost cause of a network error: the layers around it repeat the
// address.
func Brief(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New("name lookup: " + dns.Err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// NoSuchCommand rejects arguments of a command that only has subcommands, and names
// the subcommands that are spelled like the first one.
func NoSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	return UsageError(suggestion(cmd.SuggestionsFor(args[0]), "see "+cmd.CommandPath()+" --help"),
		"unknown command %q for %q", args[0], cmd.CommandPath())
}

// SuggestFlag adds to cobra's error about an unknown flag the flags that are spelled
// like it.
func SuggestFlag(cmd *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	// cobra compares the spelling of commands only, so the flags stand in for some.
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	var flags []string
	for _, s := range names.SuggestionsFor(name) {
		flags = append(flags, "--"+s)
	}
	return UsageError(suggestion(flags, "see "+cmd.CommandPath()+" --help"), "%w", err)
}

// suggestion asks whether one of names was meant; without names it is otherwise.
func suggestion(names []string, otherwise string) string {
	if len(names) == 0 {
		return otherwise
	}
	return fmt.Sprintf("did you mean %s?", strings.Join(names, " or "))
}

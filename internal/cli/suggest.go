package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

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

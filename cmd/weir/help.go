package main

import (
	"context"
	_ "embed"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

//go:embed help.md
var helpText string

// use says which of the shared flags a command has.
type use uint8

const (
	useData use = 1 << iota
	useKafka
	useRedis
	useYes
	useOutput // table, json and jsonl
	useLog

	useCluster = useData | useKafka
	useCounts  = useData | useRedis
)

// command makes a subcommand. help.md has its texts, in the section of its path. The first word
// behind the path in its usage line decides whether it takes an argument, or several (...), and
// what completes it.
// add adds its own flags and run runs it; without run it prints its help.
func (a *app) command(path string, uses use, add func(*cobra.Command), run func(context.Context, []string) error) *cobra.Command {
	cmd := helpOf(path)
	_, argument, _ := strings.Cut(cmd.Use, " ")
	argument, _, _ = strings.Cut(argument, " ")
	switch {
	case argument == "":
		cmd.Args = cobra.NoArgs
	case argument[0] == '[':
		cmd.Args = cobra.MaximumNArgs(1)
	case strings.HasSuffix(argument, "..."):
		cmd.Args = cobra.MinimumNArgs(1)
	default:
		cmd.Args = cobra.ExactArgs(1)
	}
	if c, ok := a.completions()[strings.Trim(argument, "[]")]; ok {
		cmd.ValidArgsFunction = onlyFirst(c)
	} else if c, ok := a.completions()[strings.TrimSuffix(argument, "...")]; ok {
		cmd.ValidArgsFunction = c
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if run == nil {
			return cmd.Help()
		}
		return wayOut(run(cmd.Context(), args))
	}
	a.sharedFlags(cmd, uses&(useData|useKafka|useRedis))
	if add != nil {
		add(cmd)
	}
	a.sharedFlags(cmd, uses&(useYes|useOutput|useLog))
	return cmd
}

// sourceCommand is a command on the source that its argument names.
func (a *app) sourceCommand(path string, uses use, add func(*cobra.Command), run func(context.Context, node.Source) error) *cobra.Command {
	return a.command(path, uses, add, func(ctx context.Context, args []string) error {
		s, err := node.SourceNamed(args[0])
		if err != nil {
			return err
		}
		return run(ctx, s)
	})
}

// helpOf makes a command from its section in help.md. The section of a command stands before
// those of its subcommands.
func helpOf(path string) *cobra.Command {
	for _, section := range strings.Split(helpText, "\n## ")[1:] {
		usage, text, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(usage+" ", path+" ") {
			continue
		}
		text, examples, _ := strings.Cut(strings.ReplaceAll(text, "\n    ", "\n  "), "\n### Examples\n")
		short, long, _ := strings.Cut(strings.TrimSpace(text), "\n")
		return &cobra.Command{
			Use:   usage[strings.LastIndexByte(path, ' ')+1:],
			Short: short, Long: strings.TrimSpace(long), Example: strings.Trim(examples, "\n"),
		}
	}
	panic("help.md has no section on weir " + path)
}

// finish completes a command and its subcommands when they have all their flags.
func (a *app) finish(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false // what matters most comes first
	for flag, word := range map[string]string{"group": "GROUP", "topic": "TOPIC"} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, a.completions()[word])
		}
	}
	for _, sub := range cmd.Commands() {
		cmd.Args = cli.NoSuchCommand
		a.finish(sub)
	}
}

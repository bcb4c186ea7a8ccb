package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

func newPreflight(a *app) *cobra.Command {
	var group string
	return a.command("preflight", useCluster|useRedis|useOutput|useLog, func(cmd *cobra.Command) {
		cmd.Args = cobra.MaximumNArgs(2)
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			if len(args) < 2 {
				names = [][]string{{"produce", "consume"}, sourceNames()}[len(args)]
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` of weir consume (default: the source's counter)")
	}, a.onTarget(func(ctx context.Context, t *node.Target, args []string) error {
		p, err := purposeOf(args, group)
		if err != nil {
			return err
		}
		return a.runPreflight(ctx, t, p, len(args) == 0 || args[0] == "consume")
	}))
}

// purposeOf is what a command, given by its words, does with a cluster.
func purposeOf(args []string, group string) (kafka.Purpose, error) {
	if len(args) == 0 && group == "" {
		return node.Purpose(node.Sources, node.Sources, ""), nil
	}
	if len(args) < 2 || args[0] != "produce" && args[0] != "consume" {
		return kafka.Purpose{}, cli.UsageError("such as weir preflight produce bluesky, or no argument for all that weir up needs",
			"want produce or consume, and a stream")
	}
	s, err := node.SourceNamed(args[1])
	if err != nil {
		return kafka.Purpose{}, err
	}
	if args[0] == "produce" {
		return node.Purpose([]node.Source{s}, nil, ""), nil
	}
	return node.Purpose(nil, []node.Source{s}, group), nil
}

func (a *app) runPreflight(ctx context.Context, t *node.Target, p kafka.Purpose, counts bool) error {
	findings, err := t.Preflight(ctx, p)
	if err != nil {
		return err
	}
	switch {
	case !counts:
	case t.Running == nil && a.given["redis"] == "":
		a.stderr.Linef("note: no Redis is checked: none is named with --redis")
	default:
		more, err := t.PreflightRedis(ctx)
		if err != nil {
			return err
		}
		findings = append(findings, more...)
	}
	return a.printFindings(findings)
}

func (a *app) printFindings(all []kafka.Finding) error {
	var breaking, different strings.Builder
	breaks := 0
	for _, f := range all {
		text := &different
		if f.Breaks() {
			text = &breaking
			breaks++
		}
		fmt.Fprintf(text, "%s  %s\n  %s\n  → %s\n", strings.ToUpper(f.Severity), visible.Text(f.Where), visible.Text(f.Cause), visible.Text(f.Out))
		if f.Run != "" {
			fmt.Fprintf(text, "    %s\n", visible.Text(f.Run))
		}
		text.WriteByte('\n')
	}
	var err error
	switch {
	case a.output != cli.FormatTable:
		err = writeRows(a, all, all, nil)
	case len(all) == 0:
		a.stderr.Linef("nothing breaks the promise, and nothing differs from what weir would have made")
	default:
		_, err = fmt.Fprint(a.stdout, breaking.String()+different.String())
		if breaks == 0 {
			a.stderr.Linef("nothing breaks the promise; %d things differ from what weir would have made", len(all))
		}
	}
	if err == nil && breaks > 0 {
		err = &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the promise would not hold here: %d of %d findings break it; they stand first", breaks, len(all))}
	}
	return err
}

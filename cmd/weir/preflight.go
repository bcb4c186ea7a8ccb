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

const preflightLong = `Checks whether a cluster, and a Redis, can keep what weir promises, before any event
is trusted to them: replication, min.insync.replicas, unclean elections, old
transactions, limits of time and size, retention against what counts and restarts
need, addresses that cannot be reached, and every permission that is missing. It
changes nothing, and makes no topic.

Each finding says what follows from it and the way out, with the command where there
is one: for a permission the whole line of kafka-acls.sh. What breaks the promise
stands first; what merely differs from what weir would have chosen comes after it.

Without arguments everything is checked that weir up needs; with produce or consume
and a stream, what that command needs. weir up, produce and consume check the same
when they start on a cluster that is not weir's own.

Exit code 4 means that something breaks the promise.`

func newPreflight(a *app) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "preflight [produce|consume bluesky|wikipedia]",
		Short: "Whether a cluster can keep the promise: settings, retention, permissions",
		Long:  preflightLong,
		Example: `  weir preflight --kafka broker1:9092 --redis redis://cache:6379/1
  weir preflight produce bluesky --kafka broker1:9093 --kafka-config client.properties
  weir preflight -o json | jq -r '.[] | select(.run) | .run'    # the commands alone`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return []cobra.Completion{"produce", "consume"}, cobra.ShellCompDirectiveNoFileComp
			case 1:
				var names []cobra.Completion
				for _, s := range node.Sources {
					names = append(names, s.Name)
				}
				return names, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := purposeOf(args, group)
			if err != nil {
				return err
			}
			return a.runPreflight(cmd.Context(), p, len(args) == 0 || args[0] == "consume")
		},
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` of weir consume (default: the source's counter)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completing(groupNames))
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	a.logFlag(cmd)
	return cmd
}

// purposeOf is what a command, given by its words, does with a cluster.
func purposeOf(args []string, group string) (kafka.Purpose, error) {
	if len(args) == 0 && group == "" {
		return node.UpPurpose(), nil
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
		return s.IngestPurpose(), nil
	}
	if group == "" {
		group = s.Group
	}
	return s.CountPurpose(group), nil
}

func (a *app) runPreflight(ctx context.Context, p kafka.Purpose, counts bool) error {
	t, err := a.find()
	if err != nil {
		return err
	}
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

func (a *app) printFindings(all []node.Finding) error {
	breaks := 0
	for _, f := range all {
		if f.Breaks() {
			breaks++
		}
	}
	if a.output != cli.FormatTable {
		if err := writeRows(a, all, all, nil, nil); err != nil {
			return err
		}
	} else {
		var text strings.Builder
		for _, severity := range []kafka.Severity{kafka.Breaks, kafka.Different} {
			for _, f := range all {
				if f.Severity != severity.String() {
					continue
				}
				fmt.Fprintf(&text, "%s  %s\n  %s\n  → %s\n", strings.ToUpper(f.Severity), visible.Text(f.Where), visible.Text(f.Cause), visible.Text(f.Out))
				if f.Run != "" {
					fmt.Fprintf(&text, "    %s\n", visible.Text(f.Run))
				}
				text.WriteByte('\n')
			}
		}
		if _, err := fmt.Fprint(a.stdout, text.String()); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		switch {
		case len(all) == 0:
			a.stderr.Linef("nothing breaks the promise, and nothing differs from what weir would have made")
		case breaks == 0:
			a.stderr.Linef("nothing breaks the promise; %d things differ from what weir would have made", len(all))
		}
	}
	if breaks > 0 {
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the promise would not hold here: %d of %d findings break it; they stand first", breaks, len(all))}
	}
	return nil
}

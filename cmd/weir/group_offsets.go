package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

// formatCSV is the format of kafka-consumer-groups.sh.
const formatCSV = "csv"

func newGroupExport(a *app) *cobra.Command {
	return a.command("groups export", useCluster, func(cmd *cobra.Command) {
		a.outputFlag(cmd, formatCSV, cli.FormatJSON, cli.FormatJSONL)
	}, func(ctx context.Context, args []string) error {
		names := once(args)
		return show(ctx, a, func(i *inspect.Inspector, ctx context.Context) ([]inspect.GroupOffset, error) {
			return i.CommittedOffsets(ctx, names...)
		}, func(list []inspect.GroupOffset) error {
			if len(list) == 0 {
				a.stderr.Linef("no committed offsets")
			}
			if a.output == formatCSV {
				return inspect.WriteOffsets(a.stdout, list, len(names) > 1)
			}
			return writeRows(a, list, list, nil)
		})
	})
}

func newGroupImport(a *app) *cobra.Command {
	var group string
	return a.command("groups import", useCluster|useRedis|useYes|useOutput, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&group, "group", "", "`GROUP` to change: the one of a file that names none, or one of several")
		noEnv(cmd.Flags(), "group")
	}, func(ctx context.Context, args []string) error {
		list, err := a.readOffsets(args[0])
		if err != nil {
			return err
		}
		groups, offsets, err := offsetsByGroup(list, group)
		if err != nil {
			return err
		}
		return a.importOffsets(ctx, groups, offsets)
	})
}

// readOffsets reads a file of offsets; - is standard input.
func (a *app) readOffsets(path string) (list []inspect.GroupOffset, err error) {
	const out = "give a file that weir groups export or kafka-consumer-groups.sh --export has written, or - for standard input"
	in := io.NopCloser(a.stdin)
	if path == "-" {
		path = "standard input"
	} else {
		if in, err = os.Open(path); err != nil {
			return nil, cli.UsageError(out, "%w", err)
		}
	}
	defer in.Close()
	list, err = inspect.ReadOffsets(in)
	switch {
	case err != nil:
		return nil, cli.UsageError(out, "%s: %w", path, err)
	case len(list) == 0:
		return nil, cli.UsageError(out, "%s has no offsets", path)
	}
	return list, nil
}

// offsetsByGroup returns the offsets of each group, in the order of the file. only is the group
// of a file that names none, or one of the groups of the file; empty for all.
func offsetsByGroup(list []inspect.GroupOffset, only string) (groups []string, offsets map[string][]web.ImportedOffset, err error) {
	offsets = map[string][]web.ImportedOffset{}
	for _, o := range list {
		switch {
		case o.Group == "" && only == "":
			return nil, nil, cli.UsageError("add --group GROUP", "the file names no group")
		case o.Group == "":
			o.Group = only
		case only != "" && o.Group != only:
			continue
		}
		if offsets[o.Group] == nil {
			groups = append(groups, o.Group)
		}
		offsets[o.Group] = append(offsets[o.Group], web.ImportedOffset{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset})
	}
	if len(groups) == 0 {
		return nil, nil, cli.UsageError("leave --group out to import all", "the file has no offsets of group %q", only)
	}
	return groups, offsets, nil
}

func (a *app) importOffsets(ctx context.Context, groups []string, offsets map[string][]web.ImportedOffset) error {
	return groupsAction[web.ResetAnswer]{
		operation: "import", verb: "change its offsets", done: "imported",
		body: func(name, confirm string) any { return web.ImportRequest{Offsets: offsets[name], Confirm: confirm} },
		show: func(plans []web.ResetAnswer) error {
			for _, p := range plans {
				a.stderr.Linef("%s:", visible.Text(p.Plan.Group))
				if err := a.showReset(p.Plan); err != nil {
					return err
				}
				if n := outside(p.Plan, offsets[p.Plan.Group]); n > 0 {
					a.stderr.Linef("%s of the file's offsets are outside of what the log retains: the nearest retained offset is used", cli.Thousands(n))
				}
			}
			return nil
		},
		active: func(p web.ResetAnswer) []inspect.Member { return p.Plan.Active },
	}.run(ctx, a, groups)
}

// outside is how many offsets a plan moved to the border of what is retained.
func outside(plan inspect.ResetPlan, offsets []web.ImportedOffset) (n int64) {
	to := map[web.ImportedOffset]bool{}
	for _, c := range plan.Changes {
		to[web.ImportedOffset{Topic: c.Topic, Partition: c.Partition, Offset: c.To}] = true
	}
	for _, o := range offsets {
		if !to[o] {
			n++
		}
	}
	return n
}

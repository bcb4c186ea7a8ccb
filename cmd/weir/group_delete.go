package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

func newGroupDelete(a *app) *cobra.Command {
	return a.command("groups delete", useCluster|useRedis|useYes|useOutput, nil, a.deleteGroups)
}

// deleteGroups plans all deletions before it asks for the first one, so that a group that
// cannot be deleted ends the command before anything is changed.
func (a *app) deleteGroups(ctx context.Context, names []string) error {
	names = once(names)
	c, err := a.groupActions(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	plans := make([]inspect.DeleteGroupPlan, len(names))
	for i, name := range names {
		var answer web.DeleteGroupAnswer
		if err := c.post(ctx, groupPath(name, "delete"), web.DeleteGroupRequest{}, &answer); err != nil {
			return err
		}
		plans[i] = answer.Plan
	}
	err = cli.TableOf(plans, func(p inspect.DeleteGroupPlan) []any {
		return []any{p.Group, p.Type, p.State, len(p.Active), p.Offsets}
	}, "GROUP", "TYPE", "STATE", ">MEMBERS", ">COMMITTED OFFSETS").Write(a.stderr)
	if err != nil {
		return err
	}
	if err := idle(plans, func(p inspect.DeleteGroupPlan) (string, []inspect.Member) { return p.Group, p.Active }); err != nil {
		return err
	}
	answers := []any{}
	for _, name := range names {
		if err := a.confirm(name, nil, fmt.Sprintf("Type the group's name to delete it (%s): ", visible.Text(name)), name); err != nil {
			return a.stopped(len(answers), err)
		}
		var answer web.DeleteGroupAnswer
		if err := c.post(ctx, groupPath(name, "delete"), web.DeleteGroupRequest{Confirm: name}, &answer); err != nil {
			return a.stopped(len(answers), err)
		}
		answers = append(answers, answer)
		a.stderr.Linef("deleted %s", visible.Text(name))
	}
	if a.output == cli.FormatTable {
		return nil
	}
	return a.write(answers, answers, nil)
}

// idle returns an error for the first plan of a group that has members.
func idle[P any](plans []P, of func(P) (group string, active []inspect.Member)) error {
	for _, p := range plans {
		if group, active := of(p); len(active) > 0 {
			return fmt.Errorf("%q: %w", group, inspect.ErrGroupActive)
		}
	}
	return nil
}

// stopped says before an error that some groups are changed already.
func (a *app) stopped(changed int, err error) error {
	if changed > 0 {
		a.stderr.Linef("the groups above are changed already; those that follow are as they were")
	}
	return err
}

// once returns names without repetitions, in their order.
func once(names []string) (out []string) {
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func newGroupDeleteOffsets(a *app) *cobra.Command {
	var body web.DeleteOffsetsRequest
	return a.command("groups delete-offsets", useCluster|useRedis|useYes|useOutput, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.StringVar(&body.Topic, "topic", "", "`TOPIC` whose committed offsets are deleted")
		flags.Int32SliceVar(&body.Partitions, "partition", nil, "only these partitions, as `LIST` (default: all)")
	}, func(ctx context.Context, args []string) error { return a.deleteOffsets(ctx, args[0], body) })
}

func (a *app) deleteOffsets(ctx context.Context, name string, body web.DeleteOffsetsRequest) error {
	if body.Topic == "" {
		return cli.UsageError("add --topic TOPIC; weir groups describe lists the topics of a group", "the topic is missing")
	}
	request := func(confirm string) any { body.Confirm = confirm; return body }
	return changeGroup(ctx, a, name, "delete-offsets", request, func(answer web.DeleteOffsetsAnswer) error {
		err := cli.TableOf(answer.Plan.Offsets, func(o inspect.CommittedOffset) []any { return []any{o.Topic, o.Partition, o.Committed} },
			"TOPIC", ">PARTITION", ">COMMITTED OFFSET").Write(a.stderr)
		if err != nil {
			return err
		}
		return a.confirm(name, answer.Plan.Active, fmt.Sprintf("Type the group's name to delete these offsets (%s): ", visible.Text(name)), name)
	}, func(_ *actions, answer web.DeleteOffsetsAnswer) error {
		return a.done(answer, "deleted the committed offsets of %s in %s", visible.Text(name), visible.Text(body.Topic))
	})
}

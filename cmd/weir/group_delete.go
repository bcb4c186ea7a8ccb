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
	return a.command("groups delete", useCluster|useRedis|useYes|useOutput, nil, func(ctx context.Context, names []string) error {
		return groupsAction[web.DeleteGroupAnswer]{
			operation: "delete", verb: "delete it", done: "deleted",
			body: func(_, confirm string) any { return web.DeleteGroupRequest{Confirm: confirm} },
			show: func(plans []web.DeleteGroupAnswer) error {
				return cli.TableOf(plans, func(p web.DeleteGroupAnswer) []any {
					return []any{p.Plan.Group, p.Plan.Type, p.Plan.State, len(p.Plan.Active), p.Plan.Offsets}
				}, "GROUP", "TYPE", "STATE", ">MEMBERS", ">COMMITTED OFFSETS").Write(a.stderr)
			},
			active: func(p web.DeleteGroupAnswer) []inspect.Member { return p.Plan.Active },
		}.run(ctx, a, once(names))
	})
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

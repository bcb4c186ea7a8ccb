package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

func newGroupReset(a *app) *cobra.Command {
	var body web.ResetRequest
	return a.command("groups reset", useCluster|useRedis|useYes|useOutput, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.StringVar(&body.To, "to", "", "`WHERE`: oldest, latest, an offset, +N or -N (from where it stands), or a time as in weir messages --since")
		flags.StringSliceVar(&body.Topics, "topic", nil, "only these topics, as `LIST` (default: all that the group consumes)")
		flags.Int32SliceVar(&body.Partitions, "partition", nil, "only these partitions, as `LIST`")
		noEnv(flags, "to")
		_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"oldest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	}, func(ctx context.Context, args []string) error { return a.resetGroup(ctx, args[0], body) })
}

func (a *app) resetGroup(ctx context.Context, name string, body web.ResetRequest) error {
	if body.To == "" {
		return cli.UsageError("add --to oldest, latest, an offset, +N, -N or a time", "--to is missing")
	}
	to, err := inspect.ParseTarget(body.To, time.Now())
	if err != nil {
		return cli.UsageError("", "--to %w", err)
	}
	body.To = to.String()
	return changeGroup(ctx, a, name, "reset", func(confirm string) any { body.Confirm = confirm; return body }, func(answer web.ResetAnswer) error {
		if err := a.showReset(answer.Plan); err != nil {
			return err
		}
		return a.confirm(name, answer.Plan.Active, fmt.Sprintf("Type the group's name to reset it (%s): ", visible.Text(name)), name)
	}, func(_ *actions, answer web.ResetAnswer) error { return a.done(answer, "reset %s", visible.Text(name)) })
}

// changeGroup plans a change of a group, does it when show has shown the plan and the user has
// confirmed it, and calls after. body makes the request, which is a plan without a confirmation.
func changeGroup[A any](ctx context.Context, a *app, name, operation string, body func(confirm string) any,
	show func(A) error, after func(*actions, A) error) error {
	c, err := a.groupActions(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	done, err := change(ctx, c, groupPath(name, operation), name, body, show)
	if err != nil {
		return err
	}
	return after(c, done)
}

// groupsAction is a change of several groups, such as their deletion.
type groupsAction[A any] struct {
	operation  string
	verb, done string                         // what it does to a group, in the question and afterwards
	body       func(name, confirm string) any // makes the request, which is a plan without a confirmation
	show       func(plans []A) error
	active     func(plan A) []inspect.Member
}

// run plans the change of every group before it asks for the first one: a group that cannot be
// changed ends the command before anything is changed.
func (g groupsAction[A]) run(ctx context.Context, a *app, names []string) error {
	c, err := a.groupActions(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	plans := make([]A, len(names))
	for i, name := range names {
		if err := c.post(ctx, groupPath(name, g.operation), g.body(name, ""), &plans[i]); err != nil {
			return err
		}
	}
	if err := g.show(plans); err != nil {
		return err
	}
	for i, p := range plans {
		if len(g.active(p)) > 0 {
			return fmt.Errorf("%q: %w", names[i], inspect.ErrGroupActive)
		}
	}
	answers := []any{}
	for _, name := range names {
		var answer A
		err := a.confirm(name, nil, fmt.Sprintf("Type the group's name to %s (%s): ", g.verb, visible.Text(name)), name)
		if err == nil {
			err = c.post(ctx, groupPath(name, g.operation), g.body(name, name), &answer)
		}
		if err != nil {
			if len(answers) > 0 {
				a.stderr.Linef("the groups above are changed already; those that follow are as they were")
			}
			return err
		}
		answers = append(answers, answer)
		a.stderr.Linef("%s %s", g.done, visible.Text(name))
	}
	if a.output == cli.FormatTable {
		return nil
	}
	return a.write(answers, answers, nil)
}

// done reports a change: with -o json the answer of the weir that made it, otherwise a line.
func (a *app) done(answer any, format string, args ...any) error {
	if a.output != cli.FormatTable {
		return a.write(answer, []any{answer}, nil)
	}
	a.stderr.Linef(format, args...)
	return nil
}

// confirm asks a question about a group, which must not have active members.
func (a *app) confirm(group string, active []inspect.Member, question, want string) error {
	if len(active) > 0 {
		return fmt.Errorf("%q: %w", group, inspect.ErrGroupActive)
	}
	return cli.Confirm(a.stdin, a.stderr, question, want, a.yes)
}

// showReset prints what a reset would do, on standard error: it belongs to the question.
func (a *app) showReset(plan inspect.ResetPlan) error {
	err := cli.TableOf(plan.Changes, func(c inspect.Change) []any {
		from, dropped := c.From, ""
		if c.Tally != nil {
			from, dropped = c.Tally.From, cli.Thousands(c.Tally.Dropped)
		}
		return []any{c.Topic, c.Partition, cli.NumberOrUnknown(from), c.To, fmt.Sprintf("%+d", c.Delta), dropped}
	}, "TOPIC", ">PARTITION", ">FROM", ">TO", ">MOVES", ">COUNTS DROPPED").Write(a.stderr)
	for _, s := range plan.Skipped {
		a.stderr.Linef("skipped %s", visible.Text(s))
	}
	return err
}

func newGroupReplay(a *app) *cobra.Command {
	var body web.ReplayRequest
	return a.command("groups replay", useCluster|useRedis|useYes|useOutput, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&body.Topic, "topic", "", "`TOPIC` to count, where the group counts several")
		cmd.Flags().StringVar(&body.Into, "into", "", "`GROUP` that counts again (default: the name with "+inspect.ReplaySuffix+")")
	}, func(ctx context.Context, args []string) error { return a.replayGroup(ctx, args[0], body) })
}

func (a *app) replayGroup(ctx context.Context, name string, body web.ReplayRequest) error {
	return changeGroup(ctx, a, name, "replay", func(confirm string) any { body.Confirm = confirm; return body }, func(answer web.ReplayAnswer) error {
		plan := answer.Plan
		err := cli.TableOf(plan.Partitions, func(p inspect.ReplayPartition) []any {
			return []any{plan.Topic, p.Partition, p.From, p.Until, p.Trimmed}
		}, "TOPIC", ">PARTITION", ">FROM", ">TO", ">DELETED").Write(a.stderr)
		if err != nil {
			return err
		}
		if plan.Drops > 0 {
			a.stderr.Linef("the group %s has counted %s events, which are dropped", visible.Text(plan.Into), cli.Thousands(plan.Drops))
		}
		return a.confirm(plan.Into, plan.Active, fmt.Sprintf("Count this again, as group %s? [y/N] ", visible.Text(plan.Into)), "y")
	}, func(c *actions, answer web.ReplayAnswer) error {
		result, err := a.followReplay(ctx, c, name)
		if err != nil {
			return err
		}
		return a.printReplay(answer.Plan, *result)
	})
}

// followReplay shows how far a replay is until it has ended.
func (a *app) followReplay(ctx context.Context, c *actions, name string) (result *inspect.Comparison, err error) {
	err = await(ctx, a, c, groupPath(name, "replay"), func(state web.ReplayState) (string, error) {
		result = state.Result
		switch {
		case state.Error != "":
			return "", errors.New(state.Error)
		case result != nil:
			return "", nil
		}
		return fmt.Sprintf("counting again: %s offsets to go", cli.Thousands(state.Left)), nil
	})
	switch {
	case result != nil || ctx.Err() == nil:
		return result, err
	case c.running != nil:
		return nil, cli.RuntimeError("its page of the group shows the result", "stopped waiting; the running weir goes on with the replay")
	}
	return nil, errors.New("the replay was stopped before its end; start it again to compare")
}

func (a *app) printReplay(plan inspect.ReplayPlan, c inspect.Comparison) error {
	err := writeRows(a, c, c.Kinds, func(k inspect.KindRow) []any { return []any{k.Kind, k.Original, k.Replay, k.Difference} },
		"TYPE", ">COUNTED", ">COUNTED AGAIN", ">DIFFERENCE")
	if err != nil {
		return err
	}
	if c.Trimmed > 0 {
		a.stderr.Linef("%s offsets that were counted are no longer in the log", cli.Thousands(c.Trimmed))
	}
	if !c.Equal {
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the counts of %s and %s differ", plan.Group, plan.Into), Hint: "weir verify shows what is wrong"}
	}
	a.stderr.Linef("equal")
	return nil
}

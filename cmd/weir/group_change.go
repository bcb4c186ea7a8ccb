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

const groupResetLong = `Changes the committed offsets of a group in Kafka. For a counter group of weir, it also
changes the offsets in Redis, where the counts then begin anew. The group must have no
members: stop weir up or weir consume first.

Shows what would change, then asks for the name of the group; --yes skips the question.`

type groupChange struct {
	to         string
	into       string
	topics     []string
	topic      string
	partitions []int32
	yes        bool
}

func newGroupReset(a *app) *cobra.Command {
	var f groupChange
	cmd := &cobra.Command{
		Use:   "reset GROUP --to WHERE",
		Short: "Move the committed offsets of a group",
		Long:  groupResetLong,
		Example: `  weir groups reset weir-bluesky-counter --to oldest
  weir groups reset my-group --to 2h                    # two hours ago
  weir groups reset my-group --to +100 --topic wikipedia-edits`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(groupNames)),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.resetGroup(cmd.Context(), args[0], &f) },
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "`WHERE`: oldest, latest, an offset, +N or -N (from where it stands), or a time as in weir messages --since")
	flags.StringSliceVar(&f.topics, "topic", nil, "only these topics, as `LIST` (default: all that the group consumes)")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only these partitions, as `LIST`")
	flags.BoolVar(&f.yes, "yes", false, "do not ask for confirmation")
	noEnv(flags, "yes")
	noEnv(flags, "to")
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completing(topicNames))
	return cmd
}

const groupReplayLong = `Counts the events of a counter group again, from the log, as a second group. The first
group continues meanwhile. Then it compares the counts of both groups. They must be
equal: nothing was lost, duplicated or miscounted.

Shows what it would count, then asks for confirmation; --yes skips the question. Exit
code 4 means that the counts differ.`

func newGroupReplay(a *app) *cobra.Command {
	var f groupChange
	cmd := &cobra.Command{
		Use:   "replay GROUP",
		Short: "Count the events of a group again, and compare",
		Long:  groupReplayLong,
		Example: `  weir groups replay weir-bluesky-counter
  weir groups replay weir-wikipedia-counter --yes -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(groupNames)),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.replayGroup(cmd.Context(), args[0], &f) },
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	flags := cmd.Flags()
	flags.StringVar(&f.topic, "topic", "", "`TOPIC` to count, where the group counts several")
	flags.StringVar(&f.into, "into", "", "`GROUP` that counts again (default: the name with "+inspect.ReplaySuffix+")")
	flags.BoolVar(&f.yes, "yes", false, "do not ask for confirmation")
	noEnv(flags, "yes")
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completing(topicNames))
	return cmd
}

func (a *app) resetGroup(ctx context.Context, name string, f *groupChange) error {
	if f.to == "" {
		return cli.UsageError("add --to oldest, latest, an offset, +N, -N or a time", "where to is missing")
	}
	to, err := inspect.ParseTarget(f.to, time.Now())
	if err != nil {
		return cli.UsageError("", "--to %w", err)
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	c, err := a.groupActions(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	reset := func(confirm string) (answer web.ResetAnswer, err error) {
		body := web.ResetRequest{To: to.String(), Topics: f.topics, Partitions: f.partitions, Confirm: confirm}
		return answer, groupError(c.post(ctx, groupPath(name, "reset"), body, &answer))
	}
	answer, err := reset("")
	if err != nil {
		return err
	}
	if err := a.showReset(answer.Plan); err != nil {
		return err
	}
	if len(answer.Plan.Active) > 0 {
		return groupError(fmt.Errorf("%q: %w", name, inspect.ErrGroupActive))
	}
	if err := cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Type the group's name to reset it (%s): ", visible.Text(name)), name, f.yes); err != nil {
		return err
	}
	if _, err := reset(name); err != nil {
		return err
	}
	a.stderr.Linef("reset %s", visible.Text(name))
	return nil
}

// showReset prints what a reset would do, on standard error: it belongs to the question.
func (a *app) showReset(plan inspect.ResetPlan) error {
	tb := cli.NewTable("TOPIC", ">PARTITION", ">FROM", ">TO", ">MOVES", ">COUNTS DROPPED")
	for _, c := range plan.Changes {
		from, dropped := c.From, ""
		if c.Tally != nil {
			from, dropped = c.Tally.From, cli.Thousands(c.Tally.Dropped)
		}
		tb.Add(c.Topic, c.Partition, cli.NumberOrUnknown(from), c.To, fmt.Sprintf("%+d", c.Delta), dropped)
	}
	if err := tb.Write(a.stderr); err != nil {
		return err
	}
	for _, s := range plan.Skipped {
		a.stderr.Linef("skipped %s", visible.Text(s))
	}
	return nil
}

func (a *app) replayGroup(ctx context.Context, name string, f *groupChange) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	c, err := a.groupActions(ctx, t)
	if err != nil {
		return err
	}
	defer c.close()
	replay := func(confirm string) (answer web.ReplayAnswer, err error) {
		body := web.ReplayRequest{Topic: f.topic, Into: f.into, Confirm: confirm}
		return answer, groupError(c.post(ctx, groupPath(name, "replay"), body, &answer))
	}
	answer, err := replay("")
	if err != nil {
		return err
	}
	plan := answer.Plan
	tb := cli.NewTable("TOPIC", ">PARTITION", ">FROM", ">TO", ">DELETED")
	for _, p := range plan.Partitions {
		tb.Add(plan.Topic, p.Partition, p.From, p.Until, p.Trimmed)
	}
	if err := tb.Write(a.stderr); err != nil {
		return err
	}
	if plan.Drops > 0 {
		a.stderr.Linef("the group %s has counted %s events, which are dropped", visible.Text(plan.Into), cli.Thousands(plan.Drops))
	}
	if len(plan.Active) > 0 {
		return groupError(fmt.Errorf("%q: %w", plan.Into, inspect.ErrGroupActive))
	}
	if err := cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Count this again, as group %s? [y/N] ", visible.Text(plan.Into)), "y", f.yes); err != nil {
		return err
	}
	if _, err := replay(name); err != nil {
		return err
	}
	result, err := a.followReplay(ctx, c, name)
	if err != nil {
		return err
	}
	return a.printReplay(plan, *result)
}

// followReplay shows how far a replay is until it has ended.
func (a *app) followReplay(ctx context.Context, c *actions, name string) (*inspect.Comparison, error) {
	prog := cli.NewProgress(a.stderr)
	defer prog.Done()
	for {
		var state web.ReplayState
		err := c.get(ctx, groupPath(name, "replay"), &state)
		switch {
		case ctx.Err() != nil && c.running != nil:
			return nil, cli.RuntimeError("its page of the group shows the result", "stopped waiting; the running weir goes on with the replay")
		case ctx.Err() != nil:
			return nil, errors.New("the replay was stopped before its end; start it again to compare")
		case err != nil:
			return nil, err
		case state.Error != "":
			return nil, errors.New(state.Error)
		case state.Result != nil:
			return state.Result, nil
		}
		prog.Show(fmt.Sprintf("counting again: %s offsets to go", cli.Thousands(state.Left)))
		select {
		case <-ctx.Done():
		case <-time.After(replayEvery):
		}
	}
}

// replayEvery is how often it is asked how far a replay is.
const replayEvery = 200 * time.Millisecond

func (a *app) printReplay(plan inspect.ReplayPlan, c inspect.Comparison) error {
	tb := cli.NewTable("TYPE", ">COUNTED", ">COUNTED AGAIN", ">DIFFERENCE")
	err := writeRows(a, c, c.Kinds, tb, func(tb *cli.Table, k inspect.KindRow) { tb.Add(k.Kind, k.Original, k.Replay, k.Difference) })
	if err != nil {
		return err
	}
	if c.Trimmed > 0 {
		a.stderr.Linef("%s offsets that were counted are no longer in the log", cli.Thousands(c.Trimmed))
	}
	if !c.Equal {
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the counts of %s and %s differ", plan.Group, plan.Into), Hint: "weir verify says what is wrong"}
	}
	a.stderr.Linef("equal")
	return nil
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const cursorLong = `The cursor of a source says where in the stream weir continues, and which sequence
number comes next in each topic. weir writes it to the topic weir.cursors with every
transaction.

With a lost or an older cursor, weir would store events a second time. Therefore weir up
and weir produce stop such a source before they store anything. weir cursor rebuild
SOURCE makes a new cursor from the records in the topics.`

func newCursor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cursor",
		Short: "Show where a source continues, or rebuild a lost cursor",
		Long:  cursorLong,
		Example: `  weir cursor rebuild bluesky
  weir cursor show bluesky`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := &cobra.Command{
		Use:     "show SOURCE",
		Short:   "Show a source's cursor",
		Example: "  weir cursor show wikipedia -o json",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.showCursor(cmd.Context(), args[0]) },
	}
	var yes bool
	rebuild := &cobra.Command{
		Use:   "rebuild SOURCE",
		Short: "Rebuild a lost cursor from the topics",
		Long: `Reads the topics of the source and makes a new cursor: the next sequence number of
each topic, the counts by type, and the place in the stream. It uses the newest cursor
in weir.cursors if that fits. Otherwise it derives the place from the newest events.
weir does not store events again that the source then repeats.

Shows what it would write, then asks for confirmation; --yes skips the question. It
fences a weir that stores events of this source at the same time: stop that one first.`,
		Example: "  weir cursor rebuild bluesky\n  weir cursor rebuild bluesky --yes -o json",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.rebuildCursor(cmd.Context(), args[0], yes) },
	}
	for _, c := range []*cobra.Command{show, rebuild} {
		sourceArgs(c)
		a.clusterFlags(c, useKafka)
		a.outputFlag(c, cli.FormatTable, cli.FormatJSON)
	}
	rebuild.Flags().BoolVar(&yes, "yes", false, "do not ask for confirmation")
	noEnv(rebuild.Flags(), "yes")
	cmd.AddCommand(show, rebuild)
	return cmd
}

// withSource finds the cluster and the source of an argument, and runs a command on them.
func (a *app) withSource(ctx context.Context, name string, do func(node.Source, kafka.Config) error) error {
	s, err := node.SourceNamed(name)
	if err != nil {
		return err
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	cl, err := t.OpenKafka(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(s, t.KafkaConfig("weir-cursor"))
}

func (a *app) showCursor(ctx context.Context, name string) error {
	return a.withSource(ctx, name, func(s node.Source, cfg kafka.Config) error {
		rec, found, err := kafka.PeekCursor(ctx, cfg, s.Name)
		if err != nil {
			return err
		}
		if !found {
			return cli.RuntimeError("weir up writes one; where the topics hold events already: weir cursor rebuild "+s.Name, "%s has no cursor", s.Name)
		}
		return a.write(rec, []any{rec}, func() *cli.Table {
			fmt.Fprintf(a.stdout, "%s goes on %s\nwritten %s by %s\n\n", s.Name, positionText(&rec.Cursor),
				timeText(rec.WrittenUS), visible.Text(rec.Instance))
			tb := cli.NewTable("TOPIC", ">NEXT NUMBER")
			for _, topic := range sortedKeys(rec.Seqs) {
				tb.Add(topic, rec.Seqs[topic])
			}
			return tb
		})
	})
}

func (a *app) rebuildCursor(ctx context.Context, name string, yes bool) error {
	return a.withSource(ctx, name, func(s node.Source, cfg kafka.Config) error {
		a.stderr.Linef("reading the topics of %s", s.Name)
		plan, err := ingest.PlanCursor(ctx, ingest.PlanConfig{Kafka: cfg, Source: s.Name, Locate: s.Locate,
			Topics: ingest.Topics{Data: s.Topic, Account: s.Account, DeadLetter: kafka.TopicDeadLetters}})
		if err != nil {
			return err
		}
		if plan.Problem == "" {
			a.stderr.Linef("the cursor of %s fits what the topics hold: nothing to do", s.Name)
			return a.writePlan(plan)
		}
		if err := a.showPlan(plan); err != nil {
			return err
		}
		if err := cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Write this cursor of %s? [y/N] ", s.Name), "y", yes); err != nil {
			return err
		}
		if err := plan.Apply(ctx); err != nil {
			return err
		}
		a.stderr.Linef("wrote the cursor of %s: start weir again, then weir verify", s.Name)
		return a.writePlan(plan)
	})
}

// writePlan prints a plan for programs.
func (a *app) writePlan(plan *ingest.CursorPlan) error {
	if a.output == cli.FormatTable {
		return nil
	}
	return a.write(plan, nil, nil)
}

// showPlan prints what a rebuild would write, on standard error: it belongs to the question.
func (a *app) showPlan(plan *ingest.CursorPlan) error {
	a.stderr.Linef("the cursor of %s cannot be used: %s", plan.Source, plan.Problem)
	tb := cli.NewTable("TOPIC", ">RECORDS", ">NEXT NUMBER NOW", ">NEXT NUMBER THEN")
	var notes []string
	for _, t := range plan.Topics {
		tb.Add(t.Topic, t.Records, t.Was, t.Next)
		if t.Deleted > 0 {
			notes = append(notes, fmt.Sprintf("%s records are no longer in %s (retention): the new cursor does not know their types, "+
				"so weir verify can no longer recount them. The counts in Redis stay as they are.", cli.Thousands(t.Deleted), t.Topic))
		}
	}
	if err := tb.Write(a.stderr); err != nil {
		return err
	}
	from := "estimated from the newest events; events that come again from there are not stored again"
	if plan.Exact {
		from = "from the newest cursor that fits"
	}
	a.stderr.Linef("%s will go on %s (%s)", plan.Source, positionText(&plan.Cursor.Cursor), from)
	if at := &plan.Cursor.Cursor; !plan.Exact && !at.IsZero() && at.Last == "" {
		notes = append(notes, "if the source no longer offers what came after that time, weir will not notice the gap")
	}
	if at := &plan.Cursor.Cursor; !at.IsZero() && at.Origin == "" {
		notes = append(notes, "whether the stored events are live or simulated is no longer known: start weir with the same --source as before")
	}
	for _, n := range notes {
		a.stderr.Linef("note: %s", n)
	}
	return nil
}

// positionText says where a source goes on.
func positionText(c *event.Cursor) string {
	if c.IsZero() {
		return "with the events of that moment: no position is known"
	}
	text := "after " + timeText(c.TimeUS)
	if c.Seq > 0 {
		text += fmt.Sprintf(", number %d", c.Seq)
	}
	if c.Host != "" {
		text += " of " + visible.Text(c.Host)
	}
	if c.Origin != "" && !strings.HasPrefix(c.Origin, event.OriginLive) {
		text += ", " + visible.Text(c.Origin)
	}
	return text
}

// timeText is a time in Unix microseconds.
func timeText(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05 UTC") }

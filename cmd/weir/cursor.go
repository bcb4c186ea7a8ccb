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
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

func newCursor(a *app) *cobra.Command {
	cmd := a.command("cursor", 0, nil, nil)
	formats := func(cmd *cobra.Command) { a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON) }
	cmd.AddCommand(a.sourceCommand("cursor show", useCluster, formats, a.showCursor),
		a.sourceCommand("cursor rebuild", useCluster|useYes, formats, a.rebuildCursor))
	return cmd
}

func (a *app) showCursor(ctx context.Context, s node.Source) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	rec, found, err := t.Cursor(ctx, s)
	if err != nil {
		return err
	}
	if !found {
		return cli.RuntimeError("weir up writes one; where the topics hold events already: weir cursor rebuild "+s.Name, "%s has no cursor", s.Name)
	}
	return a.writeOne(rec, func() string {
		return fmt.Sprintf("%s goes on %s\nwritten %s by %s", s.Name, positionText(&rec.Cursor), timeText(rec.WrittenUS), visible.Text(rec.Instance))
	}, cli.TableOf(sortedKeys(rec.Seqs), func(topic string) []any { return []any{topic, rec.Seqs[topic]} }, "TOPIC", ">NEXT NUMBER"))
}

func (a *app) rebuildCursor(ctx context.Context, s node.Source) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	plan, err := t.PlanCursor(ctx, s, func() { a.stderr.Linef("reading the topics of %s", s.Name) })
	if err != nil {
		return err
	}
	if plan.Problem == "" {
		a.stderr.Linef("the cursor of %s fits what the topics hold: nothing to do", s.Name)
	} else {
		if err := a.showPlan(plan); err != nil {
			return err
		}
		if err := cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Write this cursor of %s? [y/N] ", s.Name), "y", a.yes); err != nil {
			return err
		}
		if err := plan.Apply(ctx); err != nil {
			return err
		}
		a.stderr.Linef("wrote the cursor of %s: start weir again, then weir verify", s.Name)
	}
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
	at := &plan.Cursor.Cursor
	a.stderr.Linef("%s will go on %s (%s)", plan.Source, positionText(at), from)
	if !plan.Exact && !at.IsZero() && at.Last == "" {
		notes = append(notes, "if the source no longer offers what came after that time, weir will not notice the gap")
	}
	if !at.IsZero() && at.Origin == "" {
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

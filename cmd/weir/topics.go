package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/inspect"
)

const topicsLong = `Lists the topics of the cluster, or describes one: its partitions with their
leaders, replicas and offsets, its settings, and who consumes it.

low is the first offset that is kept, high the one after the last, stable the one
below which no transaction is open.`

func newTopics(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics [TOPIC]",
		Short: "The topics, or one topic's partitions, settings and consumers",
		Long:  topicsLong,
		Example: `  weir topics
  weir topics bluesky-events
  weir topics -o json | jq '.[].name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withInspector(ctx, func(i *inspect.Inspector, t *target) error {
				if len(args) == 0 {
					list, err := i.Topics(ctx)
					if err != nil {
						return err
					}
					return a.printTopics(list)
				}
				d, err := i.Topic(ctx, args[0])
				if err != nil {
					return topicError(err)
				}
				return a.printTopic(d)
			})
		},
	}
	a.clusterFlags(cmd, useKafka)
	a.outputFlag(cmd, formatTable, formatJSON, formatJSONL)
	return cmd
}

// topicError adds the way out to an unknown topic.
func topicError(err error) error {
	if errors.Is(err, inspect.ErrNoTopic) {
		return runtimeError("weir topics lists what there is", "%w", err)
	}
	return err
}

func (a *app) printTopics(list inspect.TopicList) error {
	a.notes(list.Note, list.Warnings)
	lines := make([]any, len(list.Topics))
	for i, t := range list.Topics {
		lines[i] = t
	}
	return a.write(list.Topics, lines, func() *table {
		tb := newTable("TOPIC", ">PARTITIONS", ">REPLICAS", ">MESSAGES", ">SIZE", "STATE")
		for _, t := range list.Topics {
			tb.add(t.Name, t.Partitions, t.Replicas, t.Messages, sizeOrUnknown(t.Bytes), topicState(t))
		}
		return tb
	})
}

func topicState(t inspect.Topic) string {
	switch {
	case t.Error != "":
		return t.Error
	case t.Offline > 0:
		return fmt.Sprintf("%d partitions without a leader", t.Offline)
	case t.UnderReplicated > 0:
		return fmt.Sprintf("%d partitions under-replicated", t.UnderReplicated)
	}
	return "ok"
}

func (a *app) printTopic(d inspect.TopicDetail) error {
	a.notes(d.Note, d.Warnings)
	if a.output != formatTable {
		return a.write(d, []any{d}, nil)
	}
	last := "none"
	if !d.LastRecord.IsZero() {
		last = agoText(d.LastRecord, time.Now())
	}
	fmt.Fprintf(a.stdout, "%s: %s messages, %s, last record %s\n\n", visible(d.Name), thousands(d.Messages), sizeOrUnknown(d.Bytes), last)
	parts := newTable(">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", ">LOW", ">HIGH", ">STABLE", "")
	for _, p := range d.Parts {
		parts.add(p.ID, numberOrUnknown(int64(p.Leader)), ids(p.Replicas), ids(p.ISR), numberOrUnknown(p.Low), numberOrUnknown(p.High), numberOrUnknown(p.Stable), p.Error)
	}
	if err := parts.write(a.stdout); err != nil {
		return err
	}
	if len(d.Groups) > 0 {
		groups := newTable("GROUP", "STATE", ">MEMBERS", ">LAG")
		for _, g := range d.Groups {
			groups.add(g.Name, g.State, g.Members, numberOrUnknown(g.Lag))
		}
		fmt.Fprintln(a.stdout)
		if err := groups.write(a.stdout); err != nil {
			return err
		}
	}
	settings := newTable("SETTING", "VALUE", "FROM")
	for _, s := range d.Config {
		if s.Source != "default" {
			settings.add(s.Name, s.Value, s.Source)
		}
	}
	if len(settings.rows) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	return settings.write(a.stdout)
}

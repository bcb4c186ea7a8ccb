package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const topicsLong = `Lists the topics of the cluster, or describes one: its partitions with their
leaders, replicas and offsets, its settings, and the groups that consume it.

LOW is the first offset that the log still holds, HIGH the high watermark, STABLE the
last stable offset: below it, no transaction is open.`

func newTopics(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topics [TOPIC]",
		Short: "List the topics, or describe one",
		Long:  topicsLong,
		Example: `  weir topics
  weir topics bluesky-events
  weir topics -o json | jq '.[].name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(topicNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withInspector(ctx, func(i *inspect.Inspector, t *node.Target) error {
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
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	return cmd
}

// topicError adds the way out to an unknown topic.
func topicError(err error) error {
	if errors.Is(err, inspect.ErrNoTopic) {
		return cli.RuntimeError("list the topics with: weir topics", "%w", err)
	}
	return err
}

func (a *app) printTopics(list inspect.TopicList) error {
	a.notes(list.Note, list.Warnings)
	tb := cli.NewTable("TOPIC", ">PARTITIONS", ">REPLICAS", ">MESSAGES", ">SIZE", "STATE")
	return writeRows(a, list.Topics, list.Topics, tb, func(tb *cli.Table, t inspect.Topic) {
		tb.Add(t.Name, t.Partitions, t.Replicas, t.Messages, cli.SizeOrUnknown(t.Bytes), topicState(t))
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
	if a.output != cli.FormatTable {
		return a.write(d, []any{d}, nil)
	}
	last := "none"
	if !d.LastRecord.IsZero() {
		last = cli.AgoText(d.LastRecord, time.Now())
	}
	fmt.Fprintf(a.stdout, "%s: %s messages, %s, last record %s\n\n", visible.Text(d.Name), cli.Thousands(d.Messages), cli.SizeOrUnknown(d.Bytes), last)
	parts := cli.NewTable(">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", ">LOW", ">HIGH", ">STABLE", "")
	for _, p := range d.Parts {
		parts.Add(p.ID, cli.NumberOrUnknown(int64(p.Leader)), cli.IDs(p.Replicas), cli.IDs(p.ISR), cli.NumberOrUnknown(p.Low), cli.NumberOrUnknown(p.High), cli.NumberOrUnknown(p.Stable), p.Error)
	}
	if err := parts.Write(a.stdout); err != nil {
		return err
	}
	if len(d.Groups) > 0 {
		groups := cli.NewTable("GROUP", "STATE", ">MEMBERS", ">LAG")
		for _, g := range d.Groups {
			groups.Add(g.Name, g.State, g.Members, cli.NumberOrUnknown(g.Lag))
		}
		fmt.Fprintln(a.stdout)
		if err := groups.Write(a.stdout); err != nil {
			return err
		}
	}
	settings := cli.NewTable("SETTING", "VALUE", "FROM")
	for _, s := range d.Config {
		if s.Source != "default" {
			settings.Add(s.Name, s.Value, s.Source)
		}
	}
	if settings.Empty() {
		return nil
	}
	fmt.Fprintln(a.stdout)
	return settings.Write(a.stdout)
}

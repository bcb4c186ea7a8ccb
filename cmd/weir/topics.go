package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

func newTopics(a *app) *cobra.Command {
	list := func(ctx context.Context, _ []string) error {
		return show(ctx, a, (*inspect.Inspector).Topics, a.printTopics)
	}
	describe := func(ctx context.Context, args []string) error {
		return show(ctx, a, func(i *inspect.Inspector, ctx context.Context) (inspect.TopicDetail, error) {
			return i.Topic(ctx, args[0])
		}, a.printTopic)
	}
	topics := a.command("topics", useCluster|useOutput, nil, func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			return list(ctx, args)
		}
		return describe(ctx, args)
	})
	topics.AddCommand(a.command("topics list", useCluster|useOutput, nil, list), a.command("topics describe", useCluster|useOutput, nil, describe),
		newTopicActivity(a), newTopicCreate(a), newTopicAlter(a), newTopicAddPartitions(a), newTopicTruncate(a), newTopicDelete(a), newTopicSettings(a))
	return topics
}

func (a *app) printTopics(list inspect.TopicList) error {
	a.notes(list.Note, list.Warnings)
	return writeRows(a, list.Topics, list.Topics, func(t inspect.Topic) []any {
		return []any{t.Name, t.Partitions, t.Replicas, t.Messages, cli.SizeOrUnknown(t.Bytes), topicState(t)}
	}, "TOPIC", ">PARTITIONS", ">REPLICAS", ">MESSAGES", ">SIZE", "STATE")
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
	partitions := cli.TableOf(d.Parts, func(p inspect.Partition) []any {
		return []any{p.ID, cli.NumberOrUnknown(int64(p.Leader)), cli.IDs(p.Replicas), cli.IDs(p.ISR),
			cli.NumberOrUnknown(p.Low), cli.NumberOrUnknown(p.High), cli.NumberOrUnknown(p.Stable), p.Error}
	}, ">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", ">LOW", ">HIGH", ">STABLE", "")
	groups := cli.TableOf(d.Groups, func(g inspect.TopicGroup) []any {
		return []any{g.Name, g.State, g.Members, cli.NumberOrUnknown(g.Lag)}
	}, "GROUP", "STATE", ">MEMBERS", ">LAG")
	settings := cli.NewTable("SETTING", "VALUE", "FROM")
	for _, s := range d.Config {
		if s.Source != "default" {
			settings.Add(s.Name, s.Value, s.Source)
		}
	}
	return a.writeOne(d, func() string {
		now := time.Now()
		return fmt.Sprintf("%s: %s messages, %s, first record %s (%s), last record %s", visible.Text(d.Name), cli.Thousands(d.Messages),
			cli.SizeOrUnknown(d.Bytes), agoOrNone(d.FirstRecord, now), limitText(d.Limit), agoOrNone(d.LastRecord, now))
	}, partitions, groups, settings)
}

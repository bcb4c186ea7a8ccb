package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/learn/crashcount"
	"github.com/weir-project/weir/internal/learn/crashnote"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// newLearnCounter is the counter of the station about delivery semantics, which learners kill.
func newLearnCounter(a *app) *cobra.Command {
	var topic string
	return a.command("learn counter", useCluster|useRedis, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&topic, "topic", kafka.TopicBluesky, "`TOPIC` to count")
		cmd.ValidArgsFunction = onlyFirst(cobra.FixedCompletions(crashnote.Semantics, cobra.ShellCompDirectiveNoFileComp))
	}, a.onTarget(func(ctx context.Context, t *node.Target, args []string) error {
		return a.runLearnCounter(ctx, t, args[0], topic)
	}))
}

func (a *app) runLearnCounter(ctx context.Context, t *node.Target, semantics, topic string) error {
	if err := crashnote.Known(semantics); err != nil {
		return cli.UsageError("", "%w", err)
	}
	cl, err := t.OpenKafka(ctx)
	if err != nil {
		return err
	}
	cl.Close() // the counter has a client of its own; this one showed that there is a cluster
	store, err := t.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	a.showMode(t.Mode, "")
	kill := "kill -9 " + strconv.Itoa(os.Getpid())
	if runtime.GOOS == "windows" {
		kill = "taskkill /F /PID " + strconv.Itoa(os.Getpid())
	}
	a.stderr.Linef("counting %s as group %s; offsets are committed every %s", visible.Text(topic), crashnote.Group(semantics),
		crashnote.CommitEvery)
	a.stderr.Linef("kill it from another terminal: %s; Ctrl-C commits and stops it", kill)
	prog := cli.NewProgress(a.stderr)
	err = crashcount.Run(ctx, crashcount.Config{Kafka: t.KafkaConfig("weir-learn-counter"), Store: store, Topic: topic,
		Semantics: semantics, Dir: t.Data,
		Classify: classifyOf(topic), Progress: func(p crashcount.Progress) { prog.Show(counterLine(p)) }})
	prog.Done()
	return err
}

// classifyOf is what a record of a topic without a kind header counts as; nil for malformed.
func classifyOf(topic string) func([]byte) string {
	for _, s := range node.Sources {
		if s.Topic == topic {
			return s.Classify
		}
	}
	return nil
}

// counterLine is the progress of the counter in one line.
func counterLine(p crashcount.Progress) string {
	text := "no offset committed yet"
	if !p.Committed.IsZero() {
		text = "committed at " + p.Committed.Format(time.TimeOnly)
	}
	return fmt.Sprintf("%s events counted by this run, %s since the last commit (%s)", cli.Thousands(p.Counted),
		cli.Thousands(p.Uncommitted), text)
}

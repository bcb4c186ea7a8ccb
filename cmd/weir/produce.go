package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

func newProduce(a *app) *cobra.Command {
	var f streamFlags
	return a.sourceCommand("produce", useLog, func(cmd *cobra.Command) {
		f.flags(cmd)
		f.paceFlag(cmd.Flags())
		a.sharedFlags(cmd, useCluster)
	}, func(ctx context.Context, s node.Source) error { return a.runProduce(ctx, s, &f) })
}

func (a *app) runProduce(ctx context.Context, s node.Source, f *streamFlags) error {
	if err := errors.Join(f.checkPace(), f.Check()); err != nil {
		return err
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	// The running weir's directory says what its topics hold; without one the
	// streams decide.
	why := ""
	if t.Mode == "" || f.Mode != node.Auto || f.Named() {
		t.Mode, why, err = a.decideMode(ctx, f)
	} else {
		a.completeStreams(f)
	}
	if err != nil {
		return err
	}
	return a.runNode(ctx, t, node.Config{Ingest: []node.Source{s}, Streams: &f.Streams, Pace: f.pace}, func(*node.Node) {
		a.showMode(t.Mode, why)
		a.stderr.Linef("%s → %s at %s; Ctrl-C stops", s.Name, s.Topic, visible.Text(strings.Join(t.Kafka, ",")))
	}, func(_ context.Context, n *node.Node) error { return a.printProduced(n, s) })
}

// printProduced prints what this run stored.
func (a *app) printProduced(n *node.Node, s node.Source) error {
	is := n.Ingested(s)
	tb := cli.NewTable("STORED IN THIS RUN", ">EVENTS")
	tb.Add("events", is.Events)
	tb.Add("dropped as duplicates", is.Duplicates)
	if is.TooOld > 0 {
		tb.Add("not stored: repeated or new, too old to decide", is.TooOld)
	}
	tb.Add("dead letters", is.Rejects)
	tb.Add("gaps", is.Gaps)
	if err := tb.Write(a.stdout); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

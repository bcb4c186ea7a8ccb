package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const produceLong = `Reads one stream and writes its events to Kafka, each exactly once: the offset
in the stream is stored in the same transaction as the events. Several can run for
different streams; a second one for the same stream takes over from the first.

Events come live from the public stream, or from --bluesky-url and --wikipedia-url.
With a weir that runs on simulated data, or --source simulated, they are generated
locally.`

func newProduce(a *app) *cobra.Command {
	var f streamFlags
	cmd := sourceArgs(&cobra.Command{
		Use:   "produce bluesky|wikipedia",
		Short: "Only the ingester of one stream, into a running cluster",
		Long:  produceLong,
		Example: `  weir cluster                          # in another terminal
  weir produce bluesky
  weir produce wikipedia --kafka broker1:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := node.SourceNamed(args[0])
			if err != nil {
				return err
			}
			return a.runProduce(cmd.Context(), s, &f)
		},
	})
	f.modeFlag(cmd, node.Auto)
	f.urlFlags(cmd.Flags())
	f.simulatedFlags(cmd.Flags())
	a.clusterFlags(cmd, useKafka)
	a.logFlag(cmd)
	return cmd
}

func (a *app) runProduce(ctx context.Context, s node.Source, f *streamFlags) error {
	if err := f.Check(); err != nil {
		return err
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	// The running weir's directory says what its topics hold; without one the
	// streams decide.
	mode, why, err := t.Mode, "", nil
	if mode == "" || f.Mode != node.Auto || f.Named() {
		mode, why, err = a.decideMode(ctx, f)
	} else {
		a.completeStreams(f)
	}
	if err != nil {
		return err
	}
	t.Mode = mode
	cfg, err := a.nodeConfig(t, f, nil)
	if err != nil {
		return err
	}
	cfg.Ingest = []node.Source{s}
	return a.runNode(ctx, cfg, func(*node.Node) {
		a.sayWhy(mode, why)
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

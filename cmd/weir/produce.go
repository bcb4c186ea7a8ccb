package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
)

const produceLong = `Reads one stream and writes its events to Kafka, each exactly once: the position
in the stream is stored in the same transaction as the events. Several can run for
different streams; a second one for the same stream takes over from the first.

Events come live from the public stream, or from --bluesky-url and --wikipedia-url.
With a weir that runs on simulated data, or --source simulated, they are made here.`

func newProduce(a *app) *cobra.Command {
	var f sourceFlags
	cmd := sourceArgs(&cobra.Command{
		Use:   "produce bluesky|wikipedia",
		Short: "Only the ingester of one stream, into a running cluster",
		Long:  produceLong,
		Example: `  weir cluster                          # in another terminal
  weir produce bluesky
  weir produce wikipedia --kafka broker1:9092`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sourceNamed(args[0])
			if err != nil {
				return err
			}
			return a.runProduce(cmd.Context(), s, &f)
		},
	})
	f.modeFlag(cmd, sourceAuto)
	f.urlFlags(cmd.Flags())
	f.simulatedFlags(cmd.Flags())
	a.clusterFlags(cmd, useKafka)
	a.logFlag(cmd)
	return cmd
}

func (a *app) runProduce(ctx context.Context, s source, f *sourceFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	// The running weir's directory says what its topics hold; without one the
	// streams decide.
	why := ""
	switch {
	case f.source != sourceAuto || f.explicitURL() || t.mode == "":
		if t.mode, why, err = a.decideMode(ctx, f); err != nil {
			return err
		}
	}
	cl, err := a.openKafka(ctx, t)
	if err != nil {
		return err
	}
	err = a.prepareTopics(ctx, cl, t, s.ingestPurpose())
	cl.Close()
	if err != nil {
		return err
	}
	p := &pipeline{app: a, target: t}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.simulate(f, s.name); err != nil {
		return err
	}
	if err := p.produce(s, f); err != nil {
		return err
	}
	a.sayWhy(t.mode, why)
	a.stderr.Linef("%s → %s at %s; Ctrl-C stops", s.name, s.topic, joinAddresses(t.kafka))
	err = p.run(ctx, nil)
	return errors.Join(err, p.printProduced(s))
}

// printProduced prints what this run stored.
func (p *pipeline) printProduced(s source) error {
	is := p.lineOf(s).ingest.Stats()
	v := map[string]int64{"events": is.Events, "rejected": is.Rejects, "gaps": is.Gaps, "duplicates": is.Duplicates, "too_old": is.TooOld}
	tb := cli.NewTable("STORED IN THIS RUN", ">EVENTS")
	tb.Add("events", v["events"])
	tb.Add("dropped as duplicates", v["duplicates"])
	if n := v["too_old"]; n > 0 {
		tb.Add("not stored: sent again, too old to tell", n)
	}
	tb.Add("dead letters", v["rejected"])
	tb.Add("gaps", v["gaps"])
	if err := tb.Write(p.app.stdout); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/wikipedia"
)

func newSimulate(a *app) *cobra.Command {
	var f streamFlags
	var listen, faults string
	cmd := a.command("simulate", useData|useLog, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.StringVar(&listen, "listen", "127.0.0.1:7676", "`ADDR` to serve both streams on")
		f.simulatedFlags(flags)
		flags.StringSliceVar(&f.Collections, "collections", []string{defaultCollection}, "`LIST` of Bluesky collections that have events; '*' is everything")
		flags.StringVar(&faults, "faults", "", "`PLAN` of faults, such as cut@5000,malformed/1000")
	}, func(ctx context.Context, _ []string) error { return a.runSimulate(ctx, &f, listen, faults) })
	cmd.Long += " " + strings.Join(simulate.FaultNames(), ", ") + "."
	return cmd
}

func (a *app) runSimulate(ctx context.Context, f *streamFlags, listen, faults string) (err error) {
	plan, err := simulate.ParsePlan(faults)
	if err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	data, err := a.data()
	if err != nil {
		return err
	}
	a.completeStreams(f)
	u, err := node.OpenUpstreams(node.UpstreamConfig{
		Names: sourceNames(), Dir: filepath.Join(data, "simulate"), Addr: listen, Faults: plan, Streams: &f.Streams,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	a.stderr.Linef("%s", a.stderr.Paint(cli.Bold, "weir simulate"))
	a.stderr.Linef("  bluesky    %s  %s/s (%s)", u.BlueskyURL(), cli.RateText(f.Rate), visible.Text(strings.Join(f.Collections, ", ")))
	a.stderr.Linef("  wikipedia  %s  %s/s", u.WikipediaURL(), cli.RateText(node.WikipediaRate(f.Rate)))
	a.stderr.Linef("  seed       %d", f.Seed)
	a.stderr.Linef("  try, in another terminal (with a data directory of its own, because these events are not live ones):")
	a.stderr.Linef("    weir up --data %s --bluesky-url %s --wikipedia-url %s", visible.ShellWord(filepath.Join(data, "simulate", "weir")), u.BlueskyURL(), u.WikipediaURL())
	a.stderr.Linef("  Ctrl-C stops")
	<-ctx.Done()
	return a.printServed(u)
}

// printServed prints what was served and which faults happened.
func (a *app) printServed(u *node.Upstreams) error {
	tb := cli.NewTable("STREAM", "WHAT", ">EVENTS")
	tb.Add(bluesky.Name, "happened", u.Bluesky.Tip())
	tb.Add(wikipedia.Name, "happened", u.Wikipedia.Tip())
	for _, name := range sourceNames() {
		fired := u.Faults[name].Fired()
		for _, fault := range slices.Sorted(maps.Keys(fired)) {
			tb.Add(name, "fault "+fault, fired[fault])
		}
	}
	return tb.Write(a.stdout)
}

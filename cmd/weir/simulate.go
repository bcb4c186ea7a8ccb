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
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
	"github.com/weir-project/weir/internal/wikipedia"
)

// defaultSimulateAddr is where weir simulate listens when nothing is said.
const defaultSimulateAddr = "127.0.0.1:7676"

const simulateLong = `Serves both streams as the real servers do, with events that are made here: the
same seed makes the same events. Other programs that speak the two protocols can
be pointed at it, too.

Faults show how a client copes. A plan is a list with commas between,
  [bluesky:|wikipedia:]NAME@N[:PARAMETER]   once, at event N (429, 503: at request N)
  [bluesky:|wikipedia:]NAME/N[:PARAMETER]   at every Nth
of these: `

func newSimulate(a *app) *cobra.Command {
	var f sourceFlags
	var listen, faults string
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Both upstream servers, offline, at any rate, with faults",
		Long:  simulateLong + strings.Join(simulate.FaultNames(), ", ") + ".",
		Example: `  weir simulate --rate 2000
  weir simulate --faults 'cut@5000,wikipedia:stall@900:30s,malformed/1000'
  weir up --bluesky-url ws://127.0.0.1:7676/subscribe --wikipedia-url http://127.0.0.1:7676/v2/stream/recentchange`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runSimulate(cmd.Context(), &f, listen, faults)
		},
	}
	a.dataFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", defaultSimulateAddr, "`ADDR` to serve both streams on")
	f.simulatedFlags(flags)
	flags.StringSliceVar(&f.collections, "collections", []string{defaultCollection}, "`LIST` of Bluesky collections that have events; '*' is everything")
	flags.StringVar(&faults, "faults", "", "`PLAN` of faults, such as cut@5000,malformed/1000")
	a.logFlag(cmd)
	return cmd
}

func (a *app) runSimulate(ctx context.Context, f *sourceFlags, listen, faults string) (err error) {
	plan, err := simulate.ParsePlan(faults)
	if err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	data, err := a.data()
	if err != nil {
		return err
	}
	u, err := openUpstreams(upstreamConfig{
		names: []string{bluesky.Name, wikipedia.Name}, dir: filepath.Join(data, "simulate"), addr: listen,
		seed: f.seed, rate: f.rate, collections: f.collections, faults: plan, log: a.log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	a.stderr.Linef("%s", a.stderr.Paint(cli.Bold, "weir simulate"))
	a.stderr.Linef("  bluesky    %s  %s/s (%s)", u.blueskyURL(), cli.RateText(f.rate), visible.Text(strings.Join(f.collections, ", ")))
	a.stderr.Linef("  wikipedia  %s  %s/s", u.wikipediaURL(), cli.RateText(wikipediaRate(f.rate)))
	a.stderr.Linef("  seed       %d", f.seed)
	a.stderr.Linef("  try, in another terminal (with a data directory of its own, because these events are no live ones):")
	a.stderr.Linef("    weir up --data %s --bluesky-url %s --wikipedia-url %s", web.ShellWord(filepath.Join(data, "simulate", "weir")), u.blueskyURL(), u.wikipediaURL())
	a.stderr.Linef("  Ctrl-C stops")
	<-ctx.Done()
	return a.printServed(u)
}

// printServed prints what was served and which faults happened.
func (a *app) printServed(u *upstreams) error {
	tb := cli.NewTable("STREAM", "WHAT", ">EVENTS")
	tb.Add(bluesky.Name, "happened", u.bluesky.Tip())
	tb.Add(wikipedia.Name, "happened", u.wikipedia.Tip())
	for _, name := range []string{bluesky.Name, wikipedia.Name} {
		fired := u.faults[name].Fired()
		for _, fault := range slices.Sorted(maps.Keys(fired)) {
			tb.Add(name, "fault "+fault, fired[fault])
		}
	}
	return tb.Write(a.stdout)
}

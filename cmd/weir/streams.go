package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/node"
)

// defaultCollection is what weir requests from Bluesky by default: posts, which is the
// stream that people mean.
const defaultCollection = "app.bsky.feed.post"

// Defaults of the simulated streams.
const (
	defaultRate = 100
	defaultSeed = 1
)

// streamFlags say where events come from.
type streamFlags struct {
	node.Streams
	pace time.Duration // between the commits of an ingester
}

// flags adds all of them.
func (f *streamFlags) flags(cmd *cobra.Command) {
	f.modeFlag(cmd, node.Auto)
	f.blueskyFlags(cmd.Flags())
	f.wikipediaFlag(cmd.Flags())
	cmd.Flags().StringVar(&f.Dictionary, "zstd-dictionary", "", "`FILE` of Jetstream's dictionary, to receive Bluesky compressed: a third of the bytes, five times the processor time")
	f.simulatedFlags(cmd.Flags())
}

func (f *streamFlags) paceFlag(flags *pflag.FlagSet) {
	flags.DurationVar(&f.pace, "pace", ingest.DefaultPace,
		"`TIME` between two commits at least, while few events wait; a short one costs processor time and, in the embedded brokers, memory")
}

// checkPace checks what paceFlag added.
func (f *streamFlags) checkPace() error {
	if f.pace < ingest.MinPace || f.pace > ingest.MaxPace {
		return cli.UsageError("choose a --pace in between", "--pace %v is not between %v and %v", f.pace, ingest.MinPace, ingest.MaxPace)
	}
	return nil
}

func (f *streamFlags) modeFlag(cmd *cobra.Command, mode string) {
	choiceFlag(cmd, &f.Mode, "source", "", mode, "`MODE` of the streams: live, simulated, or auto (live, or simulated where none can be reached)",
		[]string{node.Simulated, node.Live, node.Auto})
}

func (f *streamFlags) blueskyFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.BlueskyURLs, "bluesky-url", nil, "`URLS` of Bluesky servers, by preference (default: the public ones)")
	flags.StringSliceVar(&f.Collections, "collections", []string{defaultCollection}, "`LIST` of Bluesky collections, such as app.bsky.feed.like,app.bsky.graph.*; '*' is everything")
}

func (f *streamFlags) wikipediaFlag(flags *pflag.FlagSet) {
	flags.StringVar(&f.WikipediaURL, "wikipedia-url", "", "`URL` of Wikipedia's stream (default: the public one)")
}

func (f *streamFlags) simulatedFlags(flags *pflag.FlagSet) {
	flags.Float64Var(&f.Rate, "rate", defaultRate, "`EVENTS` per second of the simulated Bluesky; Wikipedia has a third of it, at most 40")
	flags.Int64Var(&f.Seed, "seed", defaultSeed, "`NUMBER` that the simulated events are made from: the same seed, the same events")
}

// completeStreams adds what no flag says. WEIR_TEST_LIVE=URL,URL stands in for the
// public streams, because a test must not depend on a network.
func (a *app) completeStreams(f *streamFlags) {
	f.Version, f.Log = buildVersion().Version, a.log
	if v := a.env[testPrefix+"LIVE"]; v != "" {
		f.Public = strings.Split(v, ",")
	}
}

// decideMode decides whether events are live or simulated, and returns why where the user did
// not choose.
func (a *app) decideMode(ctx context.Context, f *streamFlags) (mode, why string, err error) {
	a.completeStreams(f)
	return f.Decide(ctx)
}

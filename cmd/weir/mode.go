package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/wikipedia"
)

// Values of --source.
const sourceAuto = "auto"

// defaultCollection is what is asked of Bluesky when nothing is said: posts,
// which is the stream that people mean.
const defaultCollection = "app.bsky.feed.post"

// sourceFlags say where events come from.
type sourceFlags struct {
	source       string
	blueskyURLs  []string
	wikipediaURL string
	collections  []string
	dictionary   string
	rate         float64
	seed         int64
}

func (f *sourceFlags) modeFlag(cmd *cobra.Command, mode string) {
	cmd.Flags().StringVar(&f.source, "source", mode, "`MODE` of the streams: live, simulated, or auto (live, or simulated where none can be reached)")
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions([]string{modeSimulated, modeLive, sourceAuto}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *sourceFlags) urlFlags(flags *pflag.FlagSet) {
	f.blueskyFlags(flags)
	f.wikipediaFlag(flags)
	flags.StringVar(&f.dictionary, "zstd-dictionary", "", "`FILE` of Jetstream's dictionary, to receive Bluesky compressed: a third of the bytes, five times the processor time")
}

func (f *sourceFlags) blueskyFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.blueskyURLs, "bluesky-url", nil, "`URLS` of Bluesky servers, by preference (default: the public ones)")
	flags.StringSliceVar(&f.collections, "collections", []string{defaultCollection}, "`LIST` of Bluesky collections, such as app.bsky.feed.like,app.bsky.graph.*; '*' is everything")
}

func (f *sourceFlags) wikipediaFlag(flags *pflag.FlagSet) {
	flags.StringVar(&f.wikipediaURL, "wikipedia-url", "", "`URL` of Wikipedia's stream (default: the public one)")
}

// Defaults of the simulated streams.
const (
	defaultRate = 100
	defaultSeed = 1
)

func (f *sourceFlags) simulatedFlags(flags *pflag.FlagSet) {
	flags.Float64Var(&f.rate, "rate", defaultRate, "`EVENTS` per second of the simulated Bluesky; Wikipedia has a third of it, at most 40")
	flags.Int64Var(&f.seed, "seed", defaultSeed, "`NUMBER` that the simulated events are made from: the same seed, the same events")
}

// explicitURL reports whether the user named a stream.
func (f *sourceFlags) explicitURL() bool { return len(f.blueskyURLs) > 0 || f.wikipediaURL != "" }

// check refuses what contradicts itself, before anything is opened.
func (f *sourceFlags) check() error {
	if err := f.checkMode(); err != nil {
		return err
	}
	if !(f.rate >= simulate.MinRate && f.rate <= simulate.MaxRate) {
		return cli.UsageError("choose a --rate in between", "--rate %v is not between %v and %v events a second", f.rate, simulate.MinRate, simulate.MaxRate)
	}
	if _, err := bluesky.New(bluesky.Config{URLs: f.blueskyURLs, Collections: f.collections}); err != nil {
		return cli.UsageError("see weir up --help", "%w", err)
	}
	if _, err := wikipedia.New(wikipedia.Config{URL: f.wikipediaURL}); err != nil {
		return cli.UsageError("see weir up --help", "%w", err)
	}
	return nil
}

func (f *sourceFlags) checkMode() error {
	if !slices.Contains([]string{sourceAuto, modeLive, modeSimulated}, f.source) {
		return cli.UsageError("choose one of auto, live, simulated", "--source %s is unknown", f.source)
	}
	if f.source == modeSimulated && f.explicitURL() {
		return cli.UsageError("leave out one of them: simulated events come from inside, and nothing is dialled", "--source simulated and a URL contradict each other")
	}
	return nil
}

// liveURLs are the streams that a probe asks for. WEIR_TEST_LIVE=URL,URL stands in
// for the public ones, because a test must not depend on a network.
func (a *app) liveURLs() []string {
	if v := a.env[testPrefix+"LIVE"]; v != "" {
		return strings.Split(v, ",")
	}
	return []string{bluesky.DefaultURLs[0], wikipedia.DefaultURL}
}

// decideMode says whether events are live or simulated, and why where that was
// not the user's word.
func (a *app) decideMode(ctx context.Context, f *sourceFlags) (mode, why string, err error) {
	switch {
	case f.source != sourceAuto:
		return f.source, "", nil
	case f.explicitURL():
		return modeLive, "", nil
	}
	if err := reachable(ctx, a.liveURLs()); err != nil {
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		return modeSimulated, fmt.Sprintf("no live stream can be reached (%v)", err), nil
	}
	return modeLive, "", nil
}

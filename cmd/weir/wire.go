package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
)

// drainTime bounds what is still asked of Kafka or Redis after a signal.
const drainTime = 5 * time.Second

// warnings tells what a Redis lacks, once, and of a password that everybody sees.
func (a *app) warnings(store *tally.Store) {
	for _, f := range store.Findings() {
		a.sayFinding(ofRedis(f))
	}
}

// sayWhy labels simulated events, and says why they are.
func (a *app) sayWhy(mode, why string) {
	if mode != modeSimulated {
		return
	}
	text := "SIMULATED events"
	if why != "" {
		text += ": " + why
	}
	a.stderr.Linef("%s", a.stderr.Paint(cli.Yellow, visible.Text(text)))
}

// simulate serves the named streams inside this process where events are
// simulated, and points the flags at them.
func (p *pipeline) simulate(f *sourceFlags, names ...string) error {
	if p.target.mode != modeSimulated || f.explicitURL() {
		return nil
	}
	data, err := p.app.data()
	if err != nil {
		return err
	}
	u, err := openUpstreams(upstreamConfig{
		names: names, dir: filepath.Join(data, modeSimulated), addr: host + ":0",
		seed: f.seed, rate: f.rate, collections: f.collections, log: p.app.log,
	})
	if err != nil {
		return err
	}
	p.closers, p.own = append(p.closers, u.close), true
	f.blueskyURLs, f.wikipediaURL = []string{u.blueskyURL()}, u.wikipediaURL()
	return nil
}

func joinAddresses(addrs []string) string { return visible.Text(strings.Join(addrs, ",")) }

// completeTopicFlag suggests topics for a flag, whatever the arguments.
func (a *app) completeTopicFlag(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, i *inspect.Inspector) ([]string, error) {
		list, err := i.Topics(ctx)
		var names []string
		for _, t := range list.Topics {
			names = append(names, t.Name)
		}
		return names, err
	})(cmd, nil, toComplete)
}

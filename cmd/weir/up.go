package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/wikipedia"
)

const upLong = `Runs everything in one process: three Kafka brokers, a Redis, for each of the two
streams an ingester that writes its events to Kafka, and a counter that counts
them by type, and the web pages that show it all, at http://127.0.0.1:8080. Each event is stored once and counted once, whatever is killed in
between: the next weir up goes on where this one ended.

Without network the streams are simulated, which is said everywhere. Live and
simulated events lie in directories of their own and never mix. --source live
insists on the live streams, --source simulated dials nobody.

With --engine apache the three brokers are Apache Kafka's, as Java processes of this
machine, with data of their own. With --kafka, an existing cluster is used instead of
weir's own brokers, and with --redis an existing Redis: one server, the primary that
Sentinels name (redis-sentinel://host,host/1?master=NAME), or a Redis Cluster
(redis-cluster://host,host); each with rediss for TLS. What such a cluster cannot
promise is said at the start, and by weir preflight.`

func newUp(a *app) *cobra.Command {
	var p *ports
	var f sourceFlags
	var l listenFlag
	var kind string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Everything: brokers, Redis, both streams, both counters",
		Long:  upLong,
		Example: `  weir up
  weir up --collections '*'                      # all of Bluesky, not only posts
  weir up --source simulated --rate 1000
  weir up --engine apache                        # on three real Apache Kafka brokers
  weir up --kafka broker1:9092,broker2:9092 --redis redis://cache:6379/1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := errors.Join(f.check(), a.checkEngine(kind)); err != nil {
				return err
			}
			mode, why, err := a.decideMode(ctx, &f)
			if err != nil {
				return err
			}
			cfg := engineConfig{command: "up", engine: kind, mode: mode, ports: p}
			if a.given["kafka"] != "" {
				cfg.kafka = a.kafka
			}
			if a.given["redis"] != "" {
				cfg.redis = a.redis
			}
			return a.runUp(ctx, cfg, &f, why, &l)
		},
	}
	f.modeFlag(cmd, sourceAuto)
	f.urlFlags(cmd.Flags())
	f.simulatedFlags(cmd.Flags())
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().Lookup("kafka").Usage = "`ADDRS` of an existing cluster, as host:port,host:port (default: own brokers)"
	cmd.Flags().Lookup("redis").Usage = "`URL` of an existing Redis: redis://host:port/db, redis-sentinel://…, redis-cluster://… (default: an own one)"
	engineFlag(cmd.Flags(), &kind)
	p = portsFlag(cmd.Flags())
	l.add(cmd.Flags(), a)
	a.logFlag(cmd)
	return cmd
}

// runUp opens everything, runs it until ctx ends, and drains: first the
// ingesters, then the counters once they have counted what was produced.
func (a *app) runUp(ctx context.Context, cfg engineConfig, f *sourceFlags, why string, l *listenFlag) (err error) {
	e, err := a.openEngine(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	t := e.target(cfg.mode)
	if err := e.ensureTopics(ctx, t); err != nil {
		return err
	}
	store, err := a.openStore(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	if e.redis == nil {
		a.warnings(store)
	}
	p := &pipeline{app: a, target: t, store: store, fault: e.fault}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.simulate(f, bluesky.Name, wikipedia.Name); err != nil {
		return err
	}
	for _, s := range sources {
		if err := p.produce(s, f); err != nil {
			return err
		}
		if err := p.consume(s, s.group); err != nil {
			return err
		}
	}
	p.memberships = &memberships{p: p}
	ui, err := a.openUI(ctx, t, e, p, store, l)
	if err != nil {
		return err
	}
	defer ui.close()
	own := startGroup(ctx, append(e.parts(), ui.parts()...)...)
	defer own.stop()
	e.ui = ui
	a.upBanner(e, cfg.mode, why, f)
	err = p.run(ctx, own)
	return errors.Join(err, p.printCounted(context.WithoutCancel(ctx)))
}

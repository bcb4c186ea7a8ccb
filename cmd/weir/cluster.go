package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/kafka"
)

const clusterLong = `Starts three Kafka brokers and a Redis, and nothing that uses them: for weir
produce and weir consume in other terminals, and for programs of your own. The
topics exist from the start. Data stays on disk until the next start; weir up with
the same --data and --source opens the same.

The brokers listen on 127.0.0.1:19092, :29092 and :39092, and Redis on
127.0.0.1:6379. A port that is taken gives way to a free one, which is said at the
start; ports given with --ports do not give way.`

func newCluster(a *app) *cobra.Command {
	var p *ports
	var f sourceFlags
	var l listenFlag
	var kind string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Brokers and Redis only, for programs that produce and consume by themselves",
		Long:  clusterLong,
		Example: `  weir cluster
  weir cluster --ports 0               # any free ports
  weir cluster --engine apache         # three real Apache Kafka brokers, without Docker
  weir produce bluesky                 # in a second terminal
  weir consume bluesky                 # in a third one`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := errors.Join(f.checkMode(), a.checkEngine(kind)); err != nil {
				return err
			}
			mode, why, err := a.decideMode(ctx, &f)
			if err != nil {
				return err
			}
			return a.runCluster(ctx, engineConfig{command: "cluster", engine: kind, mode: mode, ports: p}, why, &l)
		},
	}
	a.dataFlag(cmd)
	f.modeFlag(cmd, sourceAuto)
	engineFlag(cmd.Flags(), &kind)
	p = portsFlag(cmd.Flags())
	l.add(cmd.Flags(), a)
	a.logFlag(cmd)
	return cmd
}

func (a *app) runCluster(ctx context.Context, cfg engineConfig, why string, l *listenFlag) (err error) {
	e, err := a.openEngine(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.ensureTopics(ctx, e.target(cfg.mode)); err != nil {
		return err
	}
	t := e.target(cfg.mode)
	store, err := a.openStore(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	if e.ui, err = a.openUI(ctx, t, e, nil, store, l); err != nil {
		return err
	}
	defer e.ui.close()
	a.clusterBanner(e, cfg.mode, why)
	g := startGroup(ctx, append(e.parts(), e.ui.parts()...)...)
	defer g.stop()
	select {
	case <-ctx.Done():
		a.stderr.Linef("stopping")
		return nil
	case <-g.ends:
		return g.err()
	}
}

// ensureTopics makes an own cluster's topics, or sees whether an existing one will do.
func (e *engine) ensureTopics(ctx context.Context, t *target) error {
	cl, err := e.app.openKafka(ctx, t)
	if err != nil {
		return err
	}
	defer cl.Close()
	if e.cluster != nil {
		return kafka.EnsureTopics(ctx, cl, kafka.Topics()...)
	}
	return e.app.prepareTopics(ctx, cl, t, everything())
}

// target is what clients of the engine talk to.
func (e *engine) target(mode string) *target {
	return &target{kafka: e.kafkaAddrs, redis: e.redisURL, mode: mode, dir: e.home.dir,
		kafkaFrom: cmp.Or(e.app.given["kafka"], "own brokers"), redisFrom: cmp.Or(e.app.given["redis"], "own Redis")}
}

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/node"
)

func newUp(a *app) *cobra.Command {
	e := &engineFlags{app: a, command: "up", sources: node.Sources, next: []string{"weir learn", "weir counts --watch", "weir messages bluesky-events --follow", "weir verify"}}
	return a.command("up", useLog, func(cmd *cobra.Command) {
		e.streams.flags(cmd)
		e.streams.paceFlag(cmd.Flags())
		a.sharedFlags(cmd, useCluster|useRedis)
		cmd.Flags().Lookup("kafka").Usage = "`ADDRS` of an existing cluster, as host:port,host:port (default: embedded brokers)"
		cmd.Flags().Lookup("redis").Usage = "`URL` of an existing Redis: redis://host:port/db, redis-sentinel://…, redis-cluster://… (default: the embedded one)"
		e.flags(cmd)
	}, e.run)
}

func newCluster(a *app) *cobra.Command {
	e := &engineFlags{app: a, command: "cluster", next: []string{"weir produce bluesky", "weir consume bluesky", "weir topics"}}
	return a.command("cluster", useData|useLog, func(cmd *cobra.Command) {
		e.streams.modeFlag(cmd, node.Auto)
		e.flags(cmd)
	}, e.run)
}

// engineFlags are those that up and cluster have in common, and what the two do.
type engineFlags struct {
	app     *app
	command string
	sources []node.Source // that are produced and counted
	next    []string      // commands that its banner names

	engine  string
	ports   node.Ports
	keep    node.Keep
	streams streamFlags
	listen  node.Listen
}

func (e *engineFlags) flags(cmd *cobra.Command) {
	e.ports.All = node.DefaultPorts
	engineFlag(cmd, &e.engine)
	cmd.Flags().Var(&e.ports, "ports", "`PORTS` of the three brokers and of Redis, or 0 for any free ones")
	cmd.Flags().DurationVar(&e.keep.Time, "retention", 0, "how long topics keep records, as `TIME` such as 24h (default 168h, and less where the log is full)")
	cmd.Flags().Var(&e.keep.Size, "log-size", "most `BYTES` of log that the embedded brokers keep, such as 4GiB; the oldest records go first (default 4GiB)")
	listenFlags(cmd.Flags(), &e.listen)
}

// engineFlag adds --engine to a command that starts brokers.
func engineFlag(cmd *cobra.Command, engine *string) {
	choiceFlag(cmd, engine, "engine", "", cluster.Embedded, "`ENGINE` of the brokers: embedded, or apache (three local Java processes; needs Java 17, and Maven or KAFKA_HOME)", cluster.Engines())
}

// run runs brokers, Redis and the web UI, with ingesters and counters of the sources.
func (e *engineFlags) run(ctx context.Context, _ []string) error {
	a := e.app
	check, checkPace := e.streams.Check, e.streams.checkPace
	if e.sources == nil {
		check, checkPace = e.streams.CheckMode, func() error { return nil }
	}
	if err := errors.Join(check(), checkPace(), node.CheckEngine(e.engine, a.given["kafka"]),
		e.keep.Check(e.engine, a.given["kafka"], a.given["retention"], a.given["log-size"])); err != nil {
		return err
	}
	mode, why, err := a.decideMode(ctx, &e.streams)
	if err != nil {
		return err
	}
	t := a.newTarget()
	t.Mode, t.KafkaFrom, t.RedisFrom = mode, a.given["kafka"], a.given["redis"]
	if t.KafkaFrom != "" {
		t.Kafka = a.kafka
	}
	if t.RedisFrom != "" {
		t.Redis = a.redis
	}
	streams, after := "", a.printCounted
	switch {
	case e.sources == nil:
		after = nil
	case mode == node.Simulated:
		streams = "Bluesky, Wikipedia; simulated"
	default:
		streams = "Bluesky (" + strings.Join(e.streams.Collections, ", ") + "), Wikipedia; live"
	}
	cfg := node.Config{Command: e.command, Engine: e.engine, Ports: &e.ports, Keep: e.keep, Listen: &e.listen, Streams: &e.streams.Streams,
		Pace: e.streams.pace, Ingest: e.sources, Count: e.sources}
	return a.runNode(ctx, t, cfg, func(n *node.Node) {
		a.banner(ctx, n, why, streams)
		a.tryNext(e.next...)
	}, after)
}

// listenFlags adds the flags about the web UI.
func listenFlags(flags *pflag.FlagSet, l *node.Listen) {
	listenFlag(flags, &l.Addr)
	flags.StringVar(&l.TokenFile, "token-file", "", "`FILE` with the token of the web UI (default: none on loopback, otherwise one that is generated and printed)")
	flags.BoolVar(&l.ReadOnly, "read-only", false, "refuse every change that the web UI or another terminal asks for")
	flags.StringSliceVar(&l.Hosts, "allow-host", nil, "`NAMES` besides localhost by which a browser may ask for the web UI, as behind a proxy")
}

func listenFlag(flags *pflag.FlagSet, addr *string) {
	flags.StringVar(addr, "listen", node.DefaultListen, "`ADDR` of the web UI, as host:port; off for none")
}

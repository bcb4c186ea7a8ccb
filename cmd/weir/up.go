package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/node"
)

const upLong = `Runs everything in one process: three Kafka brokers, a Redis, for each of the two
streams an ingester that writes its events to Kafka, and a counter that counts
them by type, and the web UI that shows it all, at http://127.0.0.1:8080. Each event
is stored once and counted once, whatever is killed in between: the next weir up goes
on where this one ended.

Without network the streams are simulated, and every output says so. Live and
simulated events are in directories of their own and never mix. --source live
insists on the live streams, --source simulated contacts no server.

With --engine apache the three brokers are Apache Kafka's, as Java processes of this
machine, with their own data. With --kafka, an existing cluster is used instead of
the embedded brokers, and with --redis an existing Redis: one server, the primary that
Sentinels name (redis-sentinel://host,host/1?master=NAME), or a Redis Cluster
(redis-cluster://host,host); each with rediss for TLS. weir reports at the start what
such a cluster cannot promise; weir preflight reports it, too.`

func newUp(a *app) *cobra.Command {
	e := newEngineFlags(a)
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
	}
	e.streams.modeFlag(cmd, node.Auto)
	e.streams.urlFlags(cmd.Flags())
	e.streams.simulatedFlags(cmd.Flags())
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().Lookup("kafka").Usage = "`ADDRS` of an existing cluster, as host:port,host:port (default: embedded brokers)"
	cmd.Flags().Lookup("redis").Usage = "`URL` of an existing Redis: redis://host:port/db, redis-sentinel://…, redis-cluster://… (default: the embedded one)"
	e.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(e.streams.Check(), node.CheckEngine(e.engine, a.given["kafka"])); err != nil {
			return err
		}
		return e.run(cmd, node.Sources, "weir counts --watch", "weir messages bluesky-events --follow", "weir verify")
	}
	return cmd
}

const clusterLong = `Starts three Kafka brokers and a Redis, and nothing that uses them: for weir
produce and weir consume in other terminals, and for your own programs. The
topics exist from the start. Data stays on disk until the next start; weir up with
the same --data and --source opens the same.

The brokers listen on 127.0.0.1:19092, :29092 and :39092, and Redis on
127.0.0.1:6379. Where one of these ports is taken, weir takes a free one and reports
it; a port given with --ports that is taken is an error.`

func newCluster(a *app) *cobra.Command {
	e := newEngineFlags(a)
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
	}
	a.dataFlag(cmd)
	e.streams.modeFlag(cmd, node.Auto)
	e.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(e.streams.CheckMode(), node.CheckEngine(e.engine, "")); err != nil {
			return err
		}
		return e.run(cmd, nil, "weir produce bluesky", "weir consume bluesky", "weir topics")
	}
	return cmd
}

// engineFlags are those that up and cluster have in common.
type engineFlags struct {
	app     *app
	engine  string
	ports   node.Ports
	streams streamFlags
	listen  node.Listen
}

func newEngineFlags(a *app) *engineFlags {
	return &engineFlags{app: a, ports: node.Ports{All: node.DefaultPorts}}
}

func (e *engineFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	engineFlag(cmd, &e.engine)
	flags.Var(&e.ports, "ports", "`PORTS` of the three brokers and of Redis, or 0 for any free ones")
	listenFlags(flags, &e.listen)
	e.app.logFlag(cmd)
}

// engineFlag adds --engine to a command that starts brokers.
func engineFlag(cmd *cobra.Command, engine *string) {
	cmd.Flags().StringVar(engine, "engine", cluster.Embedded, "`ENGINE` of the brokers: embedded, or apache (three local Java processes; needs Java 17, and Maven or KAFKA_HOME)")
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(cluster.Engines(), cobra.ShellCompDirectiveNoFileComp))
}

// run runs brokers, Redis and the web UI, with ingesters and counters of the sources.
func (e *engineFlags) run(cmd *cobra.Command, sources []node.Source, next ...string) error {
	a, ctx := e.app, cmd.Context()
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
	cfg, err := a.nodeConfig(t, &e.streams, &e.listen)
	if err != nil {
		return err
	}
	cfg.Command, cfg.Engine, cfg.Ports = cmd.Name(), e.engine, &e.ports
	cfg.Ingest, cfg.Count = sources, sources
	streams := "Bluesky (" + strings.Join(e.streams.Collections, ", ") + "), Wikipedia; live"
	if mode == node.Simulated {
		streams = "Bluesky, Wikipedia; simulated"
	}
	after := a.printCounted
	if sources == nil {
		streams, after = "", nil
	}
	return a.runNode(ctx, cfg, func(n *node.Node) {
		a.banner(n, why, streams)
		a.tryNext(next...)
	}, after)
}

// listenFlags adds the flags about the web UI.
func listenFlags(flags *pflag.FlagSet, l *node.Listen) {
	listenFlag(flags, &l.Addr)
	flags.StringVar(&l.TokenFile, "token-file", "", "`FILE` with the token of the web UI (default: none on loopback, otherwise one that is generated and printed)")
	flags.StringSliceVar(&l.Hosts, "allow-host", nil, "`NAMES` besides localhost by which a browser may ask for the web UI, as behind a proxy")
}

func listenFlag(flags *pflag.FlagSet, addr *string) {
	flags.StringVar(addr, "listen", node.DefaultListen, "`ADDR` of the web UI, as host:port; off for none")
}

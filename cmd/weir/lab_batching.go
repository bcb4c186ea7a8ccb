package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab/kit"
)

const labBatchingLong = `What it costs to send records one way or another. Simulated Bluesky events are written
with each producer setting in turns: at a rate, for latency, CPU, requests and bytes,
and then as fast as possible, for throughput. The plot has a point for each setting,
the front on which nobody is better at both, and the one that is chosen, with the
reason in words.

A setting is written as what differs from base: linger=TIME, batch=SIZE,
compression=none|snappy|lz4|gzip|zstd, acks=all|1|0, idempotence=on|off. base is
linger=20ms,batch=256k,compression=snappy,acks=all,idempotence=on.

The records are simulated Bluesky posts, the newest 20,000 of a topic (--from-topic), which
is only read, or what the live stream brings in half a minute (--source live). They are
held in memory, at most 64 MiB, before anything is measured.

Then connections are cut while records are written: requests are swallowed, answers
lost. And weir's own ingester commits at its pace, which adapts to the load, beside
commits every 10 ms and every second, when little comes and when much does.
The page docs/labs/batching.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabBatching(a *app) *cobra.Command {
	s := kit.DefaultBatching()
	var (
		f        labFlags
		settings []string
		topic    string
	)
	def := kit.ShortBatching()
	f.presets = map[string]map[string]func(){shortForm: {
		"rate":    func() { s.Rate = def.Rate },
		"time":    func() { s.Offer = def.Offer },
		"flood":   func() { s.Flood = def.Flood },
		"rounds":  func() { s.Rounds = def.Rounds },
		"setting": func() { s.Producers = def.Producers },
	}}
	cmd := &cobra.Command{
		Use:   "batching",
		Short: "Linger, batch, compression, acks: what each costs, and which to choose",
		Long:  labBatchingLong,
		Example: `  weir lab batching --short
  weir lab batching --engine apache --within 50ms
  weir lab batching --setting base --setting linger=50ms,compression=zstd
  weir lab batching --from-topic bluesky-events    # of the running weir
  weir lab batching --short --break hurry    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			var err error
			if s.Live, err = f.upstream(cmd.Context(), a, cmd); err != nil {
				return err
			}
			for _, name := range []string{"kafka", "kafka-config"} {
				if topic == "" && a.given[name] == "--"+name { // a variable is for other commands, too
					return cli.UsageError("add --from-topic TOPIC, or leave out --"+name, "--%s says where the records of --from-topic are: nothing else is read from there", name)
				}
			}
			if topic != "" {
				t, err := a.find()
				if err != nil {
					return err
				}
				s.From = &kit.FromTopic{Kafka: t.KafkaConfig("weir-lab"), Topic: topic}
			}
			if len(settings) > 0 {
				s.Producers = nil
			}
			for _, text := range settings {
				p, err := kit.ParseProducerSetting(text)
				if err != nil {
					return cli.UsageError("see weir lab batching --help", "--setting %s: %w", text, err)
				}
				s.Producers = append(s.Producers, p)
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&settings, "setting", nil, "`SETTING` to try instead of the usual ones; may be given again")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second at which latency and CPU are measured")
	fl.DurationVar(&s.Offer, "time", s.Offer, "`TIME` for which each setting is measured at that rate")
	fl.IntVar(&s.Flood, "flood", s.Flood, "`EVENTS` that are then written as fast as possible")
	fl.IntVar(&s.Rounds, "rounds", s.Rounds, "`NUMBER` of times that everything is measured, in turns")
	fl.DurationVar(&s.Within, "within", s.Within, "`TIME` that the p99 of the chosen setting may take")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	between(fl, "rate", float64(kit.MinBatchingRate), kit.MaxBatchingRate)
	between(fl, "time", kit.MinBatchingTime, kit.MaxBatchingTime)
	between(fl, "flood", kit.MinFlood, kit.MaxFlood)
	between(fl, "rounds", 1, kit.MaxBatchingRounds)
	between(fl, "within", time.Millisecond, kit.MaxLinger)
	f.addSource(cmd)
	fl.StringVar(&topic, "from-topic", "", "`TOPIC` whose newest records are written instead of simulated ones: of the running weir, or of --kafka")
	fl.StringSliceVar(&a.kafka, "kafka", nil, "`ADDRS` of Kafka brokers that have --from-topic, as host:port,host:port (default: the running weir's)")
	fl.StringVar(&a.kafkaSettings, "kafka-config", "", "`FILE` with security.protocol and what belongs to it, as Kafka's own clients read it")
	_ = cmd.MarkFlagFilename("kafka-config", "properties", "conf")
	f.add(a, cmd, "eight settings at 1,000 events/s for a second, once: less than a minute on the embedded engine", &s.Break, kit.BatchingBreaks(), nil)
	return cmd
}

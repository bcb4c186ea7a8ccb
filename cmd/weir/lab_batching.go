package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab"
)

const labBatchingLong = `What it costs to send records one way or another. Simulated Bluesky events are written
with each producer setting in turns: at a rate, for latency, CPU, requests and bytes,
and then as fast as possible, for throughput. The plot has a point for each setting,
the front on which nobody is better at both, and the one that is chosen, with the
reason in words.

A setting is written as what differs from base: linger=TIME, batch=SIZE,
compression=none|snappy|lz4|gzip|zstd, acks=all|1|0, idempotence=on|off. base is
linger=20ms,batch=256k,compression=snappy,acks=all,idempotence=on.

Then connections are cut while records are written: requests are swallowed, answers
lost. And weir's own ingester commits at its pace, which adapts to the load, beside
commits every 10 ms and every second, when little comes and when much does.
The page docs/labs/batching.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabBatching(a *app) *cobra.Command {
	s := lab.DefaultBatching()
	var (
		short    bool
		settings []string
		engine   string
	)
	cmd := &cobra.Command{
		Use:   "batching",
		Short: "Linger, batch, compression, acks: what each costs, and which to choose",
		Long:  labBatchingLong,
		Example: `  weir lab batching --short
  weir lab batching --engine apache --within 50ms
  weir lab batching --setting base --setting linger=50ms,compression=zstd
  weir lab batching --short --break hurry    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if short {
				def := lab.ShortBatching()
				for name, apply := range map[string]func(){
					"rate":    func() { s.Rate = def.Rate },
					"time":    func() { s.Offer = def.Offer },
					"flood":   func() { s.Flood = def.Flood },
					"rounds":  func() { s.Rounds = def.Rounds },
					"setting": func() { s.Producers = def.Producers },
				} {
					if !cmd.Flags().Changed(name) {
						apply()
					}
				}
			}
			if len(settings) > 0 {
				s.Producers = nil
			}
			for _, text := range settings {
				p, err := lab.ParseProducerSetting(text)
				if err != nil {
					return usageError("see weir lab batching --help", "--setting %s: %w", text, err)
				}
				s.Producers = append(s.Producers, p)
			}
			return a.performLabOn(cmd.Context(), &s, engine)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&short, "short", false, "eight settings at 1,000 events/s for a second, once: less than a minute on the embedded engine")
	fl.StringArrayVar(&settings, "setting", nil, "`SETTING` to try instead of the usual ones; may be given again")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second at which latency and CPU are measured")
	fl.DurationVar(&s.Offer, "time", s.Offer, "`TIME` for which each setting is measured at that rate")
	fl.IntVar(&s.Flood, "flood", s.Flood, "`EVENTS` that are then written as fast as possible")
	fl.IntVar(&s.Rounds, "rounds", s.Rounds, "`NUMBER` of times that everything is measured, in turns")
	fl.DurationVar(&s.Within, "within", s.Within, "`TIME` that the p99 of the chosen setting may take")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	fl.StringVar(&s.Break, "break", "", "`HOW` to break it on purpose, so that the claim must not hold: "+strings.Join(lab.BatchingBreaks(), ", "))
	labEngineFlag(fl, &engine)
	for _, name := range []string{"short", "setting", "rate", "time", "flood", "rounds", "within", "seed", "break", "engine"} {
		noEnv(fl, name)
	}
	_ = cmd.RegisterFlagCompletionFunc("break", cobra.FixedCompletions(lab.BatchingBreaks(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(lab.Engines(), cobra.ShellCompDirectiveNoFileComp))
	a.labFlags(cmd)
	return cmd
}

package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/simulate"
)

const backpressureLong = `What becomes of events that come faster than a stage can work on them. The claim, in
exact numbers where theory is exact: blocking loses nothing, fills the queue to its
bound, stops the socket and makes upstream the buffer, in bounded memory; a policy
that drops loses exactly what its counter says; and throughput is the number of
workers divided by the time that the work takes.

Simulated Bluesky events come over a real WebSocket into the bounded queue, a number
of workers are busy with each for a fixed time, then they go to Kafka and are counted
in Redis as always; with --source live or --bluesky-url real ones do, whose load is
what it is: --preset live is slow enough for it. What was offered is known from the
simulation, or was noted at the socket, not from the pipeline. One policy after the
other is given the same events:

  block         the reader waits
  drop-newest   what arrives while the queue is full is dropped
  drop-oldest   what has waited longest is dropped
  sample        from half full on, a share of what arrives is dropped
  spill         what arrives while the queue is full waits on disk, in order

With --slow the slow stage is another one: the connection to the brokers, the consumer,
or Redis. What is slow behind Kafka does not back up: the log is the buffer.

The default, --preset threaded, is the set-up of the project that weir goes back to, and
takes four to five minutes; --preset io waits for one event after the other, --preset
play has one policy and a minute to change it in (see --control, and the page Labs);
--short takes about one minute.
The page docs/labs/backpressure.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabBackpressure(a *app) *cobra.Command {
	s := kit.DefaultBackpressure()
	var (
		f        labFlags
		policies []string
		preset   string
		slow     string
	)
	f.presets = map[string]map[string]func(){}
	for name, def := range kit.Presets() {
		f.presets[name] = map[string]func(){
			"queue":    func() { s.Queue = def.Queue },
			"workers":  func() { s.Workers = def.Workers },
			"work":     func() { s.Work = def.Work },
			"rate":     func() { s.Rate = def.Rate },
			"time":     func() { s.Offer = def.Offer },
			"policies": func() { policies = policyNames(def.Policies) },
		}
	}
	presets := slices.Sorted(maps.Keys(kit.Presets()))
	cmd := &cobra.Command{
		Use:   "backpressure",
		Short: "A stage that is too slow: block, or drop and count",
		Long:  backpressureLong,
		Example: `  weir lab backpressure --short
  weir lab backpressure --short --slow redis --work 50ms
  weir lab backpressure --short --engine apache --policies block,spill
  weir lab backpressure --policies block,sample --workers 1 --rate 500 --time 30s
  weir lab backpressure --source live --preset live
  weir lab backpressure --short --break lose      # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.short {
				if cmd.Flags().Changed("preset") && preset != kit.PresetShort {
					return cli.UsageError("leave out one of them: --short is --preset short", "--preset %s and --short contradict each other", preset)
				}
				preset = kit.PresetShort
			}
			if _, ok := f.presets[preset]; !ok {
				return cli.UsageError("choose one of "+strings.Join(presets, ", "), "there is no preset called %q", preset)
			}
			f.apply(cmd, preset)
			var err error
			if s.Live, err = f.upstream(cmd.Context(), a, cmd, "rate", "seed"); err != nil {
				return err
			}
			s.Slow = kit.Stage(slow)
			s.Policies = nil
			for _, name := range policies {
				p, err := overflow.ParsePolicy(name)
				if err != nil {
					return cli.UsageError("see weir lab backpressure --help", "%w", err)
				}
				s.Policies = append(s.Policies, p)
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	names, stages := policyNames(overflow.Policies()), []string{}
	for _, p := range kit.Stages() {
		stages = append(stages, string(p))
	}
	fl := cmd.Flags()
	fl.StringVar(&preset, "preset", kit.PresetThreaded, "`NAME` of settings to begin with: "+strings.Join(presets, ", "))
	fl.StringSliceVar(&policies, "policies", names, "`LIST` of policies to try, in this order")
	fl.IntVar(&s.Queue, "queue", s.Queue, "`EVENTS` that the queue holds at most")
	fl.Int64Var(&s.QueueBytes, "queue-bytes", s.QueueBytes, "`BYTES` that the queue holds at most: whichever bound is reached first")
	fl.IntVar(&s.Workers, "workers", s.Workers, "`NUMBER` of workers, 1 to 64; events of one account stay in order")
	fl.DurationVar(&s.Work, "work", s.Work, "`TIME` that a worker is busy with one event; with --slow redis, of a request")
	fl.StringVar(&slow, "slow", string(s.Slow), "`STAGE` that is slow: "+strings.Join(stages, ", "))
	fl.Int64Var(&s.Spill, "spill-bytes", s.Spill, "`BYTES` of disk that the policy spill may use; beyond, it drops what arrives")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second that upstream offers")
	fl.DurationVar(&s.Offer, "time", s.Offer, "`TIME` for which upstream offers them")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	between(fl, "queue", kit.MinQueue, kit.MaxQueue)
	between(fl, "queue-bytes", kit.MinQueueBytes, kit.MaxQueueBytes)
	between(fl, "workers", 1, kit.MaxWorkers)
	between(fl, "work", kit.MinWork, kit.MaxWork)
	between(fl, "spill-bytes", kit.MinSpill, kit.MaxSpill)
	between(fl, "rate", simulate.MinRate, kit.MaxOffer)
	between(fl, "time", time.Second, kit.MaxCase)
	f.addSource(cmd)
	f.add(a, cmd, "a queue of 1,000 and 1,000 events/s for 4 s: about a minute in all; the same as --preset short", &s.Break, kit.Breaks(),
		map[string][]string{"policies": names, "preset": presets, "slow": stages})
	return cmd
}

func policyNames(policies []overflow.Policy) (names []string) {
	for _, p := range policies {
		names = append(names, p.String())
	}
	return names
}

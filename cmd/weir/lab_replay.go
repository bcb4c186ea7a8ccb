package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab"
)

const replayLong = `A consumer group goes back to the beginning of the log while events go on coming in,
and while another group goes on counting them. Reading changes nothing in Kafka: the
group that went back refills to exactly the same counts, much faster than the events
came, and the other one does not notice.

Simulated Bluesky events come over a real WebSocket. When half of them are counted, a
second group begins at offset 0; when it has caught up it is rewound, and refills
again. What happened is known from the simulation. On a running weir the same is
weir groups replay. The page docs/labs/replay.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabReplay(a *app) *cobra.Command {
	s := lab.DefaultReplay()
	var (
		short  bool
		engine string
	)
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "A group goes back and refills to the same counts, while live goes on",
		Long:  replayLong,
		Example: `  weir lab replay --short
  weir lab replay --rate 5000 --time 1m --engine apache
  weir lab replay --short --break skip    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if short {
				def := lab.ShortReplay()
				if !cmd.Flags().Changed("rate") {
					s.Rate = def.Rate
				}
				if !cmd.Flags().Changed("time") {
					s.Offer = def.Offer
				}
			}
			return a.performLabOn(cmd.Context(), &s, engine)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&short, "short", false, "1,000 events/s for 4 s")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second that upstream offers")
	fl.DurationVar(&s.Offer, "time", s.Offer, "`TIME` for which upstream offers them")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	fl.StringVar(&s.Break, "break", "", "`HOW` to break it on purpose, so that the claim must not hold: "+strings.Join(lab.ReplayBreaks(), ", "))
	labEngineFlag(fl, &engine)
	for _, name := range []string{"short", "rate", "time", "seed", "break", "engine"} {
		noEnv(fl, name)
	}
	_ = cmd.RegisterFlagCompletionFunc("break", cobra.FixedCompletions(lab.ReplayBreaks(), cobra.ShellCompDirectiveNoFileComp))
	a.labFlags(cmd)
	return cmd
}

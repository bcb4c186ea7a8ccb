package main

import (
	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/kit"
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
	s := kit.DefaultReplay()
	var f labFlags
	def := kit.ShortReplay()
	f.presets = map[string]map[string]func(){shortForm: {
		"rate": func() { s.Rate = def.Rate },
		"time": func() { s.Offer = def.Offer },
	}}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "A group goes back and refills to the same counts, while live goes on",
		Long:  replayLong,
		Example: `  weir lab replay --short
  weir lab replay --rate 5000 --time 1m --engine apache
  weir lab replay --short --break skip    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			var err error
			if s.Live, err = f.upstream(cmd.Context(), a, cmd, "rate", "seed"); err != nil {
				return err
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second that upstream offers")
	fl.DurationVar(&s.Offer, "time", s.Offer, "`TIME` for which upstream offers them")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	between(fl, "rate", float64(kit.MinReplayRate), kit.MaxOffer)
	between(fl, "time", kit.MinReplayOffer, kit.MaxCase)
	f.addSource(cmd)
	f.add(a, cmd, "1,000 events/s for 4 s", &s.Break, kit.ReplayBreaks(), nil)
	return cmd
}

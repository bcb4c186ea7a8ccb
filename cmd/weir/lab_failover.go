package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab/failover"
)

const failoverLong = `Kills the leader of a partition while a producer writes to it. Shows which records are
lost, and how long the producer and the consumer are paused. Numbered records are
written and read meanwhile, once for each acknowledgement setting:

  acks=0           the producer does not wait
  acks=1           the leader alone acknowledges
  acks=all, min 2  two of three replicas must have it (min.insync.replicas=2)
  acks=all, min 3  all three must have it: no writes while one broker is missing

Afterwards the lab looks up every record that was reported as written. With --engine
apache the brokers are real processes. The followers are paused for a moment before
the leader is killed with SIGKILL, so you can see what acks=1 loses. The embedded
engine keeps one copy of the data, and the lab says what it can only simulate.
The page docs/labs/failover.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabFailover(a *app) *cobra.Command {
	s := failover.Default()
	var (
		f     labFlags
		cases []string
	)
	def := failover.Short()
	f.presets = map[string]map[string]func(){shortForm: {
		"rate":   func() { s.Rate = def.Rate },
		"before": func() { s.Before = def.Before },
		"after":  func() { s.After = def.After },
	}}
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "A broker is killed: what acks=0, 1 and all lose, and the pause",
		Long:  failoverLong,
		Example: `  weir lab failover --short
  weir lab failover --engine apache
  weir lab failover --short --cases all --break trim    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			s.Cases = nil
			for _, name := range cases {
				c, ok := failoverCases[strings.TrimSpace(name)]
				if !ok {
					return cli.UsageError("see weir lab failover --help", "unknown case %q: choose some of %s", name, strings.Join(failoverNames, ", "))
				}
				s.Cases = append(s.Cases, c)
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&cases, "cases", failoverNames, "`LIST` of acknowledgement settings, in this order: all is min 2, every is min 3")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`RECORDS` per second that are written")
	fl.DurationVar(&s.Before, "before", s.Before, "`TIME` for which records are written before the leader is killed")
	fl.DurationVar(&s.After, "after", s.After, "`TIME` for which records are written once they are acknowledged again")
	fl.DurationVar(&s.Hold, "hold", s.Hold, "`TIME` for which followers are paused before the leader is killed, 1s to 4s (apache only)")
	f.add(a, cmd, "200 records/s, and a second before and after: about ten seconds on the embedded engine", &s.Break, failover.Breaks(),
		map[string][]string{"cases": failoverNames})
	return cmd
}

// failoverNames are the values of --cases. They have no blanks and no commas.
var (
	failoverNames = []string{"0", "1", "all", "every"}
	failoverCases = map[string]failover.Case{"0": failover.AcksNone, "1": failover.AcksLeader, "all": failover.AcksAll, "every": failover.AcksEvery}
)

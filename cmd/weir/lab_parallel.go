package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/parallel"
)

const parallelLong = `Compares ways to process slow records, 10 ms each, with more than one worker. The lab
fills a topic of six partitions with simulated Bluesky posts of a few accounts. Then a
new group processes the whole topic, once for each way:

  threads   one consumer passes records to its threads: by key, which keeps the records
            of an account in order, and then to any free thread
  members   a consumer group of several members; with six partitions the seventh is idle
  share     a share group (KIP-932): more members than partitions. Records are
            acknowledged one by one, and released records are delivered again. A poison
            record is archived after its delivery limit. Order is lost.

The lab measures speed-up over one worker and order for each way. It looks up every
record: it must be processed exactly once, or acknowledged exactly once by the share
group.
The page docs/labs/parallel.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabParallel(a *app) *cobra.Command {
	s := parallel.Default()
	var (
		f     labFlags
		ways  []string
		names []string
	)
	def := parallel.Short()
	f.presets = map[string]map[string]func(){shortForm: {
		"events":  func() { s.Events = def.Events },
		"members": func() { s.Members = def.Members },
	}}
	for _, w := range parallel.Ways() {
		names = append(names, string(w))
	}
	cmd := &cobra.Command{
		Use:   "parallel",
		Short: "Slow work with threads, members and a share group: speed, order, poison",
		Long:  parallelLong,
		Example: `  weir lab parallel --short
  weir lab parallel --engine apache --ways share --sharers 24
  weir lab parallel --short --break scatter    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			s.Ways = nil
			for _, name := range ways {
				s.Ways = append(s.Ways, parallel.Way(strings.TrimSpace(name)))
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&ways, "ways", names, "`LIST` of ways to try: "+strings.Join(names, ", "))
	fl.Int64Var(&s.Events, "events", s.Events, "`EVENTS` that upstream offers")
	fl.DurationVar(&s.Work, "work", s.Work, "`TIME` that a worker is busy with one record")
	fl.IntVar(&s.Workers, "workers", s.Workers, "`NUMBER` of threads of the one consumer, 2 to 64")
	fl.IntSliceVar(&s.Members, "members", s.Members, "`LIST` of sizes of the consumer group, 2 to 24 each")
	fl.IntVar(&s.Sharers, "sharers", s.Sharers, "`NUMBER` of members of the share group, 7 to 24")
	fl.IntVar(&s.Keys, "keys", s.Keys, fmt.Sprintf("`NUMBER` of accounts that write the posts, %d to %d: with fewer accounts the load is less even", parallel.MinKeys, parallel.MaxKeys))
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that seeds the generated events")
	between(fl, "workers", parallel.MinThreads, kit.MaxWorkers)
	between(fl, "work", kit.MinWork, kit.MaxWork)
	between(fl, "sharers", parallel.MinSharers, parallel.MaxMembers)
	between(fl, "keys", parallel.MinKeys, parallel.MaxKeys)
	f.add(a, cmd, "600 events, groups of 3 and 7 members: half a minute", &s.Break, parallel.Breaks(), map[string][]string{"ways": names})
	return cmd
}

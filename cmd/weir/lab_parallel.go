package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/parallel"
)

const parallelLong = `Work that takes 10 ms a record, done by more than one worker. One topic of six
partitions is filled with simulated Bluesky posts of a few accounts, and then worked
through again and again, each time by a new group:

  threads   one consumer hands records to threads of its own: by key, so that the
            records of an account stay in order, and to whoever is free
  members   a consumer group of several members; the seventh of six partitions is idle
  share     a share group (KIP-932): more members than partitions, records acknowledged
            one by one, some released and delivered again, a poison record given up
            after its limit, order lost

Speed-up over one worker and order are measured for each, and every record is looked
up: worked exactly once, or acknowledged exactly once by the share group.
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
		Short: "Slow work by threads, members and a share group: speed, order, poison",
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
	fl.IntVar(&s.Keys, "keys", s.Keys, fmt.Sprintf("`NUMBER` of accounts that the posts come from, %d to %d: the fewer, the more uneven", parallel.MinKeys, parallel.MaxKeys))
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	between(fl, "workers", parallel.MinThreads, kit.MaxWorkers)
	between(fl, "work", kit.MinWork, kit.MaxWork)
	between(fl, "sharers", parallel.MinSharers, parallel.MaxMembers)
	between(fl, "keys", parallel.MinKeys, parallel.MaxKeys)
	f.add(a, cmd, "600 events, groups of 3 and 7 members: half a minute", &s.Break, parallel.Breaks(), map[string][]string{"ways": names})
	return cmd
}

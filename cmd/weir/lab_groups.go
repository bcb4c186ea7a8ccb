package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/groups"
)

const labGroupsLong = `Shows how consumer groups stay independent, and what a rebalance costs their members.

The lab writes simulated Bluesky events, or ten seconds of the live stream (--source
live), at --rate to a topic of six partitions. Two groups of weir's counters read it. One
is paused, falls behind, resumes and catches up; the other one must keep its pace. Then
one group for each protocol reads the same records, while members join, leave and are
killed:

  eager        at every rebalance each member revokes all of its partitions
  cooperative  in two steps, only the partitions that move are revoked (KIP-429)
  kip-848      the broker sends each member its own assignment (KIP-848)

The lab kills a member by cutting its connections, and checks that the member sent no
LeaveGroup. It notes every record that a member reads and compares it with the log.
The page docs/labs/groups.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabGroups(a *app) *cobra.Command {
	s := groups.Default()
	var (
		f         labFlags
		protocols []string
	)
	def := groups.Short()
	f.presets = map[string]map[string]func(){shortForm: {
		"rate":  func() { s.Rate = def.Rate },
		"pause": func() { s.Hold = def.Hold },
	}}
	var names []string
	for _, p := range groups.Protocols() {
		names = append(names, string(p))
	}
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "Independent groups; members join, leave and are killed under three protocols",
		Long:  labGroupsLong,
		Example: `  weir lab groups --short
  weir lab groups --engine apache
  weir lab groups --short --protocols cooperative --break eager    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			var err error
			if s.Live, err = f.upstream(cmd.Context(), a, cmd, "seed"); err != nil {
				return err
			}
			s.Protocols = nil
			for _, p := range protocols {
				s.Protocols = append(s.Protocols, groups.Protocol(strings.TrimSpace(p)))
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&protocols, "protocols", names, "`LIST` of protocols whose groups read side by side")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second that are written")
	fl.DurationVar(&s.Hold, "pause", s.Hold, "`TIME` for which one group is paused")
	fl.DurationVar(&s.Play, "play", s.Play, "`TIME` for which the groups go on afterwards; on the lab's page you can pause them, and add, remove and kill members")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that seeds the generated events")
	between(fl, "rate", float64(groups.MinRate), groups.MaxRate)
	between(fl, "pause", groups.MinHold, groups.MaxHold)
	between(fl, "play", 0, groups.MaxPlay)
	f.addSource(cmd)
	f.add(a, cmd, "600 events/s and a pause of 2 s: half a minute on the embedded engine", &s.Break, groups.Breaks(),
		map[string][]string{"protocols": names})
	return cmd
}

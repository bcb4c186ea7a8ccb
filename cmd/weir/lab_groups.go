package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/groups"
)

const labGroupsLong = `Consumer groups: how they do not feel each other, and what their members feel.

Simulated Bluesky events, or those of ten seconds of the live stream (--source live), are
written at --rate to a topic of six partitions. Two groups of
weir's counters read it; one is paused, falls behind, goes on and catches up, and the
other one must not notice. Then one group for each protocol reads the same records at
the same time, while members come, leave and die:

  eager        at every change everybody gives up everything
  cooperative  in two steps, only what has to move (KIP-429)
  kip-848      the broker tells each member by itself (KIP-848)

A member that dies has its connections cut: no request to leave is sent, which is
looked at. Every record that a member is given is noted and compared with the log.
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
		Short: "Independent groups; members come, go and die under three protocols",
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
	fl.DurationVar(&s.Play, "play", s.Play, "`TIME` for which the groups go on afterwards; on the lab's page you pause them, and add, remove and kill members")
	fl.Int64Var(&s.Seed, "seed", s.Seed, "`NUMBER` that the events are made from")
	between(fl, "rate", float64(groups.MinRate), groups.MaxRate)
	between(fl, "pause", groups.MinHold, groups.MaxHold)
	between(fl, "play", 0, groups.MaxPlay)
	f.addSource(cmd)
	f.add(a, cmd, "600 events/s and a pause of 2 s: half a minute on the embedded engine", &s.Break, groups.Breaks(),
		map[string][]string{"protocols": names})
	return cmd
}

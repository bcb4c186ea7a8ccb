package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/lab/persistence"
)

const persistenceLong = `Shows that committed records survive a crash. weir up runs in its own process, with
brokers, Redis, producers and consumers. The lab kills it with SIGKILL while events
come in and starts it again on the same directory. Every record must be at the same
offset with the same bytes. No group's committed offset may have gone back. The counts
must match the log, and weir verify must find nothing lost or duplicated.

Then the lab fills a topic with a small retention.bytes four times over. Only retention
removes records, in whole segments, the oldest first. A consumer that asks for a removed
offset gets OFFSET_OUT_OF_RANGE.
The page docs/labs/persistence.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

func newLabPersistence(a *app) *cobra.Command {
	s := persistence.Default()
	var f labFlags
	def := persistence.Short()
	f.presets = map[string]map[string]func(){shortForm: {
		"kills":   func() { s.Kills = def.Kills },
		"between": func() { s.Between = def.Between },
	}}
	cmd := &cobra.Command{
		Use:   "persistence",
		Short: "Everything is killed, and no committed record is lost; retention at work",
		Long:  persistenceLong,
		Example: `  weir lab persistence --short
  weir lab persistence --kills 20 --rate 2000
  weir lab persistence --short --engine apache   # three real brokers are killed with it
  weir lab persistence --short --break forget    # the lab must notice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.applyShort(cmd)
			var err error
			if s.Live, err = f.upstream(cmd.Context(), a, cmd, "rate"); err != nil {
				return err
			}
			s.WikipediaURL = f.source.WikipediaURL
			if err := ownProgram(&s); err != nil {
				return err
			}
			return a.performLabOn(cmd.Context(), &s, f.engine)
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&s.Kills, "kills", s.Kills, "`NUMBER` of times that everything is killed, 1 to 20")
	fl.DurationVar(&s.Between, "between", s.Between, "`TIME` for which events are counted before each kill")
	fl.Float64Var(&s.Rate, "rate", s.Rate, "`EVENTS` per second of the simulated Bluesky")
	between(fl, "kills", 1, persistence.MaxKills)
	between(fl, "between", persistence.MinBetween, persistence.MaxBetween)
	between(fl, "rate", float64(persistence.MinRate), persistence.MaxRate)
	f.addSource(cmd)
	f.source.wikipediaFlag(fl)
	f.add(a, cmd, "two kills, a second apart: about twenty seconds", &s.Break, persistence.Breaks(), nil)
	return cmd
}

// ownProgram makes the program that is killed this one.
func ownProgram(s *persistence.Lab) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start: %w", err)
	}
	s.Program = []string{self}
	return nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/wikipedia"
)

const countsLong = `Prints how many events of each type were counted. The numbers come from Redis,
where a counter writes them together with its position in the topic, so they are
right whichever processes run or died.

The JSON is of one consumer group: {"bluesky":{"create":12,...},"wikipedia":{...}}.`

func newCounts(a *app) *cobra.Command {
	var group string
	var watch bool
	cmd := &cobra.Command{
		Use:   "counts",
		Short: "What was counted, by type",
		Long:  countsLong,
		Example: `  weir counts
  weir counts --watch
  weir counts -o json | jq .bluesky.create`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			t, err := a.find()
			if err != nil {
				return err
			}
			store, err := t.OpenStore(ctx)
			if err != nil {
				return err
			}
			defer store.Close()
			if t.Mode == node.Simulated {
				a.stderr.Linef("simulated events")
			}
			if watch {
				return a.watchCounts(ctx, store, group)
			}
			return a.printCounts(ctx, store, group)
		},
	}
	a.clusterFlags(cmd, useRedis)
	cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` (default: each source's counter; the table shows all groups)")
	cmd.Flags().BoolVar(&watch, "watch", false, "print again every second until Ctrl-C")
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroups)
	return cmd
}

func sourceArgs(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgs = []string{bluesky.Name, wikipedia.Name}
	return cmd
}

// countsBySource is the JSON of `weir counts`: by source and kind.
func countsBySource(all []tally.Tally, group string) map[string]map[string]int64 {
	out := make(map[string]map[string]int64)
	for _, s := range node.Sources {
		kinds := make(map[string]int64)
		g := group
		if g == "" {
			g = s.Group
		}
		for _, t := range all {
			if t.Topic == s.Topic && t.Group == g {
				for k, n := range t.Counts {
					kinds[k] += n
				}
			}
		}
		out[s.Name] = kinds
	}
	return out
}

type countRow struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
}

// countRows sums the partitions: by topic, group and kind, the most frequent
// kinds first.
func countRows(all []tally.Tally, group string) []countRow {
	sums := make(map[[2]string]map[string]int64)
	for _, t := range all {
		if group != "" && t.Group != group {
			continue
		}
		key := [2]string{t.Topic, t.Group}
		if sums[key] == nil {
			sums[key] = make(map[string]int64)
		}
		for k, n := range t.Counts {
			sums[key][k] += n
		}
	}
	var rows []countRow
	for _, key := range slices.SortedFunc(maps.Keys(sums), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		kinds := sums[key]
		for _, k := range slices.SortedFunc(maps.Keys(kinds), func(x, y string) int {
			if kinds[x] != kinds[y] {
				return int(min(1, max(-1, kinds[y]-kinds[x])))
			}
			return strings.Compare(x, y)
		}) {
			rows = append(rows, countRow{key[0], key[1], k, kinds[k]})
		}
	}
	return rows
}

func countTable(rows []countRow) *cli.Table {
	t := cli.NewTable("TOPIC", "GROUP", "TYPE", ">EVENTS")
	var sum int64
	for i, r := range rows {
		t.Add(r.Topic, r.Group, r.Kind, r.Count)
		sum += r.Count
		if i+1 == len(rows) || rows[i+1].Topic != r.Topic || rows[i+1].Group != r.Group {
			t.Add(r.Topic, r.Group, "all", sum)
			sum = 0
		}
	}
	return t
}

func (a *app) printCounts(ctx context.Context, store *tally.Store, group string) error {
	all, err := store.All(ctx)
	if err != nil {
		return err
	}
	return a.showCounts(all, group)
}

func (a *app) showCounts(all []tally.Tally, group string) error {
	rows := countRows(all, group)
	if len(rows) == 0 && a.output == cli.FormatTable {
		a.stderr.Linef("nothing is counted yet; weir up, or weir consume SOURCE, counts")
		return nil
	}
	lines := make([]any, len(rows))
	for i, r := range rows {
		lines[i] = r
	}
	return a.write(countsBySource(all, group), lines, func() *cli.Table { return countTable(rows) })
}

// watchCounts prints the counts every second, in place on a terminal. While Redis
// does not answer it waits: weir may be restarting.
func (a *app) watchCounts(ctx context.Context, store *tally.Store, group string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	place := cli.NewScreen(a.stdout, true, a.env["TERM"])
	defer place.Keep()
	inPlace := a.output == cli.FormatTable && place.Live()
	for lost := false; ; {
		all, err := store.All(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !lost:
			a.stderr.Linef("waiting for Redis, which does not answer: %s", cli.OneLine(cli.Brief(err).Error()))
		case err == nil && lost:
			a.stderr.Linef("Redis answers again")
		}
		lost = err != nil
		if !lost {
			if inPlace {
				err = drawCounts(place, all, group)
			} else {
				err = a.showCounts(all, group)
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.output == cli.FormatTable && !inPlace && !lost {
			fmt.Fprintln(a.stdout)
		}
	}
}

// drawCounts draws the counts in place.
func drawCounts(s *cli.Screen, all []tally.Tally, group string) error {
	var b bytes.Buffer
	if err := countTable(countRows(all, group)).Write(&b); err != nil {
		return err
	}
	s.Status(strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
	return nil
}

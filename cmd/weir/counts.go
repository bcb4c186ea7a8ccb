package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/tally"
)

func newCounts(a *app) *cobra.Command {
	var group string
	var watch bool
	return a.command("counts", useCounts|useOutput, func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` (default: each source's counter; the table shows all groups)")
		cmd.Flags().BoolVar(&watch, "watch", false, "print again every second until Ctrl-C")
	}, a.onTarget(func(ctx context.Context, t *node.Target, _ []string) error {
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
		all, err := store.All(ctx)
		if err != nil {
			return err
		}
		return a.showCounts(all, group)
	}))
}

// countsBySource is the JSON of `weir counts`: by source and event type.
func countsBySource(all []tally.Tally, group string) map[string]map[string]int64 {
	out := make(map[string]map[string]int64)
	for _, s := range node.Sources {
		out[s.Name] = make(map[string]int64)
		for _, t := range all {
			if t.Topic == s.Topic && t.Group == cmp.Or(group, s.Group) {
				for k, n := range t.Counts {
					out[s.Name][k] += n
				}
			}
		}
	}
	return out
}

type countRow struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
}

// countRows sums the partitions: by topic, group and event type, the most frequent
// types first.
func countRows(all []tally.Tally, group string) []countRow {
	sums := make(map[countRow]int64)
	for _, t := range all {
		for k, n := range t.Counts {
			if group == "" || t.Group == group {
				sums[countRow{Topic: t.Topic, Group: t.Group, Kind: k}] += n
			}
		}
	}
	var rows []countRow
	for r, n := range sums {
		r.Count = n
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(x, y countRow) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), strings.Compare(x.Group, y.Group),
			cmp.Compare(y.Count, x.Count), strings.Compare(x.Kind, y.Kind))
	})
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

func (a *app) showCounts(all []tally.Tally, group string) error {
	rows := countRows(all, group)
	switch {
	case a.output != cli.FormatTable:
		return writeRows(a, countsBySource(all, group), rows, nil)
	case len(rows) == 0:
		a.stderr.Linef("nothing is counted yet; start weir up or weir consume SOURCE")
		return nil
	}
	return countTable(rows).Write(a.stdout)
}

// watchCounts prints the counts every second, in place on a terminal. While Redis
// does not answer it waits: weir may be restarting.
func (a *app) watchCounts(ctx context.Context, store *tally.Store, group string) (err error) {
	place := cli.NewScreen(a.stdout, true, a.env["TERM"])
	defer place.Keep()
	inPlace := a.output == cli.FormatTable && place.Live()
	lost, printed := false, false
	node.Every(ctx, time.Second, func(time.Time) bool {
		all, fails := store.All(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case fails != nil && !lost:
			a.stderr.Linef("waiting for Redis, which does not answer: %s", cli.OneLine(cli.Brief(fails).Error()))
		case fails == nil && lost:
			a.stderr.Linef("Redis answers again")
		}
		if lost = fails != nil; lost {
			return true
		}
		if inPlace {
			var b bytes.Buffer
			err = countTable(countRows(all, group)).Write(&b)
			place.Status(strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
			return err == nil
		}
		if printed && a.output == cli.FormatTable {
			fmt.Fprintln(a.stdout)
		}
		err, printed = a.showCounts(all, group), true
		return err == nil
	})
	return err
}

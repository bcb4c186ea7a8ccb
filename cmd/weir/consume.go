package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/visible"
)

const consumeLong = `Counts the events of one stream by type, each exactly once, as a member of a
consumer group. Start it several times to share the partitions among processes;
give --group to count everything once more under another name.

Ctrl-C prints the counts.`

func newConsume(a *app) *cobra.Command {
	var group string
	cmd := sourceArgs(&cobra.Command{
		Use:   "consume bluesky|wikipedia",
		Short: "Only the counter of one stream, from a running cluster",
		Long:  consumeLong,
		Example: `  weir consume bluesky
  weir consume bluesky                    # again, in another terminal: they share
  weir consume wikipedia --group mine     # counts from the beginning, as mine`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := sourceNamed(args[0])
			if err != nil {
				return err
			}
			g := group
			if g == "" {
				g = s.group
			}
			return a.runConsume(cmd.Context(), s, g)
		},
	})
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` (default: the source's counter, such as weir-bluesky-counter)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroups)
	a.logFlag(cmd)
	return cmd
}

func (a *app) runConsume(ctx context.Context, s source, group string) (err error) {
	t, err := a.find()
	if err != nil {
		return err
	}
	cl, err := a.openKafka(ctx, t)
	if err != nil {
		return err
	}
	err = a.prepareTopics(ctx, cl, t, s.countPurpose(group))
	cl.Close()
	if err != nil {
		return err
	}
	store, err := a.openStore(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	a.warnings(store)
	p := &pipeline{app: a, target: t, store: store}
	if err := p.consume(s, group); err != nil {
		return err
	}
	a.sayWhy(t.mode, "")
	a.stderr.Linef("%s as group %s; Ctrl-C stops and prints the counts", s.topic, visible.Text(group))
	watching := startGroup(ctx, &part{name: "assignment", run: p.sayAssignment})
	defer watching.stop()
	err = p.run(ctx, watching)
	return errors.Join(err, p.printCounted(context.WithoutCancel(ctx)))
}

// sayAssignment prints which partitions this process's members have, whenever that
// changed, until ctx ends.
func (p *pipeline) sayAssignment(ctx context.Context) error {
	tick := time.NewTicker(assignmentEvery)
	defer tick.Stop()
	said := make(map[string]string)
	for {
		for _, l := range p.lines {
			for _, m := range l.membersOf(l.group) {
				var have []int32
				for _, ps := range m.counter.Stats().Partitions {
					have = append(have, ps.Partition)
				}
				slices.Sort(have)
				now := "no partitions: the other members of the group have them all, or it is rebalancing"
				if len(have) > 0 {
					now = "partitions " + cli.IDs(have)
				}
				if before, ok := said[m.topic]; before != now && (ok || len(have) > 0) {
					p.app.stderr.Linef("%s assigned of %s: %s", time.Now().Format(time.TimeOnly), m.topic, now)
					said[m.topic] = now
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// assignmentEvery is how often a consumer looks which partitions it has.
const assignmentEvery = 500 * time.Millisecond

// printCounted prints the counts of the pipeline's streams, over all runs.
func (p *pipeline) printCounted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	all, err := p.store.All(ctx)
	if err != nil {
		return fmt.Errorf("final counts: %w", err)
	}
	var rows []countRow
	for _, r := range countRows(all, "") {
		for _, l := range p.lines {
			if (r.Topic == l.source.topic || r.Topic == l.source.account) && r.Group == l.source.groupOf(r.Topic, l.group) {
				rows = append(rows, r)
			}
		}
	}
	return countTable(rows).Write(p.app.stdout)
}

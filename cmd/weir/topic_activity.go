package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/watch"
)

func newTopicActivity(a *app) *cobra.Command {
	return a.command("topics activity", useCluster|useOutput, nil, func(ctx context.Context, args []string) error {
		return show(ctx, a, func(i *inspect.Inspector, ctx context.Context) (inspect.Activity, error) {
			return i.Activity(ctx, args[0], time.Now())
		}, a.printActivity)
	})
}

func (a *app) printActivity(t inspect.Activity) error {
	a.notes("", t.Warnings)
	now := time.Now()
	most := int64(1)
	for _, h := range t.Hours {
		most = max(most, h.Offsets)
	}
	hours := cli.TableOf(t.Hours, func(h inspect.Hour) []any {
		return []any{h.From.Local().Format("2006-01-02 15:04"), h.Offsets, strings.Repeat("▇", int((h.Offsets*40+most-1)/most))}
	}, "HOUR FROM", ">OFFSETS", "")
	logs := cli.TableOf(t.Parts, func(p inspect.PartitionLog) []any {
		return []any{p.ID, cli.SizeOrUnknown(p.Bytes), agoOrNone(p.Oldest, now)}
	}, ">PARTITION", ">SIZE", "OLDEST MESSAGE")
	producers := cli.TableOf(t.Producers, func(p inspect.ActiveProducer) []any {
		open := "none"
		if p.Open != inspect.Unknown {
			open = fmt.Sprintf("since offset %d", p.Open)
		}
		return []any{p.Partition, p.ID, p.Epoch, p.Sequence, agoOrNone(p.Last, now), open}
	}, ">PARTITION", ">PRODUCER ID", ">EPOCH", ">LAST SEQUENCE", "LAST RECORD", "OPEN TRANSACTION")
	open := cli.TableOf(t.Transactions, func(x inspect.Transaction) []any {
		return []any{x.TransactionalID, x.State, agoOrNone(x.Started, now), cli.IDs(x.Partitions), time.Duration(x.TimeoutMS) * time.Millisecond}
	}, "TRANSACTIONAL ID", "STATE", "STARTED", "PARTITIONS", ">ABORTED AFTER")
	return a.writeOne(t, func() string {
		text := fmt.Sprintf("%s: %s known, %s", visible.Text(t.Topic), watch.Plural(len(t.Producers), "producer"), watch.Plural(len(t.Transactions), "open transaction"))
		if t.Earlier > 0 {
			text += fmt.Sprintf("; %s offsets are older than the hours below", cli.Thousands(t.Earlier))
		}
		return text
	}, hours, logs, producers, open)
}

func agoOrNone(t, now time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return cli.AgoText(t, now)
}

// limitText says what keeps a log from reaching further back.
func limitText(l inspect.Limit) string {
	switch l.By {
	case inspect.ByNothing:
		return "nothing deleted yet"
	case inspect.ByTime:
		return "limited by retention.ms, " + cli.DurationText(time.Duration(l.Value)*time.Millisecond)
	case inspect.ByBytes:
		return "limited by retention.bytes, " + cli.SizeText(l.Value) + " a partition"
	case inspect.ByPolicy:
		return "limited by cleanup.policy, compact"
	case inspect.ByLogSize:
		return "limited by --log-size, " + cli.SizeText(l.Value)
	case inspect.BySomebody:
		return "older records were deleted"
	}
	return "limits unknown"
}

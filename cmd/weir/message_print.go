package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// messagePrinter reads messages and prints them.
type messagePrinter struct {
	a      *app
	topics []string
	out    *bufio.Writer
	w      *messageWriter
}

// read prints the messages of a query, those of several topics merged by time. With a filter it
// says how many were looked at, because an empty answer alone does not distinguish a wrong filter from a
// short topic.
func (p *messagePrinter) read(ctx context.Context, i *inspect.Inspector, q inspect.Query) error {
	if len(p.topics) > inspect.MaxTopics {
		return cli.UsageError("read them in turns", "%d topics, and at most %d can be read at once", len(p.topics), inspect.MaxTopics)
	}
	// Readers compare offsets within one partition. JSON has what the API answers. A program
	// that reads lines gets messages only.
	table := p.w.format == cli.FormatTable && p.w.screen.Live() && len(q.Partitions) == 1
	q.Gaps = len(p.topics) == 1 && (table || p.w.format == cli.FormatJSON)
	a, prog := p.a, cli.NewProgress(p.a.stderr)
	q.OnProgress = func(done inspect.Progress) {
		_ = p.out.Flush() // the next write meets the same error
		if q.Filter != nil && !q.Follow {
			prog.Show(scannedText(done))
		}
	}
	all, err := i.ReadTopics(ctx, p.topics, q, func(m inspect.Message) error {
		if err := p.w.write(m); err != nil {
			return err
		}
		if q.Follow && p.out.Buffered() > 0 {
			return p.out.Flush()
		}
		return nil
	})
	prog.Done()
	if err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	var sum inspect.Progress
	for _, done := range all {
		sum.Scanned, sum.Matched, sum.Trimmed = sum.Scanned+done.Scanned, sum.Matched+done.Matched, sum.Trimmed+done.Trimmed
		sum.Incomplete = sum.Incomplete || done.Incomplete
	}
	if q.Filter != nil {
		a.stderr.Linef("%s", scannedText(sum))
	} else if sum.Matched == 0 && !q.Follow {
		for _, topic := range sortedKeys(all) {
			a.stderr.Linef("%s", nothingThere(topic, all[topic], !q.Until.IsZero()))
		}
	}
	if sum.Trimmed > 0 {
		a.stderr.Linef("%s offsets were deleted by retention while reading", cli.Thousands(sum.Trimmed))
	}
	if sum.Incomplete {
		a.stderr.Linef("some of the newest messages were left out: they are too large to hold all of them")
	}
	return nil
}

// end ends the document and writes what is left.
func (p *messagePrinter) end() error {
	if err := errors.Join(p.w.end(), p.out.Flush()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func scannedText(p inspect.Progress) string {
	return fmt.Sprintf("scanned %s, matched %s", cli.Thousands(p.Scanned), cli.Thousands(p.Matched))
}

// nothingThere explains an empty result: where each partition that was read ends.
func nothingThere(topic string, p inspect.Progress, until bool) string {
	var ends []string
	for _, id := range slices.Sorted(maps.Keys(p.End)) {
		ends = append(ends, fmt.Sprintf("%d at offset %s", id, cli.Thousands(p.End[id])))
	}
	if until {
		return fmt.Sprintf("no messages in %s in that range; it ends in partition %s", visible.Text(topic), strings.Join(ends, ", "))
	}
	return fmt.Sprintf("no messages in %s from there on; the partitions end: %s", visible.Text(topic), strings.Join(ends, ", "))
}

// checkGroup rejects what a member of a group cannot choose.
func (f *messageFlags) checkGroup() error {
	switch {
	case f.group == kafka.GroupBluesky || f.group == kafka.GroupWikipedia:
		return cli.UsageError("choose another group; weir consume adds a member to this one",
			"group %s counts for weir: a member that only prints would take its partitions, and they would not be counted", f.group)
	case len(f.partitions) > 0:
		return cli.UsageError("leave out one of them", "--group lets Kafka assign the partitions, and --partition chooses them")
	case f.since != "" || f.until != "" || f.offset != "" && f.offset != "oldest" && f.offset != "end":
		return cli.UsageError("move it with: weir groups reset "+visible.ShellWord(f.group)+" --to …",
			"a group begins at its committed offsets and reads to the end; only for a new group, --offset can be oldest or end")
	case f.offset == "end" && !f.follow:
		return cli.UsageError("add --follow", "a new group that begins at the end has nothing to read")
	}
	return nil
}

// membership is what to read as a member of --group.
func (f *messageFlags) membership(t *node.Target, topics []string, q inspect.Query) inspect.Membership {
	return inspect.Membership{
		Group: f.group, Topics: topics, FromEnd: f.offset == "end", Follow: f.follow, Uncommitted: f.uncommitted,
		Filter: q.Filter, MaxMessages: q.MaxMessages, Open: t.OpenKafka,
	}
}

// asMember prints what a member of a group reads. What was printed is committed.
func (p *messagePrinter) asMember(ctx context.Context, i *inspect.Inspector, m inspect.Membership) error {
	m.Flush = func() error {
		if err := p.out.Flush(); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	}
	done, err := i.ReadAsMember(ctx, m, p.w.write)
	if err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	group := visible.Text(m.Group)
	switch {
	case done.Waited && done.Assigned == 0:
		p.a.stderr.Linef("group %s gave this member no partition: it has enough members, see weir groups describe %s",
			group, visible.ShellWord(m.Group))
	case done.Waited:
		p.a.stderr.Linef("no message came for 10 s, although the partitions go on: see weir brokers")
	}
	p.a.stderr.Linef("printed %s of %s messages as a member of group %s; their offsets are committed",
		cli.Thousands(done.Matched), cli.Thousands(done.Scanned), group)
	return nil
}

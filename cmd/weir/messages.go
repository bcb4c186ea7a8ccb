package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

type messageFlags struct {
	newest     int64
	offset     string
	since      string
	partitions []int32
	filters    []string
	follow     bool
	// uncommitted includes open and aborted transactions.
	uncommitted bool
}

func newMessages(a *app) *cobra.Command {
	var f messageFlags
	return a.command("messages", useCluster, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.Int64VarP(&f.newest, "newest", "n", 10, "`N` messages: the newest, or the first from --offset or --since on (then all, unless given)")
		flags.StringVar(&f.offset, "offset", "", "`OFFSET` to begin at in each partition; negative: from its end; or oldest, end")
		flags.StringVar(&f.since, "since", "", "`TIME` to begin at: 10m or 2h (ago), 15:04, 2006-01-02T15:04:05Z")
		flags.Int32SliceVar(&f.partitions, "partition", nil, "only these partitions, as `LIST`")
		flags.StringArrayVar(&f.filters, "filter", nil, "only messages that match `EXPR`; can be given several times")
		flags.BoolVarP(&f.follow, "follow", "f", false, "go on with new messages until Ctrl-C")
		flags.BoolVar(&f.uncommitted, "uncommitted", false, "also messages of transactions that are open or were aborted")
		a.outputFlag(cmd, cli.FormatTable, cli.FormatJSONL, cli.FormatJSON, cli.FormatRaw)
	}, func(ctx context.Context, args []string) error {
		q, err := f.query(args[0], a.given["newest"] != "", time.Now())
		if err != nil {
			return err
		}
		if a.output == cli.FormatJSON && f.follow {
			return cli.UsageError("use -o jsonl", "-o json is one document, which --follow never ends")
		}
		return a.inspecting(ctx, func(i *inspect.Inspector) error { return a.printMessages(ctx, i, q) })
	})
}

// query turns the flags into what to read.
func (f *messageFlags) query(topic string, counted bool, now time.Time) (q inspect.Query, err error) {
	q = inspect.Query{Topic: topic, Partitions: f.partitions, Follow: f.follow, Uncommitted: f.uncommitted}
	if i := slices.IndexFunc(f.partitions, func(p int32) bool { return p < 0 }); i >= 0 {
		return q, cli.UsageError("weir topics TOPIC lists them", "partition %d is negative", f.partitions[i])
	}
	if f.newest < 0 {
		return q, cli.UsageError("give a number of messages", "--newest %d is negative", f.newest)
	}
	if f.offset != "" && f.since != "" {
		return q, cli.UsageError("leave out one of them", "--offset and --since both say where to begin")
	}
	if q.Filter, err = inspect.ParseFilter(f.filters); err != nil {
		return q, cli.UsageError("see weir messages --help", "--filter: %w", err)
	}
	switch {
	case f.offset != "":
		if q.From, err = inspect.ParseStart(f.offset); err != nil {
			return q, cli.UsageError("", "--offset %w", err)
		}
	case f.since != "":
		at, err := inspect.ParseTime(f.since, now)
		if err != nil {
			return q, cli.UsageError("", "--since %w", err)
		}
		q.From = inspect.AtTime(at)
	default:
		q.From = inspect.Newest(f.newest)
		return q, nil
	}
	if counted {
		q.MaxMessages = f.newest
	}
	return q, nil
}

// printMessages reads and prints. With a filter it says how many were looked at,
// because an empty answer alone does not tell a wrong filter from a short topic.
func (a *app) printMessages(ctx context.Context, i *inspect.Inspector, q inspect.Query) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	w := &messageWriter{out: out, format: a.output, screen: cli.NewScreen(a.stdout, a.env["NO_COLOR"] != "", a.env["TERM"])}
	prog := cli.NewProgress(a.stderr)
	// Readers compare offsets within one partition. JSON has what the API answers. A program
	// that reads lines gets messages only.
	q.Gaps = w.format == cli.FormatJSON || w.format == cli.FormatTable && w.screen.Live() && len(q.Partitions) == 1
	scanned := func(p inspect.Progress) string {
		return fmt.Sprintf("scanned %s, matched %s", cli.Thousands(p.Scanned), cli.Thousands(p.Matched))
	}
	q.OnProgress = func(p inspect.Progress) {
		_ = out.Flush() // the next write meets the same error
		if q.Filter != nil && !q.Follow {
			prog.Show(scanned(p))
		}
	}
	p, err := i.Read(ctx, q, func(m inspect.Message) error {
		if err := w.write(m); err != nil {
			return err
		}
		if q.Follow && out.Buffered() > 0 {
			return out.Flush()
		}
		return nil
	})
	prog.Done()
	if err != nil {
		return err
	}
	if err := errors.Join(w.end(), out.Flush()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if q.Filter != nil {
		a.stderr.Linef("%s", scanned(p))
	} else if p.Matched == 0 && !q.Follow {
		a.stderr.Linef("%s", nothingThere(q.Topic, p))
	}
	if p.Trimmed > 0 {
		a.stderr.Linef("%s offsets were deleted by retention while reading", cli.Thousands(p.Trimmed))
	}
	if p.Incomplete {
		a.stderr.Linef("some of the newest messages were left out: they are too large to hold all of them")
	}
	return nil
}

// nothingThere explains an empty result: where each partition that was read ends.
func nothingThere(topic string, p inspect.Progress) string {
	var ends []string
	for _, id := range slices.Sorted(maps.Keys(p.End)) {
		ends = append(ends, fmt.Sprintf("%d at offset %s", id, cli.Thousands(p.End[id])))
	}
	return fmt.Sprintf("no messages in %s from there on; the partitions end: %s", visible.Text(topic), strings.Join(ends, ", "))
}

// messageWriter prints messages in one format.
type messageWriter struct {
	out    io.Writer
	format string
	screen *cli.Screen
	n      int
}

func (w *messageWriter) write(m inspect.Message) (err error) {
	w.n++
	switch w.format {
	case cli.FormatRaw:
		_, err = w.out.Write(append(m.Value[:len(m.Value):len(m.Value)], '\n'))
		return err
	case cli.FormatJSON:
		open := ","
		if w.n == 1 {
			open = "["
		}
		if _, err := io.WriteString(w.out, open); err != nil {
			return err
		}
		return writeMessageJSON(w.out, m)
	case cli.FormatJSONL:
		return writeMessageJSON(w.out, m)
	}
	text := messageLine(m, w.screen, w.screen.Columns()) + "\n"
	if m.Gap != nil {
		text = w.screen.Paint(cli.Dim, "("+m.Gap.String()+")") + "\n" + text
	}
	_, err = io.WriteString(w.out, text)
	return err
}

func (w *messageWriter) end() (err error) {
	switch {
	case w.format != cli.FormatJSON:
	case w.n == 0:
		_, err = io.WriteString(w.out, "[]\n")
	default:
		_, err = io.WriteString(w.out, "]\n")
	}
	return err
}

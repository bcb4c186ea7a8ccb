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
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const messagesLong = `Prints the newest messages of a topic, over all partitions, merged by time. --offset
or --since begin elsewhere. --follow continues with new messages.

--filter shows only messages that match. Several filters must all match:
  word               the key, the value or a header contains the text
  /expr/             ... or matches the regular expression (Go's syntax)
  key=VALUE          the key is equal to VALUE
  header:NAME=VALUE  the header is equal to VALUE; without =VALUE, it exists
  .commit.operation=create   the JSON value has this at the path; without =VALUE,
                     the path exists

The table has one line per message: partition:offset, time, headers, key, value.
Characters that could steer a terminal are shown as escapes. On a terminal, with one
partition, it also explains offsets that hold no message. -o raw prints the bytes of
the values, each with a newline. -o jsonl is complete: text that is not UTF-8 is in
key_base64 and value_base64.`

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
	cmd := &cobra.Command{
		Use:   "messages TOPIC",
		Short: "Print the messages of a topic: the newest, from an offset or a time, or new ones",
		Long:  messagesLong,
		Example: `  weir messages bluesky-events
  weir messages bluesky-events --follow --filter .commit.operation=delete
  weir messages wikipedia-edits --since 10m --filter header:kind=new -o jsonl
  weir messages wikipedia-edits --partition 2 --offset 1000 -n 5
  weir messages weir.dead-letters -o raw`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(topicNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			q, err := f.query(args[0], cmd.Flags().Changed("newest"), time.Now())
			if err != nil {
				return err
			}
			if a.output == cli.FormatJSON && f.follow {
				return cli.UsageError("use -o jsonl", "-o json is one document, which --follow never ends")
			}
			return a.withInspector(ctx, func(i *inspect.Inspector, _ *node.Target) error {
				return a.printMessages(ctx, i, q)
			})
		},
	}
	a.clusterFlags(cmd, useKafka)
	flags := cmd.Flags()
	flags.Int64VarP(&f.newest, "newest", "n", 10, "`N` messages: the newest, or the first from --offset or --since on (then all, unless given)")
	flags.StringVar(&f.offset, "offset", "", "`OFFSET` to begin at in each partition; negative: from its end; or oldest, end")
	flags.StringVar(&f.since, "since", "", "`TIME` to begin at: 10m or 2h (ago), 15:04, 2006-01-02T15:04:05Z")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only these partitions, as `LIST`")
	flags.StringArrayVar(&f.filters, "filter", nil, "only messages that match `EXPR`; can be given several times")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with new messages until Ctrl-C")
	flags.BoolVar(&f.uncommitted, "uncommitted", false, "also messages of transactions that are open or were aborted")
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSONL, cli.FormatJSON, cli.FormatRaw)
	return cmd
}

// query turns the flags into what to read.
func (f *messageFlags) query(topic string, counted bool, now time.Time) (inspect.Query, error) {
	q := inspect.Query{Topic: topic, Partitions: f.partitions, Follow: f.follow, Uncommitted: f.uncommitted}
	for _, p := range f.partitions {
		if p < 0 {
			return q, cli.UsageError("weir topics TOPIC lists them", "partition %d is negative", p)
		}
	}
	if f.newest < 0 {
		return q, cli.UsageError("give a number of messages", "--newest %d is negative", f.newest)
	}
	if f.offset != "" && f.since != "" {
		return q, cli.UsageError("leave out one of them", "--offset and --since both say where to begin")
	}
	var err error
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
	flush := func(inspect.Progress) { _ = out.Flush() } // the next write meets the same error
	q.OnProgress = flush
	if q.Filter != nil && !q.Follow {
		q.OnProgress = func(p inspect.Progress) {
			flush(p)
			prog.Show(fmt.Sprintf("scanned %s, matched %s", cli.Thousands(p.Scanned), cli.Thousands(p.Matched)))
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
		return topicError(err)
	}
	if err := errors.Join(w.end(), out.Flush()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if q.Filter != nil {
		a.stderr.Linef("scanned %s, matched %s", cli.Thousands(p.Scanned), cli.Thousands(p.Matched))
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

func (w *messageWriter) write(m inspect.Message) error {
	w.n++
	switch w.format {
	case cli.FormatRaw:
		_, err := w.out.Write(append(m.Value[:len(m.Value):len(m.Value)], '\n'))
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
	if m.Gap != nil {
		if _, err := io.WriteString(w.out, w.screen.Paint(cli.Dim, "("+m.Gap.String()+")")+"\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w.out, messageLine(m, w.screen, w.screen.Columns())+"\n")
	return err
}

func (w *messageWriter) end() error {
	if w.format != cli.FormatJSON {
		return nil
	}
	text := "]\n"
	if w.n == 0 {
		text = "[]\n"
	}
	_, err := io.WriteString(w.out, text)
	return err
}

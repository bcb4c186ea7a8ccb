package main

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

type messageFlags struct {
	newest     int64
	offset     string
	since      string
	until      string
	partitions []int32
	filters    []string
	follow     bool
	// uncommitted includes open and aborted transactions.
	uncommitted bool
	group       string
	format      string
}

func newMessages(a *app) *cobra.Command {
	var f messageFlags
	return a.command("messages", useCluster, func(cmd *cobra.Command) {
		f.flags(cmd)
		a.outputFlag(cmd, cli.FormatTable, cli.FormatText, cli.FormatJSONL, cli.FormatJSON, cli.FormatRaw)
	}, a.onTarget(func(ctx context.Context, t *node.Target, args []string) error {
		topics := slices.Compact(slices.Sorted(slices.Values(args)))
		q, err := f.query(topics[0], a.given["newest"] != "", time.Now())
		if err != nil {
			return err
		}
		p := &messagePrinter{a: a, topics: topics, out: bufio.NewWriterSize(a.stdout, 64<<10)}
		if p.w, err = a.messageWriter(&f, topics, p.out); err != nil {
			return err
		}
		i, cl, err := t.OpenInspector(ctx)
		if err != nil {
			return err
		}
		defer cl.Close()
		if f.group != "" {
			return p.asMember(ctx, i, f.membership(t, topics, q))
		}
		return p.read(ctx, i, q)
	}))
}

func (f *messageFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Int64VarP(&f.newest, "newest", "n", 10, "`N` messages: the newest, or the first from --offset or --since on (then all, unless given)")
	flags.StringVar(&f.offset, "offset", "", "`OFFSET` to begin at in each partition; negative: from its end; or oldest, end")
	flags.StringVar(&f.since, "since", "", "`TIME` to begin at: 10m or 2h (ago), 15:04, 2006-01-02T15:04:05Z")
	flags.StringVar(&f.until, "until", "", "`PLACE` to end before in each partition: an offset, a time, or end")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only these partitions, as `LIST`")
	flags.StringArrayVar(&f.filters, "filter", nil, "only messages that match `EXPR`; can be given several times")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with new messages until Ctrl-C")
	flags.BoolVar(&f.uncommitted, "uncommitted", false, "also messages of transactions that are open or were aborted")
	flags.StringVar(&f.group, "group", "", "read as a member of consumer `GROUP`, and commit its offsets")
	flags.StringVar(&f.format, "format", "", "print each message as `TEXT` with %t %p %o %k %v %h %T, such as '%k: %v\\n'")
	noEnv(flags, "group") // a variable that is left over must not move a group
	for name, values := range map[string][]string{"offset": {"oldest", "end"}, "until": {"end"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, name := range []string{"since", "format", "filter", "partition", "newest"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
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
	if f.follow && f.until != "" {
		return q, cli.UsageError("leave out one of them", "--follow has no end, and --until names one")
	}
	if f.group != "" {
		if err := f.checkGroup(); err != nil {
			return q, err
		}
	}
	if f.until != "" {
		if q.Until, err = inspect.ParseUntil(f.until, now); err != nil {
			return q, cli.UsageError("", "--until %w", err)
		}
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
	case f.group == "":
		q.From = inspect.Newest(f.newest)
		return q, nil
	}
	if counted {
		q.MaxMessages = f.newest
	}
	return q, nil
}

// messageWriter prints messages in one format.
type messageWriter struct {
	out    io.Writer
	format string
	screen *cli.Screen
	layout *messageLayout // of --format; nil without
	names  int            // columns for the names of several topics
	array  cli.Array      // of -o json
}

// messageWriter makes the writer that the flags ask for.
func (a *app) messageWriter(f *messageFlags, topics []string, out io.Writer) (*messageWriter, error) {
	w := &messageWriter{out: out, format: a.output, screen: cli.NewScreen(a.stdout, a.env["NO_COLOR"] != "", a.env["TERM"])}
	if a.output == cli.FormatJSON && f.follow {
		return nil, cli.UsageError("use -o jsonl", "-o json is one document, which --follow never ends")
	}
	if f.format != "" {
		if a.given["output"] == "--output" {
			return nil, cli.UsageError("leave out one of them", "--format and --output both say how to print")
		}
		layout, err := parseLayout(f.format, w.screen.Live())
		if err != nil {
			return nil, cli.UsageError("see weir messages --help", "--format: %w", err)
		}
		w.layout, w.format = layout, ""
	}
	if len(topics) > 1 {
		for _, t := range topics {
			w.names = max(w.names, min(visible.Width(visible.Text(t)), maxTopicColumns))
		}
	}
	return w, nil
}

// maxTopicColumns is how much of a line the name of its topic may take.
const maxTopicColumns = 24

func (w *messageWriter) write(m inspect.Message) (err error) {
	if w.layout != nil {
		_, err = w.out.Write(w.layout.line(m))
		return err
	}
	switch w.format {
	case cli.FormatText:
		_, err = io.WriteString(w.out, w.clip(eventLine(m))+"\n")
		return err
	case cli.FormatRaw:
		_, err = w.out.Write(append(m.Value[:len(m.Value):len(m.Value)], '\n'))
		return err
	case cli.FormatJSON:
		if err := w.array.Begin(w.out); err != nil {
			return err
		}
		return writeMessageJSON(w.out, m)
	case cli.FormatJSONL:
		return writeMessageJSON(w.out, m)
	}
	text := w.line(m) + "\n"
	if m.Gap != nil {
		text = w.screen.Paint(cli.Dim, "("+m.Gap.String()+")") + "\n" + text
	}
	_, err = io.WriteString(w.out, text)
	return err
}

// line is a message's line of the table: with its topic where there are several.
func (w *messageWriter) line(m inspect.Message) string {
	columns := w.screen.Columns()
	if w.names == 0 {
		return messageLine(m, w.screen, columns)
	}
	topic := visible.Clip(visible.Text(m.Topic), w.names)
	topic += strings.Repeat(" ", max(0, w.names-visible.Width(topic))+1)
	if columns > 0 {
		columns = max(columns-w.names-1, 1)
	}
	return w.screen.Paint(cli.Dim, topic) + messageLine(m, w.screen, columns)
}

// clip shortens a line to the terminal's width.
func (w *messageWriter) clip(s string) string {
	if columns := w.screen.Columns(); columns > 0 {
		return visible.Clip(s, columns)
	}
	return s
}

func (w *messageWriter) end() error {
	if w.format != cli.FormatJSON {
		return nil
	}
	return w.array.End(w.out)
}

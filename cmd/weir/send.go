package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/send"
)

type sendFlags struct {
	text           send.Text
	key, separator string
	headers        []string
	file, input    string
	keepPartitions bool
	count          int64
	rate           float64
	opts           send.Options
	transactional  bool
	quiet          bool
	typed          bool // on a terminal
}

const inputText, inputJSONL = "text", "jsonl"

func newSend(a *app) *cobra.Command {
	f := sendFlags{text: send.Text{Partition: -1}}
	return a.command("send", useCluster, func(cmd *cobra.Command) {
		cmd.Args = cobra.MinimumNArgs(1)
		flags := cmd.Flags()
		flags.StringVarP(&f.key, "key", "k", "", "`KEY` of each record (default: none)")
		flags.StringVar(&f.separator, "key-separator", "", "each record is its key, `TEXT` and its value")
		flags.StringArrayVar(&f.headers, "header", nil, "a header, as `NAME=VALUE`; can be given several times")
		flags.Int32Var(&f.text.Partition, "partition", -1, "`N` of the partition; -1: the key chooses it")
		flags.BoolVar(&f.text.Null, "null", false, "write null (a tombstone) where a value is empty; alone: write one")
		flags.StringVarP(&f.file, "file", "f", "", "read records from `FILE`, one a line; - is standard input")
		choiceFlag(cmd, &f.input, "input", "", inputText, "`FORMAT` of the lines: text, or jsonl as weir messages -o jsonl prints it",
			[]string{inputText, inputJSONL})
		flags.BoolVar(&f.keepPartitions, "keep-partitions", false, "with --input jsonl: write to the partition that the line names")
		flags.Int64Var(&f.count, "count", 0, "generate `N` records; RECORD, --key and the values of --header are templates")
		flags.Float64Var(&f.rate, "rate", 0, "at most `N` records per second; 0: as fast as possible")
		choiceFlag(cmd, &f.opts.Acks, "acks", "", "all", "`REPLICAS` that confirm a record: all in sync, 1 (the leader), 0 (none)", send.Acks)
		choiceFlag(cmd, &f.opts.Compression, "compression", "", "snappy", "`CODEC` of the batches: none, gzip, snappy, lz4, zstd",
			send.Compressions)
		flags.BoolVar(&f.transactional, "transactional", false, "write everything in one transaction: all records or none")
		flags.BoolVarP(&f.quiet, "quiet", "q", false, "do not print where the records were written")
		for _, name := range strings.Fields("key key-separator header partition null file input keep-partitions count rate transactional quiet") {
			noEnv(flags, name) // they are about these records
		}
		a.outputFlag(cmd, cli.FormatTable, cli.FormatJSONL, cli.FormatJSON)
	}, func(ctx context.Context, args []string) error { return a.send(ctx, &f, args[0], args[1:]) })
}

// send writes what the flags name to a topic.
func (a *app) send(ctx context.Context, f *sendFlags, topic string, records []string) error {
	if err := a.checkSend(f, records); err != nil {
		return err
	}
	if err := kafka.Writable(topic); err != nil {
		return err
	}
	in, closeInput, err := a.sendInput(f, records)
	if err != nil {
		return err
	}
	defer closeInput()
	t, err := a.find()
	if err != nil {
		return err
	}
	if f.transactional {
		f.opts.Transaction = "weir-send-" + send.UUID()
	}
	f.opts.Placed = f.keepPartitions || f.text.Partition >= 0
	w, err := t.OpenWriter(ctx, topic, f.opts)
	if err != nil {
		return err
	}
	defer w.Client.Close()
	return a.printSent(ctx, f, w, in)
}

// checkSend rejects flags that contradict each other, and reads those that are text.
func (a *app) checkSend(f *sendFlags, records []string) error {
	jsonl, keyed := f.input == inputJSONL, a.given["key"] != ""
	one := cli.UsageError
	switch {
	case !slices.Contains(send.Acks, f.opts.Acks):
		return one("give all, 1 or 0", "--acks %q is unknown", f.opts.Acks)
	case !slices.Contains(send.Compressions, f.opts.Compression):
		return one("give none, gzip, snappy, lz4 or zstd", "--compression %q is unknown", f.opts.Compression)
	case !jsonl && f.input != inputText:
		return one("give text or jsonl", "--input %q is unknown", f.input)
	case f.text.Partition < -1:
		return one("weir topics TOPIC lists them", "partition %d is negative", f.text.Partition)
	case f.count < 0 || f.rate < 0:
		return one("give numbers above 0", "--count or --rate is negative")
	case keyed && f.separator != "":
		return one("leave out one of them", "--key and --key-separator both name the key")
	case len(records) > 0 && f.file != "":
		return one("leave out one of them", "the arguments and --file both name the records")
	case a.given["count"] != "" && (len(records) == 0 || f.count == 0):
		return one("for example: weir send TOPIC 'event {n}' --count 10", "--count needs a number above 0, and a RECORD as the template")
	case f.keepPartitions && (!jsonl || f.text.Partition >= 0):
		return one("leave it out, or give --input jsonl without --partition", "--keep-partitions needs lines that name their partition")
	case jsonl && (keyed || f.separator != "" || f.text.Null):
		return one("leave them out", "with --input jsonl, each line has its key and its value: --key, --key-separator and --null say otherwise")
	case f.transactional && f.opts.Acks != "all":
		return one("leave out --acks", "a transaction needs --acks all")
	}
	if f.text.Separator = []byte(f.separator); keyed {
		f.text.Key = []byte(f.key)
	}
	for _, text := range f.headers {
		h, err := send.Header(text)
		if err != nil {
			return cli.UsageError("give NAME=VALUE", "--header %q: %w", text, err)
		}
		f.text.Headers = append(f.text.Headers, h)
	}
	return nil
}

// sendInput opens what the flags name: the arguments, a file or standard input.
func (a *app) sendInput(f *sendFlags, records []string) (in send.Input, closeInput func(), err error) {
	closeInput = func() {}
	parse := func(line []byte, r *kgo.Record) (bool, error) { return false, f.text.Record(line, r) }
	if f.input == inputJSONL {
		parse = (&send.JSON{KeepPartition: f.keepPartitions, Headers: f.text.Headers, Partition: f.text.Partition}).Record
	}
	if len(records) == 0 && f.file == "" && f.text.Null && f.separator == "" {
		records = []string{""} // the tombstone of --null alone
	}
	switch {
	case f.count > 0 && f.input == inputJSONL:
		return nil, nil, cli.UsageError("leave out one of them", "--count generates text, and --input jsonl reads JSON")
	case f.count > 0:
		in, err = send.NewTemplates(f.text, records, 1, f.count, f.rate)
		if err != nil {
			return nil, nil, cli.UsageError("see weir send --help", "%w", err)
		}
		return in, closeInput, nil
	case len(records) > 0:
		given := make([]kgo.Record, len(records))
		for i, text := range records {
			skip, err := parse([]byte(text), &given[i])
			if skip {
				err = errors.New("it is empty")
			}
			if err != nil {
				return nil, nil, cli.UsageError("see weir send --help", "record %d: %w", i+1, err)
			}
		}
		in = send.NewRecords(given...)
	default:
		from := a.stdin
		if f.file != "" && f.file != "-" {
			file, err := os.Open(f.file)
			if err != nil {
				return nil, nil, cli.UsageError("name a file of records, one a line", "--file: %w", err)
			}
			from, closeInput = file, func() { _ = file.Close() }
		} else if f.typed = isTerminal(from); f.typed {
			a.stderr.Linef("write one record a line; Ctrl-D (on Windows Ctrl-Z and Enter) ends")
		}
		in = send.NewLines(from, parse)
	}
	if f.rate > 0 {
		in = send.AtRate(in, f.rate)
	}
	return in, closeInput, nil
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// explainSend adds the way out of an error of send.
func (a *app) explainSend(f *sendFlags, err error) error {
	failed, _ := errors.AsType[*send.FailedError](err)
	stopped, _ := errors.AsType[*send.StoppedError](err)
	rest := "send the rest with: tail -n +%d FILE | weir send …"
	switch {
	case f.opts.Transaction != "":
		return err
	case stopped != nil && f.typed && errors.Is(err, errStopped): // Ctrl-C ends what is typed, too
		return nil
	case failed != nil && !failed.Ended && failed.Unit == "line":
		return cli.RuntimeError(fmt.Sprintf("correct the lines that failed; "+rest, failed.Sent+1), "%w", err)
	case stopped != nil && stopped.Unit == "line":
		return cli.RuntimeError(fmt.Sprintf(rest, stopped.Sent+1), "%w", err)
	}
	return err
}

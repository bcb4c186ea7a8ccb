package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/send"
)

// sentRecord is a record that was written, as JSON.
type sentRecord struct {
	// Line is the number of its line in the input, or of its argument, or of the generated record.
	Line      int64  `json:"line"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Offset is null where no broker confirms it (acks=0).
	Offset *int64 `json:"offset"`
}

// printSent writes the input, and prints where each record was written.
func (a *app) printSent(ctx context.Context, f *sendFlags, w *send.Writer, in send.Input) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	prog, start, array := cli.NewProgress(a.stderr), time.Now(), cli.Array{}
	// Lines of records on a terminal show the progress by themselves. Quiet in a script means no output.
	shows := !f.quiet && !cli.NewScreen(a.stdout, true, a.env["TERM"]).Live() || f.quiet && a.stderr.Live()
	if !f.quiet {
		w.Written = func(n int64, r *kgo.Record) error {
			if a.output == cli.FormatTable {
				return printPlace(out, r)
			}
			rec := sentRecord{Line: n, Topic: r.Topic, Partition: r.Partition}
			if r.Offset >= 0 {
				rec.Offset = &r.Offset
			}
			if a.output == cli.FormatJSON {
				if err := array.Begin(out); err != nil {
					return err
				}
			}
			return cli.WriteJSONL(out, rec)
		}
	}
	w.Progress = func(records int64) {
		_ = out.Flush() // the next write meets the same error
		if shows {
			prog.Show(fmt.Sprintf("%s records written, %s per second", cli.Thousands(records), cli.Thousands(perSecond(records, start))))
		}
	}
	result, err := w.Write(ctx, in)
	prog.Done()
	if a.output == cli.FormatJSON && !f.quiet {
		_ = array.End(out) // Flush returns the error
	}
	if err := a.explainSend(f, err); err != nil {
		return errors.Join(err, out.Flush())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if !f.quiet && a.output == cli.FormatTable && (result.Records != 1 || f.transactional) {
		a.stderr.Linef("%s", sentSummary(result, f.transactional))
	}
	return nil
}

// printPlace prints where a record was written, as weir messages shows places.
func printPlace(out *bufio.Writer, r *kgo.Record) error {
	if r.Offset < 0 {
		_, err := fmt.Fprintf(out, "partition %d\n", r.Partition)
		return err
	}
	_, err := fmt.Fprintf(out, "partition %d, offset %d\n", r.Partition, r.Offset)
	return err
}

// perSecond is a rate since start, whole records.
func perSecond(records int64, start time.Time) int64 {
	return int64(float64(records) / max(time.Since(start).Seconds(), 1e-3))
}

// sentSummary says how many records were written.
func sentSummary(r send.Result, transactional bool) string {
	records, partitions, transaction := "records", "partitions", ""
	if r.Records == 1 {
		records = "record"
	}
	if len(r.Landed) == 1 {
		partitions = "partition"
	}
	if transactional {
		transaction = ", committed in one transaction"
	}
	return fmt.Sprintf("%s %s written to %d %s%s", cli.Thousands(r.Records), records, len(r.Landed), partitions, transaction)
}

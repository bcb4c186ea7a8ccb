//go:build unix

// Command bench measures what an event costs: weir, the Kafka library alone, and
// kcat, on the same broker with the same events in one run, in turns. The broker
// is a process of its own, so that its CPU time is nobody's; each measurement is
// a process of its own too, whose CPU time the kernel counts.
//
// It is started by bench/run.sh and owns nothing of weir.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// gcPercent is cmd/weir's, for every measurement.
const gcPercent = 400

// settings is what the flags say, for the parent and for each measurement.
type settings struct {
	dir, weir, kafka, redis string
	engine                  string
	python, script          string
	cluster                 int // weir cluster's process id; 0 for a cluster of somebody else
	events                  int
	end                     int64 // of the events' time, Unix microseconds
	rounds                  int
	only                    string

	cost, plot string
	lengths    list // of logs, in records
	partitions int32

	task, topic  string
	stored, have int
	transaction  int // events in each; 0 is the ingester's default
	profile      string
}

func main() {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := settings{lengths: list{1_000_000, 10_000_000, 50_000_000}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.dir, "dir", "", "`DIR` for events and data, made empty by the caller")
	f.StringVar(&s.weir, "weir", "", "the built weir `PROGRAM`")
	f.StringVar(&s.engine, "engine", "embedded", "the `ENGINE` of weir cluster: embedded, or apache for three Apache Kafka brokers")
	f.StringVar(&s.python, "python", "", "a Python `PROGRAM` with interop/clients/requirements.txt, for -script")
	f.StringVar(&s.script, "script", "", "bench/scripts.py")
	f.StringVar(&s.kafka, "kafka", "", "`ADDRS` of an existing cluster that is not weir's; empty starts weir cluster")
	f.StringVar(&s.redis, "redis", "", "`URL` of an existing Redis; empty is weir cluster's, or with -kafka none")
	f.IntVar(&s.events, "events", 200_000, "`N` events in each measurement")
	f.IntVar(&s.rounds, "rounds", 5, "`N` repetitions, of which the median is printed")
	f.StringVar(&s.only, "only", "", "`TEXT`: only measurements with this in their name")
	f.StringVar(&s.cost, "cost", "", "measure what grows instead: `PARTS` of partitions, sizes, logs, or all")
	f.Var(&s.lengths, "records", "the lengths of the logs of -cost, as `LIST` of records")
	f.IntVar(&s.transaction, "transaction", 0, "`N` events in each transaction; 0 is the ingester's limit, and 500 in the logs of -cost")
	f.StringVar(&s.plot, "plot", "", "write the plot of -cost to this `FILE`, as SVG")
	f.StringVar(&s.task, "task", "", "internal: the measurement that this process is")
	f.StringVar(&s.topic, "topic", "", "internal: the topic to read or write")
	f.Int64Var(&s.end, "end", time.Now().UnixMicro(), "internal: the time at the end of the events, in Unix `MICROSECONDS`")
	f.IntVar(&s.stored, "stored", 0, "internal: how many records the topic has")
	f.IntVar(&s.have, "have", 0, "internal: how many events the log has already")
	f.StringVar(&s.profile, "profile", "", "write each measurement's CPU profile to this `DIR`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if s.dir == "" {
		return errors.New("-dir is needed; start bench/run.sh instead")
	}
	if s.task != "" {
		return measure(ctx, s, stdout)
	}
	if s.cost != "" {
		return cost(ctx, s, stdout, stderr)
	}
	return compare(ctx, s, stdout, stderr)
}

func (s settings) brokers() []string { return strings.Split(s.kafka, ",") }

func (s settings) file(stream string) string { return filepath.Join(s.dir, stream+".events") }

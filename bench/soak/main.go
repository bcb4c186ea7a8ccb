//go:build linux

// Command soak makes a day out of an hour. It runs `weir up` with its defaults on two streams that
// have a day's events in that time, ends it with kill -9 three times, starts it again, and reads
// everything back with kcat and `weir verify`. It samples memory, descriptors, goroutines, latency
// and disk. The verdicts are in its exit code; the plot, the samples and the report are in a
// directory.
//
//	go run ./bench/soak -out /tmp/soak                                 an hour, about 5 GB of disk
//	go run ./bench/soak -out /tmp/soak -duration 2m -day 48m -live 40s the same at the same rates, to try it
//
// It needs Linux and kcat. The streams are servers in this process, because weir's own simulator has
// at most 40 edits a second: so memory and processor time of weir are those of weir alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

// settings is what the flags say.
type settings struct {
	Weir     string        `json:"-"`
	Out      string        `json:"-"`
	Duration time.Duration `json:"duration"`
	Day      time.Duration `json:"day"`
	Posts    float64       `json:"posts_per_second"`
	Edits    float64       `json:"edits_per_second"`
	Pace     time.Duration `json:"pace"`
	Kills    int           `json:"kills"`
	Live     time.Duration `json:"live"`
	Every    time.Duration `json:"every"`
	Seed     int64         `json:"seed"`
}

// factor is how much faster than a real day it goes.
func (s settings) factor() float64 { return s.Day.Seconds() / s.Duration.Seconds() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.Out, "out", "", "`DIR` for the data, the samples, the plot and the report; it must not exist")
	f.StringVar(&s.Weir, "weir", "", "the weir `PROGRAM`; empty builds it")
	f.DurationVar(&s.Duration, "duration", time.Hour, "the `TIME` that it takes")
	f.DurationVar(&s.Day, "day", 24*time.Hour, "the `TIME` whose events come in it")
	f.Float64Var(&s.Posts, "posts", 100, "`EVENTS` per second of Bluesky, before acceleration")
	f.Float64Var(&s.Edits, "edits", 40, "`EVENTS` per second of Wikipedia, before acceleration")
	f.DurationVar(&s.Pace, "pace", time.Millisecond, "weir's --pace during the day; a short one makes more batches")
	f.IntVar(&s.Kills, "kills", 3, "`N` times it ends with kill -9, the last time with the whole log")
	f.DurationVar(&s.Live, "live", time.Minute, "the `TIME` at live rates and with all defaults, on the log of the day")
	f.DurationVar(&s.Every, "every", 5*time.Second, "the `TIME` between two samples")
	f.Int64Var(&s.Seed, "seed", 1, "`NUMBER` that the events are made from")
	if err := f.Parse(args); err != nil {
		return err
	}
	if s.Out == "" || s.Duration <= 0 || s.Kills < 1 {
		return errors.New("-out, -duration and -kills are needed")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		return fmt.Errorf("kcat reads the log back: %w", err)
	}
	if err := os.Mkdir(s.Out, 0o750); err != nil {
		return err
	}
	if s.Weir == "" {
		s.Weir = filepath.Join(s.Out, "weir")
		build := exec.CommandContext(ctx, "go", "build", "-o", s.Weir, "./cmd/weir")
		build.Stderr = stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build weir: %w", err)
		}
	}
	k := &soak{settings: s, progress: stdout, begun: time.Now()}
	err := k.day(ctx)
	return errors.Join(err, k.end(stdout))
}

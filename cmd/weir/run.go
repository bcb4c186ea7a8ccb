package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// drainTime bounds what is still asked of Redis after a signal.
const drainTime = 5 * time.Second

// runNode opens a node, calls before, runs it with status lines until ctx ends, and
// calls after, which may be nil. It adds to cfg what the nodes of all commands have in common.
func (a *app) runNode(ctx context.Context, t *node.Target, cfg node.Config, before func(*node.Node), after func(context.Context, *node.Node) error) (err error) {
	cfg.Target, cfg.Version, cfg.Env, cfg.Where, cfg.SameData = t, buildVersion().Version, a.env, a.where(), a.sameData()
	if cfg.Data, err = a.data(); err != nil {
		return err
	}
	if cfg.Listen != nil {
		cfg.Listen.Given = a.given["listen"] != ""
		cfg.Labs = a.labsForUI(cfg.Data)
		cfg.Exercises = filepath.Join(cfg.Data, exercise.Dir)
	}
	cfg.Say = func(text string) { a.stderr.Linef("%s", cli.OneLine(text)) }
	cfg.Warn = func(text string) { a.stderr.Linef("%s", a.stderr.Paint(cli.Yellow, cli.OneLine(text))) }
	starting := cli.NewProgress(a.stderr)
	cfg.Progress = starting.Show
	n, err := node.Open(ctx, cfg)
	starting.Done()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	before(n)
	show, hide := context.WithCancel(ctx)
	var lines sync.WaitGroup
	if len(cfg.Ingest)+len(cfg.Count) > 0 {
		lines.Go(func() { a.showStatus(show, n.Status) })
	}
	err = n.Run(ctx)
	hide()
	lines.Wait()
	if after == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, after(ctx, n))
}

// printCounted prints the counts of the node's streams, over all runs.
func (a *app) printCounted(ctx context.Context, n *node.Node) error {
	counted, err := n.Counted(ctx)
	if err != nil {
		return fmt.Errorf("final counts: %w", err)
	}
	return countTable(countRows(counted, "")).Write(a.stdout)
}

// showMode labels simulated events, with the reason.
func (a *app) showMode(mode, why string) {
	if mode != node.Simulated {
		return
	}
	text := "SIMULATED events"
	if why != "" {
		text += ": " + why
	}
	a.stderr.Linef("%s", a.stderr.Paint(cli.Yellow, visible.Text(text)))
}

// showFinding prints one on standard error, its command on a line of its own.
func (a *app) showFinding(f kafka.Finding) {
	head := f.Severity
	if f.Breaks() {
		head = a.stderr.Paint(cli.Yellow, head)
	}
	a.stderr.Linef("%s: %s", head, visible.Text(f.Where+": "+f.Cause+"; "+f.Out))
	if f.Run != "" {
		a.stderr.Linef("    %s", visible.Text(f.Run))
	}
}

// Intervals of the status lines: redrawn in place on a terminal, and one plain
// line a stream on anything else.
const (
	redrawEvery = 500 * time.Millisecond
	plainEvery  = 10 * time.Second
)

// showStatus keeps the status lines current until ctx ends: redrawn in place on
// a terminal, a plain line a stream every ten seconds otherwise. read is called
// with the time and may take its own time: lines are never older than it.
func (a *app) showStatus(ctx context.Context, read func(context.Context, time.Time) []node.Status) {
	interval := time.Second // rates need samples between the plain lines
	if a.stderr.Live() {
		interval = redrawEvery
		defer a.stderr.Status()
	}
	last := time.Now()
	node.Every(ctx, interval, func(now time.Time) bool {
		var lines []string
		for _, s := range read(ctx, now) {
			lines = append(lines, statusText(s))
		}
		// A tick may come a little early, which must not delay a line by a second.
		switch plain := now.Sub(last) >= plainEvery-100*time.Millisecond; {
		case a.stderr.Live():
			a.stderr.Status(lines...)
		case plain:
			last = now
			for _, l := range lines {
				a.stderr.Linef("%s %s", now.Format(time.TimeOnly), l)
			}
		}
		return true
	})
}

// statusText is the status line of a stream: rate first, because it is what changes, in columns
// that stay where they are.
func statusText(s node.Status) string {
	text := fmt.Sprintf("%-9s ", s.Name)
	if s.Simulated {
		text += "(simulated) "
	}
	text += fmt.Sprintf("%8s/s", cli.RateText(s.Rate))
	if s.Total >= 0 {
		text += fmt.Sprintf("  total %13s", cli.Thousands(s.Total))
	}
	if s.Lag >= 0 {
		text += fmt.Sprintf("  lag %7s", cli.Thousands(s.Lag))
	}
	if s.Capacity > 0 {
		text += fmt.Sprintf("  queue %3d%%", (100*s.Queued+s.Capacity-1)/s.Capacity)
	}
	if s.P99 > 0 {
		text += fmt.Sprintf("  p50/p99 %d/%d ms", s.P50.Round(time.Millisecond).Milliseconds(), s.P99.Round(time.Millisecond).Milliseconds())
	}
	switch {
	case s.State == "":
	case s.Trouble:
		text += "  ! " + visible.Text(s.State)
	default:
		text += "  " + visible.Text(s.State)
	}
	return text
}

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// newTarget is a target without addresses: how this process connects.
func (a *app) newTarget() *node.Target {
	return &node.Target{
		Security: a.security, SecurityFile: a.kafkaSettings, RedisPassword: a.env[redisPasswordVariable], Clients: a.clients,
		Log: a.log, Report: a.sayFinding, AllowDenied: a.env[testPrefix+"PREFLIGHT"] == "off",
	}
}

// nodeConfig is what the nodes of all commands have in common. listen is nil for no web UI.
func (a *app) nodeConfig(t *node.Target, f *streamFlags, listen *node.Listen) (node.Config, error) {
	data, err := a.data()
	if err != nil {
		return node.Config{}, err
	}
	say := func(text string) { a.stderr.Linef("%s", cli.OneLine(text)) }
	warn := func(text string) { a.stderr.Linef("%s", a.stderr.Paint(cli.Yellow, cli.OneLine(text))) }
	cfg := node.Config{Version: buildVersion().Version, Data: data, Env: a.env, Target: t, Listen: listen, Where: a.where(), Say: say, Warn: warn, SameData: a.sameData()}
	if f != nil {
		cfg.Streams = &f.Streams
	}
	if listen != nil {
		listen.Given = a.given["listen"] != ""
		cfg.Labs = a.labsForUI(data)
	}
	return cfg, nil
}

// drainTime bounds what is still asked of Redis after a signal.
const drainTime = 5 * time.Second

// runNode opens a node, calls before, runs it with status lines until ctx ends, and
// calls after, which may be nil.
func (a *app) runNode(ctx context.Context, cfg node.Config, before func(*node.Node), after func(context.Context, *node.Node) error) (err error) {
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

// sayWhy labels simulated events, and says why they are.
func (a *app) sayWhy(mode, why string) {
	if mode != node.Simulated {
		return
	}
	text := "SIMULATED events"
	if why != "" {
		text += ": " + why
	}
	a.stderr.Linef("%s", a.stderr.Paint(cli.Yellow, visible.Text(text)))
}

// sayFinding prints one on standard error, its command on a line of its own.
func (a *app) sayFinding(f node.Finding) {
	head := f.Severity
	if head == kafka.Breaks.String() {
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
	tick := time.NewTicker(interval)
	defer tick.Stop()
	now := time.Now()
	for last := now; ; {
		lines := statusLines(read(ctx, now))
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
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
	}
}

func statusLines(streams []node.Status) []string {
	lines := make([]string, len(streams))
	for i, s := range streams {
		lines[i] = statusText(s)
	}
	return lines
}

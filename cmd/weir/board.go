package main

import (
	"context"
	"time"
)

// showStatus keeps the status lines current until ctx ends: redrawn in place on
// a terminal, a plain line a stream every ten seconds otherwise. read is called
// with the time and may take its own time: lines are never older than it.
func (a *app) showStatus(ctx context.Context, read func(context.Context, time.Time) []stream) {
	if a.stderr.Live() {
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			a.stderr.Status(statusLines(read(ctx, time.Now()))...)
			select {
			case <-ctx.Done():
				a.stderr.Status()
				return
			case <-tick.C:
			}
		}
	}
	// The rates need samples in between: a single one after ten seconds would be
	// an average over all of them.
	sample := time.NewTicker(time.Second)
	defer sample.Stop()
	last := time.Now()
	read(ctx, last)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-sample.C:
			lines := statusLines(read(ctx, now))
			if now.Sub(last) < plainEvery-sampleSlack {
				continue
			}
			last = now
			for _, l := range lines {
				a.stderr.Linef("%s %s", now.Format(time.TimeOnly), l)
			}
		}
	}
}

// sampleSlack keeps a tick that comes a little early from delaying a line by a second.
const sampleSlack = 100 * time.Millisecond

func statusLines(streams []stream) []string {
	lines := make([]string, len(streams))
	for i, s := range streams {
		lines[i] = s.text()
	}
	return lines
}

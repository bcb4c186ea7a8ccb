package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

type rateSample struct {
	Source    string  `json:"source"`
	Seconds   float64 `json:"seconds"` // what the sample covers
	Events    int64   `json:"events"`
	PerSecond float64 `json:"events_per_second"`
	Bytes     int64   `json:"bytes"`
	Host      string  `json:"host"`
	Connected bool    `json:"connected"`
	Error     string  `json:"error,omitempty"`
}

func newRate(a *app) *cobra.Command {
	var f streamFlags
	var limit time.Duration
	return a.sourceCommand("rate", useData|useOutput|useLog, func(cmd *cobra.Command) {
		f.flags(cmd)
		cmd.Flags().DurationVar(&limit, "for", 0, "how long; 0 is until Ctrl-C")
		noEnv(cmd.Flags(), "for")
	}, func(ctx context.Context, s node.Source) error {
		return a.runRate(ctx, s, &f, limit)
	})
}

func (a *app) runRate(ctx context.Context, s node.Source, f *streamFlags, limit time.Duration) (err error) {
	if err := f.Check(); err != nil {
		return err
	}
	mode, why, err := a.decideMode(ctx, f)
	if err != nil {
		return err
	}
	data, err := a.data()
	if err != nil {
		return err
	}
	u, err := f.Simulate(mode, data, s.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	src, err := f.New(s.Name)
	if err != nil {
		return err
	}
	a.showMode(mode, why)
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	m := &node.Receiver{Upstream: src}
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { ended <- m.Run(ctx) })
	defer wg.Wait()
	return a.printRates(ctx, s.Name, m, ended)
}

func (a *app) printRates(ctx context.Context, name string, m *node.Receiver, ended <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	type mark struct {
		at            time.Time
		events, bytes int64
	}
	start := mark{at: time.Now()}
	since := func(from mark) (rateSample, mark) {
		st := m.Upstream.Status()
		now := mark{time.Now(), m.Events(), st.Bytes}
		d, n := now.at.Sub(from.at).Seconds(), now.events-from.events
		return rateSample{Source: name, Seconds: d, Events: n, PerSecond: float64(n) / max(d, 1e-9), Bytes: now.bytes - from.bytes,
			Host: st.Host, Connected: st.Connected, Error: st.LastError}, now
	}
	for last := start; ; {
		select {
		case <-tick.C:
			var s rateSample
			if s, last = since(last); a.output == cli.FormatJSON { // one document, at the end
				continue
			}
			if err := a.printRate(s); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			continue
		case err := <-ended:
			if err != nil {
				return cli.ConnectError("check the URL, or try again later", "%s: %w", name, err)
			}
		case <-ctx.Done():
		}
		s, _ := since(start)
		if a.output == cli.FormatJSON {
			return cli.WriteJSON(a.stdout, s)
		}
		a.stderr.Linef("%s: %s events in %.0f s, %s/s on average", name, cli.Thousands(s.Events), s.Seconds, cli.RateText(s.PerSecond))
		return nil
	}
}

// printRate prints a sample, as a line of text or of JSON.
func (a *app) printRate(s rateSample) error {
	if a.output == cli.FormatJSONL {
		return cli.WriteJSONL(a.stdout, s)
	}
	state := s.Host
	if !s.Connected {
		state = "! not connected"
		if s.Error != "" {
			state += ": " + s.Error
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%-10s %9s/s %11s/s  %s\n", s.Source, cli.RateText(s.PerSecond), cli.SizeText(int64(float64(s.Bytes)/max(s.Seconds, 1e-9))), visible.Text(state))
	return err
}

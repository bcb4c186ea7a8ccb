package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/verify"
	"github.com/weir-project/weir/internal/visible"
)

func newVerify(a *app) *cobra.Command {
	return a.command("verify", useCluster|useRedis|useOutput|useLog, nil, a.onTarget(a.runVerify))
}

func (a *app) runVerify(ctx context.Context, t *node.Target, _ []string) error {
	if err := t.Ping(ctx); err != nil {
		return err
	}
	store, err := t.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	a.showMode(t.Mode, "")
	prog := cli.NewProgress(a.stderr)
	report, err := t.Verify(ctx, store, func(p verify.Progress) {
		text := p.Stage
		if p.Total > 0 {
			text = fmt.Sprintf("%s: %d%% of %s", p.Stage, 100*p.Scanned/p.Total, cli.Thousands(p.Total))
		}
		prog.Show(text)
	})
	prog.Done()
	if err != nil {
		return err
	}
	return a.printReport(report)
}

func (a *app) printReport(r verify.Report) error {
	type line struct {
		Source string `json:"source"`
		*verify.SourceReport
	}
	var lines []line
	for i := range r.Sources {
		lines = append(lines, line{r.Sources[i].Name, &r.Sources[i]})
	}
	err := writeRows(a, r, lines, func(s line) []any {
		verdict := "ok"
		if !s.OK {
			verdict = "WRONG"
		}
		return []any{s.Name, verdict, s.Events, s.Lost, s.Doubled, s.Miscounted, s.Faults + s.Disordered, s.Gaps, s.DeadLetters, s.Uncounted}
	}, "SOURCE", "VERDICT", ">EVENTS", ">LOST", ">DUPLICATED", ">MISCOUNTED", ">FAULTS", ">GAPS", ">DEAD LETTERS", ">UNCOUNTED")
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	a.explainReport(r)
	if !r.OK {
		return &cli.Error{Code: cli.ExitFailed, Err: errors.New("verification failed: see the problems above")}
	}
	if a.output == cli.FormatTable {
		a.stderr.Linef("nothing lost, duplicated or miscounted: %s records read in %.1f s", cli.Thousands(r.Scanned), r.Elapsed.Seconds())
	}
	return nil
}

// explainReport says on standard error what the table's numbers are about.
func (a *app) explainReport(r verify.Report) {
	for _, n := range r.Notes {
		a.stderr.Linef("note: %s", visible.Text(n))
	}
	for _, s := range r.Sources {
		shown := map[string]int64{}
		for _, p := range s.Problems {
			where := cmp.Or(p.Topic, "-")
			if p.Partition >= 0 {
				where += fmt.Sprintf(" partition %d", p.Partition)
			}
			if p.Offset >= 0 {
				where += fmt.Sprintf(" offset %d", p.Offset)
			}
			a.stderr.Linef("%s %s: %s: %s", s.Name, p.What, visible.Text(where), visible.Text(p.Text))
			shown[p.What]++
		}
		if n := shown["doubled"]; s.Doubled > n {
			a.stderr.Linef("%s duplicated: %s events in all are stored more than once; the first %d are shown", s.Name, cli.Thousands(s.Doubled), n)
		}
		if s.Foreign > 0 {
			a.stderr.Linef("note: %s: %s of the events were written by other programs: recounted, but not checked for loss", s.Name, cli.Thousands(s.Foreign))
		}
		if s.Trimmed > 0 {
			a.stderr.Linef("note: %s: %s events were deleted by retention", s.Name, cli.Thousands(s.Trimmed))
		}
		for _, n := range s.Notes {
			a.stderr.Linef("note: %s: %s", s.Name, visible.Text(n))
		}
	}
}

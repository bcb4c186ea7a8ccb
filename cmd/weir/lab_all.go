package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/backpressure"
	"github.com/weir-project/weir/internal/lab/batching"
	"github.com/weir-project/weir/internal/lab/failover"
	"github.com/weir-project/weir/internal/lab/groups"
	"github.com/weir-project/weir/internal/lab/latency"
	"github.com/weir-project/weir/internal/lab/parallel"
	"github.com/weir-project/weir/internal/lab/persistence"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/replay"
	"github.com/weir-project/weir/internal/lab/setting"
	"github.com/weir-project/weir/internal/node"
)

const labAllLong = `Runs every lab, one after the other, and prints one table of verdicts at the end. When
a lab fails, the next one runs all the same. Ctrl-C stops all of them and removes what
the running lab has written.

Exit code 0: every claim holds; 4: one does not; 1: a lab could not be carried out;
5: one is inconclusive.`

// labResult is the result of one lab of `weir lab all`.
type labResult struct {
	Lab     string         `json:"lab"`
	Verdict record.Verdict `json:"verdict,omitempty"`
	Seconds float64        `json:"seconds"`
	Reason  string         `json:"reason,omitempty"`
	// Directory is where its report is kept. Error says why there is no report.
	Directory string `json:"directory,omitempty"`
	Error     string `json:"error,omitempty"`
}

func newLabAll(a *app) *cobra.Command {
	var (
		short  bool
		engine string
	)
	cmd := &cobra.Command{
		Use:   "all",
		Short: "Run every lab in turn and print one table of verdicts",
		Long:  labAllLong,
		Example: `  weir lab all --short
  weir lab all --short --engine apache -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := allLabs(short)
			if err != nil {
				return err
			}
			return a.performLabs(cmd.Context(), all, engine)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&short, "short", false, "run each lab in its short form: a few minutes in all instead of a quarter of an hour")
	engineFlag(cmd, &engine)
	for _, name := range []string{"short", "engine"} {
		noEnv(fl, name)
	}
	a.dataFlag(cmd)
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON)
	a.logFlag(cmd)
	return cmd
}

// performLabs runs experiments and prints the result of each. The worst result decides the
// exit code.
func (a *app) performLabs(ctx context.Context, all []*lab.Experiment, engine string) error {
	if err := node.CheckEngine(engine, ""); err != nil {
		return err
	}
	results := make([]labResult, 0, len(all))
	var stopped error
	for i, e := range all {
		a.stderr.Linef("lab %d of %d: %s", i+1, len(all), e.Name)
		r, kept, err := a.measureLab(ctx, e, engine)
		if ctx.Err() != nil {
			break
		}
		if _, busy := errors.AsType[*lab.BusyError](err); busy { // every other lab would find it busy, too
			stopped = err
			break
		}
		x := labResult{Lab: e.Name, Directory: kept}
		if err != nil {
			x.Error = err.Error()
			a.stderr.Linef("%s could not be carried out: %v", e.Name, err)
		} else {
			x.Verdict, x.Seconds, x.Reason = r.Verdict, r.Seconds, r.Reason
			a.stderr.Linef("%s: %s, after %.0f s", e.Name, r.Verdict, r.Seconds)
		}
		results = append(results, x)
	}
	if ctx.Err() != nil {
		stopped = &cli.Error{Code: cli.ExitUnclear, Err: fmt.Errorf("stopped after %d of %d labs; the running lab was stopped and what it wrote was removed", len(results), len(all))}
	}
	if stopped != nil && len(results) == 0 && a.output == cli.FormatTable {
		return stopped
	}
	err := a.write(results, nil, func() *cli.Table {
		return cli.TableOf(results, func(x labResult) []any {
			if x.Error != "" {
				return []any{x.Lab, "not carried out", "", x.Error}
			}
			return []any{x.Lab, string(x.Verdict), fmt.Sprintf("%.0f s", x.Seconds), x.Reason}
		}, "LAB", "VERDICT", ">TOOK", "REASON")
	})
	if err != nil {
		return err
	}
	if stopped != nil && len(results) < len(all) {
		return stopped
	}
	return worstOf(results)
}

// worstOf makes one error of all results, nil where every claim holds.
func worstOf(results []labResult) error {
	var no, failed, unclear int
	for _, x := range results {
		switch {
		case x.Error != "":
			failed++
		case x.Verdict == record.DoesNotHold:
			no++
		case x.Verdict != record.Holds:
			unclear++
		}
	}
	if no+failed+unclear == 0 {
		return nil
	}
	err := fmt.Errorf("of %d labs %d do not hold, %d could not be carried out, %d are inconclusive", len(results), no, failed, unclear)
	switch {
	case no > 0:
		return &cli.Error{Code: cli.ExitFailed, Err: err, Hint: "the reasons are in the table"}
	case failed > 0:
		return cli.RuntimeError("the reasons are in the table", "%w", err)
	}
	return &cli.Error{Code: cli.ExitUnclear, Err: err, Hint: "run them again on a machine that is less busy"}
}

// labs lists the labs, in the order in which weir lab all runs them.
func labs() []*lab.Lab {
	return []*lab.Lab{backpressure.Lab, batching.Lab, latency.Lab, replay.Lab, parallel.Lab, groups.Lab, persistence.Lab, failover.Lab}
}

// allLabs returns an experiment of each lab.
func allLabs(short bool) (all []*lab.Experiment, err error) {
	var presets []string
	if short {
		presets = []string{setting.Short}
	}
	for _, l := range labs() {
		s := l.Settings(presets...)
		if err := ownProgram(s); err != nil {
			return nil, err
		}
		all = append(all, l.With(s))
	}
	return all, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

const labLong = `A lab is an experiment on the real pipeline. It states a claim, measures, and reports
whether the claim holds. It runs in its own temporary directory, with its own brokers,
Redis and simulated streams, so it does not disturb a running weir. Its results are
kept under DIR/labs as report.json and plot.svg.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive, because the load was
not reached, a fault did not fire, or the lab was stopped.`

// labsDir is where labs keep their reports, below the data directory.
const labsDir = "labs"

func newLab(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Experiments that check themselves, from backpressure to failover",
		Long:  labLong,
		Example: `  weir lab list
  weir lab backpressure --short`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the labs and their saved reports",
		Example: "  weir lab list",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.listLabs() },
	}
	compare := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two reports of a lab side by side",
		Long:  "Shows two reports of a lab side by side. Name a report as `weir lab list` prints it,\nor give its path.",
		Example: `  weir lab compare backpressure-20260101T120000.000Z backpressure-20260101T121500.000Z
  weir lab compare old/report.json new/report.json -o json`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeReports()
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.compareLabs(args[0], args[1]) },
	}
	for _, sub := range []*cobra.Command{list, compare} {
		a.dataFlag(sub)
		a.outputFlag(sub, cli.FormatTable, cli.FormatJSON)
	}
	c.AddCommand(list)
	for _, l := range labs() {
		c.AddCommand(labCommand(a, l))
	}
	c.AddCommand(newLabAll(a), compare)
	return c
}

// labsPath is the directory of the labs.
func (a *app) labsPath() (string, error) {
	data, err := a.data()
	return filepath.Join(data, labsDir), err
}

// keptReports lists the saved reports.
func (a *app) keptReports() ([]record.Kept, error) {
	dir, err := a.labsPath()
	if err != nil {
		return nil, err
	}
	return record.List(dir)
}

func (a *app) listLabs() error {
	kept, err := a.keptReports()
	if err != nil {
		return err
	}
	type known struct {
		Name  string `json:"name"`
		Claim string `json:"claim"`
	}
	var all []known
	for _, l := range labs() {
		all = append(all, known{l.Name, l.Claim})
	}
	if a.output == cli.FormatJSON {
		return cli.WriteJSON(a.stdout, struct {
			Labs    []known       `json:"labs"`
			Reports []record.Kept `json:"reports"`
		}{all, kept})
	}
	for _, l := range all {
		fmt.Fprintf(a.stdout, "%s\n", l.Name)
		for _, line := range wrap(l.Claim, 78) {
			fmt.Fprintf(a.stdout, "  %s\n", line)
		}
	}
	fmt.Fprintln(a.stdout)
	if len(kept) == 0 {
		a.stderr.Linef("no reports yet: weir lab backpressure --short makes one in less than a minute")
		return nil
	}
	return cli.TableOf(kept, func(k record.Kept) []any {
		if k.Err != "" {
			return []any{k.Name, "cannot be read", ""}
		}
		return []any{k.Name, string(k.Verdict), cli.AgoText(k.Started, time.Now())}
	}, "REPORT", "VERDICT", "WHEN").Write(a.stdout)
}

// wrap breaks text into lines of at most width columns, between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && visible.Width(line)+1+visible.Width(w) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+w, " ")
	}
	return append(lines, line)
}

// performLabOn runs an experiment with brokers of an engine, prints what it found, and
// makes the verdict the exit code.
func (a *app) performLabOn(ctx context.Context, e *lab.Experiment, engine string) error {
	r, kept, err := a.measureLab(ctx, e, engine)
	if err != nil {
		return err
	}
	if err := a.printLab(r, kept); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	switch r.Verdict {
	case record.Holds:
		return nil
	case record.DoesNotHold:
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the claim does not hold: %s", r.Reason)}
	}
	return &cli.Error{Code: cli.ExitUnclear, Err: fmt.Errorf("inconclusive: %s", r.Reason)}
}

// measureLab runs an experiment and returns its report and the directory that keeps it.
func (a *app) measureLab(ctx context.Context, e *lab.Experiment, engine string) (*lab.Report, string, error) {
	if err := node.CheckEngine(engine, ""); err != nil {
		return nil, "", err
	}
	dir, err := a.labsPath()
	if err != nil {
		return nil, "", err
	}
	cache, err := node.CacheDir(a.env, runtime.GOOS)
	if err != nil && engine == cluster.Apache {
		return nil, "", err
	}
	if err := e.Check(); err != nil {
		return nil, "", cli.UsageError("see weir lab "+e.Name+" --help", "%w", err)
	}
	prog := cli.NewProgress(a.stderr)
	defer context.AfterFunc(ctx, func() { a.stderr.Linef("stopping %s, which takes some seconds", e.Name) })()
	ctx, live, stop := a.followLab(ctx)
	defer stop()
	begun, ended := a.noteLab(ctx, e.Name)
	r, kept, err := lab.Perform(ctx, lab.Config{Dir: dir, Version: buildVersion().Version, Log: a.log, Progress: func(text string) { begun(); prog.Show(text) },
		Engine: engine, KafkaCache: cache, KafkaHome: a.env["KAFKA_HOME"], Live: live}, e)
	ended(r, err)
	prog.Done()
	busy, isBusy := errors.AsType[*lab.BusyError](err)
	switch {
	case isBusy:
		return nil, "", cli.RuntimeError("wait for that one, or choose another directory with --data", "%w", busy)
	case err != nil && ctx.Err() != nil:
		return nil, "", &cli.Error{Code: cli.ExitUnclear, Err: errors.New("stopped before there was a verdict; what the lab wrote was removed")}
	case errors.Is(err, os.ErrPermission):
		return nil, "", node.DirError(dir, err)
	case err != nil:
		return nil, "", fmt.Errorf("lab %s: %w", e.Name, err)
	}
	return r, kept, nil
}

// printLab prints a report.
func (a *app) printLab(r *lab.Report, kept string) error {
	switch a.output {
	case cli.FormatJSONL:
		return nil // its last line was the end
	case cli.FormatJSON:
		short := *r
		short.Lines = nil // in report.json
		return cli.WriteJSON(a.stdout, struct {
			Directory string `json:"directory"`
			*lab.Report
		}{kept, &short})
	}
	for _, f := range figuresOf(r.Measures) {
		if err := f.table().Write(a.stdout); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	tb := cli.NewTable("VERDICT", "CASE", "CLAIM", "EXPECTED", "MEASURED")
	for _, c := range r.Checks {
		tb.Add(string(c.Verdict), c.Case, c.Claim, c.Want, c.Got)
	}
	if err := tb.Write(a.stdout); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\nsource: %s; brokers: %s\n", visible.Text(r.Source), r.Engine)
	fmt.Fprintln(a.stdout)
	for _, line := range wrap("claim: "+r.Claim, 100) {
		fmt.Fprintln(a.stdout, visible.Text(line))
	}
	fmt.Fprintf(a.stdout, "%s: %s\n", strings.ToUpper(string(r.Verdict)), visible.Text(r.Reason))
	for _, n := range r.Notes {
		a.stderr.Linef("note: %s", visible.Text(n))
	}
	a.stderr.Linef("kept in %s: report.json, plot.svg", shortHome(kept, a.env))
	return nil
}

// figures are those of the cases of one kind.
type figures struct {
	cases, names []string
	text         map[[2]string]string // by case and name
}

// figuresOf parts figures by the kind of their cases: cases are of one kind where their first
// figures have the same name.
func figuresOf(all []record.Measure) (out []*figures) {
	first, kinds := map[string]string{}, map[string]*figures{} // by case, and by name of the first figure
	for _, m := range all {
		first[m.Case] = cmp.Or(first[m.Case], m.Name)
		f := kinds[first[m.Case]]
		if f == nil {
			f = &figures{text: map[[2]string]string{}}
			kinds[m.Name], out = f, append(out, f)
		}
		if !slices.Contains(f.cases, m.Case) {
			f.cases = append(f.cases, m.Case)
		}
		if !slices.Contains(f.names, m.Name) {
			f.names = append(f.names, m.Name)
		}
		f.text[[2]string{m.Case, m.Name}] = measureText(&m.Value, m.Unit)
	}
	return out
}

// table has a column for each case, or for each figure where there are more cases.
func (f *figures) table() *cli.Table {
	columns, rows, text := f.cases, f.names, func(row, column string) string { return f.text[[2]string{column, row}] }
	if len(f.cases) > len(f.names) {
		columns, rows, text = f.names, f.cases, func(row, column string) string { return f.text[[2]string{row, column}] }
	}
	head := []string{"MEASURED"}
	for _, c := range columns {
		head = append(head, ">"+strings.ToUpper(c))
	}
	return cli.TableOf(rows, func(r string) []any {
		row := []any{r}
		for _, c := range columns {
			row = append(row, cmp.Or(text(r, c), "-"))
		}
		return row
	}, head...)
}

// measureText writes a figure with its unit, nil as "-".
func measureText(v *float64, unit string) string {
	if v == nil {
		return "-"
	}
	switch unit {
	case "bytes":
		return cli.SizeText(int64(*v))
	case "events", "partitions", "requests", "commits":
		return cli.Thousands(int64(*v))
	case "events/s":
		return cli.RateText(*v) + "/s"
	case "times":
		return fmt.Sprintf("%.0f times", *v)
	case "ms":
		if *v >= 1000 {
			return fmt.Sprintf("%.1f s", *v/1000)
		}
		return fmt.Sprintf("%.0f ms", *v)
	}
	return fmt.Sprintf("%.1f %s", *v, unit)
}

// report reads a report by name or path.
func (a *app) report(name string) (*record.Report, error) {
	path := name
	if !strings.ContainsRune(name, filepath.Separator) {
		dir, err := a.labsPath()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(dir, name)
	}
	r, err := record.Read(path)
	if err != nil {
		return nil, cli.UsageError("weir lab list has the names of the reports", "%w", err)
	}
	return r, nil
}

func (a *app) compareLabs(nameA, nameB string) error {
	ra, err := a.report(nameA)
	if err != nil {
		return err
	}
	rb, err := a.report(nameB)
	if err != nil {
		return err
	}
	c, err := record.Compare(ra, rb)
	if err != nil {
		return cli.UsageError("name two reports of one lab", "%w", err)
	}
	return a.write(c, nil, func() *cli.Table {
		for _, s := range c.Settings {
			a.stderr.Linef("differs: %s", visible.Text(s))
		}
		onlyA, onlyB := c.Alone()
		for i, only := range [][]string{onlyA, onlyB} {
			if len(only) > 0 {
				a.stderr.Linef("only in %c: %s", 'A'+rune(i), visible.Text(strings.Join(only, ", ")))
			}
		}
		tb := cli.NewTable("CASE", "MEASURED", ">A", ">B", ">B/A")
		tb.Add("", "verdict", string(c.Verdicts[0]), string(c.Verdicts[1]), "")
		for _, d := range c.Differences {
			if slices.Contains(onlyA, d.Case) || slices.Contains(onlyB, d.Case) {
				continue
			}
			ratio := ""
			if d.A != nil && d.B != nil && *d.A != 0 && !math.IsInf(*d.B / *d.A, 0) {
				ratio = fmt.Sprintf("%.2f", *d.B / *d.A)
			}
			tb.Add(d.Case, d.Name, measureText(d.A, d.Unit), measureText(d.B, d.Unit), ratio)
		}
		return tb
	})
}

func (a *app) completeReports() ([]cobra.Completion, cobra.ShellCompDirective) {
	kept, err := a.keptReports()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, k := range kept {
		names = append(names, k.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

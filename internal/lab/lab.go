// Package lab runs experiments on the real pipeline. Each experiment states a claim,
// measures, and judges itself. This package owns what all experiments share: the lock, the
// temporary directory, the report, the plot and the verdict. It imports no experiment and
// writes nothing to the terminal; cmd/weir does that.
//
// An experiment never passes because nothing happened: where the load was not
// reached or the fault did not fire, its verdict is Inconclusive.
//
// # How to write a lab, or move one into a package of its own
//
//  1. Make a package below internal/lab with a struct of its settings. Tags make the flags,
//     the bounds, the presets, the page's form and the JSON of the report: see package
//     setting. Embed kit.FromLive where events can come from a live stream. Write no checks
//     that a tag can make.
//  2. Write help.md beside it, with what people read: the title, the long text, and the
//     sections Claim, Settings and Examples. Define says how.
//  3. Embed the text and register: var Lab = lab.Define[Settings]("name", help).
//  4. Give the settings a method Run, which takes a Bench and fills in a Report. Package kit
//     has brokers, Redis, upstream, clients, faults, and the comparison of what topics hold with
//     what was written. What is opened with a Bench ends with it.
//  5. Add the methods that it needs, and no others: Check for what bounds cannot say, Derived
//     for figures that follow from the settings, SetTopic and SetProgram for what cmd/weir
//     passes in.
//  6. Add it to the list of labs in cmd/weir. Its command, its form on the page and its line
//     in weir lab all follow from that.
//  7. Write docs/labs/NAME.md, and a test that breaks the lab in each way of --break.
package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab/record"
)

// Report is all that an experiment found out, while it is being filled in.
type Report struct {
	record.Report

	live *Live // nil outside Perform
}

// Of returns what adds to the report what was found out about one case.
func (r *Report) Of(name string) Case { return Case{r, name} }

// Case is a part of an experiment, such as one policy, in a report.
type Case struct {
	*Report
	Name string
}

// Measure adds a figure.
func (c Case) Measure(name string, value float64, unit string) {
	m := record.Measure{Case: c.Name, Name: name, Value: value, Unit: unit}
	c.Measures = append(c.Measures, m)
	c.live.report(record.Update{Measure: &m})
}

// Check adds a part of the claim that holds or does not.
func (c Case) Check(claim, want, got string, ok bool) {
	verdict := record.DoesNotHold
	if ok {
		verdict = record.Holds
	}
	c.add(claim, want, got, verdict)
}

// Same adds a part of the claim that holds where the text of what was measured, which is
// formatted, is exactly the expected one.
func (c Case) Same(claim, want, format string, args ...any) {
	got := fmt.Sprintf(format, args...)
	c.Check(claim, want, got, got == want)
}

// Needs returns whether a condition is met without which the case proves nothing. One that is not
// met is in the report, and makes it inconclusive.
func (c Case) Needs(met bool, condition, want, format string, args ...any) bool {
	if !met {
		c.add(condition, want, fmt.Sprintf(format, args...), record.Inconclusive)
	}
	return met
}

func (c Case) add(claim, want, got string, verdict record.Verdict) {
	x := record.Check{Case: c.Name, Claim: claim, Want: want, Got: got, Verdict: verdict}
	c.Checks = append(c.Checks, x)
	c.live.report(record.Update{Check: &x})
}

// Conclude makes the verdict of the checks: one that does not hold decides, then one
// that is inconclusive. Without any check nothing was shown.
func (r *Report) Conclude() {
	if len(r.Checks) == 0 {
		r.Verdict, r.Reason = record.Inconclusive, "nothing was checked"
		return
	}
	by := map[record.Verdict][]record.Check{}
	for _, c := range r.Checks {
		by[c.Verdict] = append(by[c.Verdict], c)
	}
	for _, v := range []record.Verdict{record.DoesNotHold, record.Inconclusive} {
		if n := len(by[v]); n > 0 {
			c := by[v][0]
			r.Verdict, r.Reason = v, fmt.Sprintf("%s: %s: expected %s, measured %s", c.Case, c.Claim, c.Want, c.Got)
			if n > 1 {
				r.Reason += fmt.Sprintf(" (and %d more)", n-1)
			}
			return
		}
	}
	r.Verdict, r.Reason = record.Holds, fmt.Sprintf("all %d checks agree with what was measured", len(r.Checks))
}

// Bench is what an experiment works with: a Config without anything that is nil, whose Dir is empty,
// the experiment's own, and gone afterwards. While the experiment runs, it reports its progress
// through Begin, Point, Mark and Tanks; the lines and marks become part of its report. With
// Offer it offers settings that a user can change. The web UI draws and changes them live.
type Bench struct {
	Config
	ends []func() error
}

// Cleanup adds what is called when the experiment is over, or the part of it that the bench is for:
// the last one first, whatever the experiment returned. Its error is the experiment's.
func (b *Bench) Cleanup(end func() error) { b.ends = append(b.ends, end) }

// close calls what Cleanup was given.
func (b *Bench) close() (err error) {
	for _, end := range slices.Backward(b.ends) {
		err = errors.Join(err, end())
	}
	return err
}

// Part carries out a part of an experiment, such as a case with brokers of its own, with a bench for
// it alone: its directory is removed and what it has given to Cleanup is called before Part returns.
func Part[T any](b *Bench, do func(b *Bench) (T, error)) (out T, err error) {
	own := &Bench{Config: b.Config}
	if own.Dir, err = os.MkdirTemp(b.Dir, "part-"); err != nil {
		return out, fmt.Errorf("make directory: %w", err)
	}
	out, err = do(own)
	err = errors.Join(err, own.close())
	_ = os.RemoveAll(own.Dir) // the experiment's end removes what stays
	return out, err
}

// What a report says of where its events came from.
const (
	SourceLive      = "live"
	SourceSimulated = "simulated"
)

// Config says where and how experiments run.
type Config struct {
	// Dir holds the reports of all labs, created where missing. One experiment at a
	// time works in it.
	Dir     string
	Version string
	// Log and Progress may be nil. Progress shows one line of what is going on.
	Log      *slog.Logger
	Progress func(line string)
	// Engine is one of cluster.Engines, empty means embedded: the brokers of the experiments
	// that know both.
	Engine string
	// KafkaCache holds the jars of Apache Kafka, KafkaHome is an unpacked distribution
	// to use instead: see cluster.Config.
	KafkaCache, KafkaHome string
	// Live reports the progress and accepts changes of settings; nil when nothing listens.
	Live *Live
}

// BusyError says that another experiment works in the directory.
type BusyError struct{ Dir, Who string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another lab is running (%s): two at once would disturb each other's measurements", e.Who)
}

// workPrefix begins the names of temporary directories.
const workPrefix = ".work-"

// Perform runs an experiment and keeps its report: report.json and plot.svg in the
// directory that it returns. Without a report (an error, or ctx ended) nothing is
// left behind.
func Perform(ctx context.Context, cfg Config, e *Experiment) (r *Report, dir string, err error) {
	if err := e.Check(); err != nil {
		return nil, "", err
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	cfg.Live = cmp.Or(cfg.Live, NewLive(nil))
	cfg.Engine = cmp.Or(cfg.Engine, cluster.Embedded)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make labs directory: %w", err)
	}
	unlock, err := lock(cfg.Dir, e.Name)
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	defer func() { cfg.Live.finish(r, dir, err) }()
	if err := sweep(ctx, cfg.Log, cfg.Dir); err != nil {
		return nil, "", err
	}
	work, err := os.MkdirTemp(cfg.Dir, workPrefix)
	if err != nil {
		return nil, "", fmt.Errorf("make temporary directory: %w", err)
	}
	defer remove(cfg.Log, work)
	live := cfg.Live
	r = &Report{live: live, Report: record.Report{Lab: e.Name, Engine: cfg.Engine, Source: SourceSimulated, Version: cfg.Version,
		Started: time.Now().UTC(), Claim: e.Claim, Settings: e.Values()}}
	if x, ok := e.settings.(interface{ Source() string }); ok {
		r.Source = x.Source()
	}
	live.report(record.Update{Source: r.Source})
	b := &Bench{Config: cfg}
	b.Dir = work
	b.Progress = func(line string) {
		if cfg.Progress != nil {
			cfg.Progress(line)
		}
		live.report(record.Update{Progress: line})
	}
	err = errors.Join(e.settings.Run(ctx, b, r), b.close())
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return nil, "", err
	}
	r.Seconds = time.Since(r.Started).Seconds()
	live.mu.Lock()
	r.Lines, r.Marks = live.picture.Merge(r.Lines), live.picture.Marks
	live.mu.Unlock()
	r.Conclude()
	if dir, err = keep(cfg.Dir, r); err != nil {
		return nil, "", err
	}
	return r, dir, nil
}

// remove removes a lab's temporary directory. What it cannot remove is no reason to lose a report:
// on Windows a virus scanner may have a file open. The next lab tries again.
func remove(log *slog.Logger, dir string) {
	if err := os.RemoveAll(dir); err != nil {
		log.Warn("the lab's temporary directory is still there; the next lab removes it, or delete it by hand", "dir", dir, "err", err)
	}
}

// sweep removes what an experiment that was killed has left. The lock is held.
func sweep(ctx context.Context, log *slog.Logger, dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, workPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for old directories: %w", err)
	}
	for _, d := range old {
		for _, below := range []string{"", "*", "*/*"} { // a stack has a directory of its own, a weir one for each mode
			dirs, err := filepath.Glob(filepath.Join(d, below))
			for _, dir := range dirs {
				err = errors.Join(err, cluster.StopOrphans(ctx, dir, nil)) // processes of Apache Kafka
			}
			if err != nil {
				return fmt.Errorf("stop what a killed lab left: %w", err)
			}
		}
		remove(log, d)
	}
	return nil
}

// keep writes the report and its plot, whole or not at all.
func keep(dir string, r *Report) (_ string, err error) {
	tmp, err := os.MkdirTemp(dir, workPrefix)
	if err != nil {
		return "", fmt.Errorf("make report directory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp) // err says what went wrong
		}
	}()
	body, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", fmt.Errorf("encode report: %w", err)
	}
	svg, err := Plot(r)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(tmp, record.ReportName), append(body, '\n'), 0o600),
		os.WriteFile(filepath.Join(tmp, record.PlotName), svg, 0o600)); err != nil {
		return "", fmt.Errorf("write report: %w", err)
	}
	final := filepath.Join(dir, r.Lab+"-"+r.Started.Format("20060102T150405.000000Z"))
	if err := os.Rename(tmp, final); err != nil {
		return "", fmt.Errorf("keep report: %w", err)
	}
	return final, nil
}

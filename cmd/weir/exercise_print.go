package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/exercise/judge"
	"github.com/weir-project/weir/internal/visible"
)

// printExercise prints a report as text.
func (a *app) printExercise(r *exercise.Report) error {
	w := a.stdout
	for _, line := range wrap(strings.ToUpper(string(r.Verdict))+": "+r.Headline, textWidth) {
		fmt.Fprintln(w, visible.Text(line))
	}
	for _, e := range r.Evidence {
		fmt.Fprintf(w, "  %s\n", visible.Text(evidenceText(e)))
	}
	for _, part := range []struct{ title, text string }{{"Why: ", r.Why}, {"Hint: ", r.Hint}} {
		if part.text == "" {
			continue
		}
		fmt.Fprintln(w)
		for _, line := range wrap(part.title+part.text, textWidth) {
			fmt.Fprintln(w, visible.Text(line))
		}
	}
	fmt.Fprintln(w)
	for _, m := range r.Timeline.Marks {
		fmt.Fprintf(w, "%7.1f s  %-8s %s\n", m.T, m.What, visible.Text(m.Detail))
	}
	if len(r.Checks) > 0 {
		fmt.Fprintln(w)
		tb := cli.TableOf(r.Checks, func(c exercise.Check) []any {
			ok := "yes"
			if !c.OK {
				ok = "NO"
			}
			return []any{ok, c.Claim, c.Want, c.Got}
		}, "HOLDS", "CLAIM", "EXPECTED", "SEEN")
		if err := tb.Write(w); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	if r.Verdict != exercise.Passed && r.Output != "" {
		lines := strings.Split(r.Output, "\n")
		fmt.Fprintln(w, "\nThe last lines that the program printed:")
		for _, l := range lines[max(0, len(lines)-15):] {
			fmt.Fprintf(w, "  %s\n", visible.Text(l))
		}
	}
	return nil
}

// evidenceText is evidence in one line.
func evidenceText(e exercise.Evidence) string {
	text := e.What
	if e.Topic != "" {
		text += ": topic " + e.Topic
	}
	if e.Partition >= 0 {
		text += fmt.Sprintf(", partition %d", e.Partition)
	}
	if e.Offset >= 0 {
		text += fmt.Sprintf(", offset %d", e.Offset)
	}
	if e.Key != "" {
		text += ", key " + e.Key
	}
	if e.At != "" {
		text += ", at " + e.At
	}
	return text
}

// grade is the result of one submission.
type grade struct {
	Submission string           `json:"submission"`
	Exercise   string           `json:"exercise"`
	Verdict    exercise.Verdict `json:"verdict,omitempty"`
	Seconds    float64          `json:"seconds"`
	Headline   string           `json:"headline,omitempty"`
	Hint       string           `json:"hint,omitempty"`
	// Error says why there is no verdict.
	Error string `json:"error,omitempty"`
}

// checkAll grades a directory of submissions, one after the other.
func (a *app) checkAll(ctx context.Context, dir string, f *checkFlags) error {
	all, err := judge.Submissions(dir)
	if err != nil {
		return cli.UsageError("name the directory that holds the submissions", "%w", err)
	}
	if len(all) == 0 {
		return cli.UsageError("for example submissions/ada/count/main.py, or submissions/ada/count.py",
			"no submission was found in %s: a submission is a directory or .py file that has the name of an exercise", visible.Text(dir))
	}
	grades := make([]grade, 0, len(all))
	var stopped error
	for i, s := range all {
		a.stderr.Linef("submission %d of %d: %s", i+1, len(all), visible.Text(s.Name))
		cfg, err := f.config(a, s.Exercise)
		if err != nil {
			return err
		}
		r, err := a.check(ctx, cfg, s.Path)
		if ctx.Err() != nil {
			stopped = &cli.Error{Code: cli.ExitUnclear, Err: fmt.Errorf("stopped after %d of %d submissions", len(grades), len(all))}
			break
		}
		g := grade{Submission: s.Name, Exercise: s.Exercise}
		if err != nil {
			g.Error = cli.OneLine(err.Error())
		} else {
			g.Verdict, g.Seconds, g.Headline, g.Hint = r.Verdict, r.Seconds, r.Headline, r.Hint
		}
		grades = append(grades, g)
	}
	err = writeRows(a, grades, grades, func(g grade) []any {
		if g.Error != "" {
			return []any{visible.Text(g.Submission), g.Exercise, "not checked", "", g.Error}
		}
		return []any{visible.Text(g.Submission), g.Exercise, string(g.Verdict), fmt.Sprintf("%.0f s", g.Seconds), g.Headline}
	}, "SUBMISSION", "EXERCISE", "VERDICT", ">TOOK", "RESULT")
	return errors.Join(err, cmp.Or(stopped, worstGrade(grades)))
}

// worstGrade makes one error of all grades, nil where every submission passed.
func worstGrade(grades []grade) error {
	is := func(v exercise.Verdict) func(grade) bool {
		return func(g grade) bool { return g.Error == "" && g.Verdict == v }
	}
	switch {
	case slices.ContainsFunc(grades, is(exercise.Wrong)):
		return &cli.Error{Code: cli.ExitFailed, Err: errors.New("not every submission passed"), Hint: "the reasons are in the table"}
	case slices.ContainsFunc(grades, func(g grade) bool { return g.Error != "" }):
		return cli.RuntimeError("the reasons are in the table", "not every submission could be checked")
	case slices.ContainsFunc(grades, is(exercise.Inconclusive)):
		return &cli.Error{Code: cli.ExitUnclear, Err: errors.New("not every submission could be decided"), Hint: "the reasons are in the table"}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/exercise/judge"
	"github.com/weir-project/weir/internal/markdown"
	"github.com/weir-project/weir/internal/visible"
)

// textWidth is how wide instructions are on a terminal.
const textWidth = 92

func newExercise(a *app) *cobra.Command {
	cmd := a.command("exercise", 0, nil, nil)
	output := func(cmd *cobra.Command) { a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON) }
	cmd.AddCommand(
		a.command("exercise list", useData, output, func(context.Context, []string) error { return a.listExercises() }),
		a.command("exercise show", useData, output, func(_ context.Context, args []string) error { return a.showExercise(args[0]) }),
		newExerciseStart(a), newExerciseCheck(a))
	return cmd
}

// exercisesPath is the directory of the kept reports.
func (a *app) exercisesPath() (string, error) {
	data, err := a.data()
	return filepath.Join(data, exercise.Dir), err
}

func exerciseNames() (names []string) {
	for _, e := range exercise.List() {
		names = append(names, e.Name)
	}
	return names
}

func (a *app) listExercises() error {
	dir, err := a.exercisesPath()
	if err != nil {
		return err
	}
	rows := exercise.Listing(dir)
	all := struct {
		Exercises []exercise.Listed `json:"exercises"`
	}{rows}
	return writeRows(a, all, rows, func(x exercise.Listed) []any {
		last := "-"
		if x.Last != nil {
			last = string(x.Last.Verdict) + " " + cli.AgoText(x.Last.At, time.Now())
		}
		return []any{x.Name, x.Title, fmt.Sprintf("%d min", x.Minutes), last}
	}, "EXERCISE", "WHAT", ">TIME", "LAST")
}

// exerciseOf finds the exercise that an argument names.
func exerciseOf(name string) (exercise.Info, error) {
	e, err := exercise.Find(name)
	if err != nil {
		return e, cli.UsageError("list them with: weir exercise list", "%w", err)
	}
	return e, nil
}

func (a *app) showExercise(name string) error {
	e, err := exerciseOf(name)
	if err != nil {
		return err
	}
	dir, err := a.exercisesPath()
	if err != nil {
		return err
	}
	last, err := exercise.Kept(dir, name)
	if err != nil {
		return err
	}
	if a.output == cli.FormatJSON {
		return cli.WriteJSON(a.stdout, struct {
			exercise.Info
			Text string           `json:"text"`
			Last *exercise.Report `json:"last"`
		}{e, exercise.Text(name), last})
	}
	if _, err := fmt.Fprint(a.stdout, markdown.Terminal(exercise.Nodes(name), textWidth)); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if last == nil {
		a.stderr.Linef("begin with: weir exercise start %s --lang python", name)
		return nil
	}
	fmt.Fprintf(a.stdout, "\nThe last check, %s:\n\n", cli.AgoText(last.Started, time.Now()))
	return a.printExercise(last)
}

func newExerciseStart(a *app) *cobra.Command {
	var lang, dir string
	return a.command("exercise start", 0, func(cmd *cobra.Command) {
		choiceFlag(cmd, &lang, "lang", "", exercise.Languages[0], "`LANGUAGE` of the program: "+strings.Join(exercise.Languages, ", "), exercise.Languages)
		cmd.Flags().StringVar(&dir, "dir", "", "`DIR` to write into (default: the name of the exercise)")
		_ = cmd.MarkFlagDirname("dir")
		noEnv(cmd.Flags(), "lang")
		noEnv(cmd.Flags(), "dir")
	}, func(_ context.Context, args []string) error {
		if dir == "" {
			dir = args[0]
		}
		return a.startExercise(args[0], lang, dir)
	})
}

// startExercise writes a starter into a directory.
func (a *app) startExercise(name, lang, dir string) error {
	if _, err := exerciseOf(name); err != nil {
		return err
	}
	starter, err := exercise.Starter(name, lang)
	if err != nil {
		return cli.UsageError("choose one of "+strings.Join(exercise.Languages, ", ")+" with --lang", "%w", err)
	}
	for _, f := range starter {
		if path := filepath.Join(dir, filepath.FromSlash(f.Name)); exists(path) {
			return cli.UsageError("choose another directory with --dir", "%s exists already, and is not replaced", visible.Text(path))
		}
	}
	for _, f := range starter {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("write the starter: %w", err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return fmt.Errorf("write the starter: %w", err)
		}
		fmt.Fprintln(a.stdout, visible.Text(path))
	}
	a.stderr.Linef("read %s, then: weir exercise check %s --dir %s", visible.Text(filepath.Join(dir, "EXERCISE.md")), name, visible.ShellWord(dir))
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checkFlags are the flags of weir exercise check.
type checkFlags struct {
	dir     string
	timeout time.Duration
	memory  int64
	free    bool
}

func newExerciseCheck(a *app) *cobra.Command {
	var f checkFlags
	var cmd *cobra.Command
	cmd = a.command("exercise check", useData|useLog, func(cmd *cobra.Command) {
		fl := cmd.Flags()
		fl.StringVar(&f.dir, "dir", "", "`DIR` with the program, whose start command weir finds")
		_ = cmd.MarkFlagDirname("dir")
		fl.DurationVar(&f.timeout, "timeout", judge.DefaultLimit, "`TIME` that a check may take")
		fl.Int64Var(&f.memory, "memory", judge.DefaultMemory>>20, "`MIB` of memory that the program and its children may use")
		fl.BoolVar(&f.free, "free-ports", false, "use free ports although the default ones are free")
		for _, name := range []string{"dir", "timeout", "memory", "free-ports"} {
			noEnv(fl, name)
		}
		a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON)
	}, func(ctx context.Context, args []string) error {
		name, command := args[0], args[1:]
		if name == "all" {
			if len(command) != 1 || f.dir != "" {
				return cli.UsageError("for example: weir exercise check all submissions", "check all takes the directory of the submissions, and nothing else")
			}
			return a.checkAll(ctx, command[0], &f)
		}
		if dash := cmd.ArgsLenAtDash(); len(command) > 0 && dash != 1 {
			return cli.UsageError(fmt.Sprintf("for example: weir exercise check %s -- python3 main.py", visible.Text(name)), "the command of the program stands behind --")
		}
		return a.checkOne(ctx, name, command, &f)
	})
	cmd.Args = cobra.MinimumNArgs(1)
	return cmd
}

// config is what every check has in common.
func (f *checkFlags) config(a *app, name string) (judge.Config, error) {
	if f.timeout <= 0 || f.memory <= 0 {
		return judge.Config{}, cli.UsageError("give positive numbers", "--timeout and --memory are limits")
	}
	self, err := os.Executable()
	if err != nil {
		return judge.Config{}, fmt.Errorf("find this program: %w", err)
	}
	environ := make([]string, 0, len(a.env))
	for _, k := range sortedKeys(a.env) {
		environ = append(environ, k+"="+a.env[k])
	}
	return judge.Config{Exercise: name, Environ: environ, Self: self, Limit: f.timeout, Memory: f.memory << 20, FreePorts: f.free, Log: a.log}, nil
}

// checkOne checks one program, keeps its report, and makes the verdict the exit code.
func (a *app) checkOne(ctx context.Context, name string, command []string, f *checkFlags) error {
	if _, err := exerciseOf(name); err != nil {
		return err
	}
	if (len(command) > 0) == (f.dir != "") {
		return cli.UsageError(fmt.Sprintf("for example: weir exercise check %s -- python3 main.py, or with --dir %s", name, name),
			"name the program once: its command behind --, or its directory with --dir")
	}
	cfg, err := f.config(a, name)
	if err != nil {
		return err
	}
	cfg.Args = command
	dir, err := a.exercisesPath()
	if err != nil {
		return err
	}
	r, err := a.check(ctx, cfg, f.dir)
	if err != nil {
		return err
	}
	kept := exercise.Keep(dir, r)
	if a.output == cli.FormatJSON {
		err = cli.WriteJSON(a.stdout, r)
	} else {
		err = a.printExercise(r)
	}
	return errors.Join(err, kept, verdictError(r))
}

// check runs a check and shows what is going on.
func (a *app) check(ctx context.Context, cfg judge.Config, path string) (*exercise.Report, error) {
	prog := cli.NewProgress(a.stderr)
	cfg.Progress = prog.Show
	var r *exercise.Report
	var err error
	if path != "" {
		r, err = judge.CheckDir(ctx, cfg, path)
	} else {
		r, err = judge.Run(ctx, cfg)
	}
	prog.Done()
	return r, checkError(ctx, err)
}

// checkError adds what to do to the error of a check that made no report.
func checkError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return &cli.Error{Code: cli.ExitUnclear, Err: errors.New("stopped before there was a verdict; the program and all its children were stopped")}
	}
	if judge.IsCommand(err) {
		return cli.UsageError("give the command as you type it in a terminal, behind --", "%w", err)
	}
	return err
}

// verdictError makes the exit code of a verdict.
func verdictError(r *exercise.Report) error {
	switch r.Verdict {
	case exercise.Passed:
		return nil
	case exercise.Wrong:
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the exercise %s is not passed", r.Exercise), Hint: r.Hint}
	}
	return &cli.Error{Code: cli.ExitUnclear, Err: fmt.Errorf("the check of %s is inconclusive", r.Exercise), Hint: r.Hint}
}

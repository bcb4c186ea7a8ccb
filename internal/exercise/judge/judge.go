// Package judge runs a learner's program in a private cluster with a simulated stream whose
// truth is known, does to it what production would, and says what is wrong with it. It looks at
// topics, groups and Redis through clients of its own. It trusts nothing that the program prints.
//
// A trial is what is done for one exercise. Its function returns nil where the program passed,
// a *Finding for the first thing that is wrong, an *Unclear where that cannot be decided, and any
// other error where the check itself failed.
package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/exercise/program"
	"github.com/weir-project/weir/internal/visible"
)

// Limits of a check, unless its Config has others.
const (
	DefaultLimit  = 5 * time.Minute
	DefaultMemory = 1 << 30 // bytes of the program and all its children
)

// Config says which program is checked, and how.
type Config struct {
	Exercise string
	// Args are the command and its arguments; Dir is where it runs, empty for this directory.
	Args []string
	Dir  string
	// Environ is the environment that the program gets besides the addresses.
	Environ []string
	// Self is the path of this binary.
	Self string
	// Limit bounds the check's time and Memory the program's bytes; 0 means the default.
	Limit  time.Duration
	Memory int64
	// FreePorts leaves the default ports alone, even where they are free.
	FreePorts bool
	// Log may be nil. Progress gets a line about what is going on; it may be nil.
	Log      *slog.Logger
	Progress func(string)
}

// trial is what is done with the program of an exercise.
type trial func(ctx context.Context, b *Bench) error

// trials are the exercises that can be checked.
var trials = map[string]trial{
	"count":   count,
	"produce": produce,
	"share":   share,
	"survive": func(ctx context.Context, b *Bench) error { return crashes(ctx, b, false) },
	"once":    func(ctx context.Context, b *Bench) error { return crashes(ctx, b, true) },
	"poison":  poison,
	"keep-up": keepUp,
	"resume":  resume,
	"window":  window,
}

// Finding is the first thing that is wrong with a program.
type Finding struct { //nolint:errname // a result: it is an error so that a trial ends with it
	Headline string
	Evidence []exercise.Evidence
	Why      string // how a program comes to do that
	Hint     string // what to look at
}

func (f *Finding) Error() string { return f.Headline }

// firstOf is the first thing that is wrong with something, nil for nothing.
func firstOf[T any](seen T, looks ...func(T) *Finding) *Finding {
	for _, look := range looks {
		if f := look(seen); f != nil {
			return f
		}
	}
	return nil
}

// beganAtEnd is for a program that has none of the events that were in the topic before it started.
func beganAtEnd(events int64, what string) *Finding {
	return &Finding{
		Headline: fmt.Sprintf("the program counted none of the %d %s that were in the topic before it started", events, what),
		Why:      "A group without a committed offset starts where auto.offset.reset says. Its default is latest: the end of the topic.",
		Hint:     "Set auto.offset.reset to earliest (Go: kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())).",
	}
}

// Unclear says why it cannot be decided whether a program is right.
type Unclear struct { //nolint:errname // a result, as Finding is
	Reason, Hint string
}

func (u *Unclear) Error() string { return u.Reason }

// Run checks a program and returns the report. It is an error where the program cannot be
// started (a *program.NotFoundError), where ctx ends, and where the check itself fails.
func Run(ctx context.Context, cfg Config) (_ *exercise.Report, err error) {
	if _, err := exercise.Find(cfg.Exercise); err != nil {
		return nil, err
	}
	try, ok := trials[cfg.Exercise]
	if !ok {
		return nil, fmt.Errorf("the exercise %s cannot be checked by this version", cfg.Exercise)
	}
	if _, err := program.Find(cfg.Args[0]); err != nil && cfg.Dir == "" {
		return nil, err
	}
	cfg.Limit, cfg.Memory = cmp.Or(cfg.Limit, DefaultLimit), cmp.Or(cfg.Memory, DefaultMemory)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	cfg.Progress("starting a private cluster and Redis")
	b, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Limit, errLimit)
	defer cancel()
	err = b.perform(limited, try)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(context.Cause(limited), errLimit) && err != nil && !isVerdict(err) {
		err = &Unclear{Reason: fmt.Sprintf("the check took longer than its limit of %v", cfg.Limit),
			Hint: "look at the output and the timeline, or give it more time with --timeout"}
	}
	return b.report(err)
}

var errLimit = errors.New("the limit of the check is over")

func isVerdict(err error) bool {
	_, wrong := errors.AsType[*Finding](err)
	_, unclear := errors.AsType[*Unclear](err)
	return wrong || unclear
}

// perform runs a trial and ends all copies of the program.
func (b *Bench) perform(ctx context.Context, try trial) error {
	defer b.closeCopies()
	err := try(ctx, b)
	if missing, ok := errors.AsType[*program.NotFoundError](err); ok {
		return missing
	}
	return err
}

// report makes the report of a trial that returned err.
func (b *Bench) report(err error) (*exercise.Report, error) {
	r := &exercise.Report{Exercise: b.cfg.Exercise, Verdict: exercise.Passed, Command: visible.Text(strings.Join(b.cfg.Args, " ")),
		Started: b.started, Seconds: b.now(), Evidence: []exercise.Evidence{}, Output: b.output()}
	r.Checks, r.Timeline = b.course()
	if f, ok := errors.AsType[*Finding](err); ok {
		r.Verdict, r.Headline, r.Why, r.Hint = exercise.Wrong, f.Headline, f.Why, f.Hint
		r.Evidence = append(r.Evidence, f.Evidence...)
		return r, nil
	}
	if u, ok := errors.AsType[*Unclear](err); ok {
		r.Verdict, r.Headline, r.Hint = exercise.Inconclusive, u.Reason, u.Hint
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check the exercise %s: %w", b.cfg.Exercise, err)
	}
	r.Headline = b.passed
	if r.Headline == "" {
		r.Headline = fmt.Sprintf("all %d checks hold", len(r.Checks))
	}
	return r, nil
}

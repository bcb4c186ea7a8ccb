package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/node"
)

// labFlags are the flags that the command of every lab has.
type labFlags struct {
	short  bool
	engine string
	source streamFlags
	// presets are what a name, or --short, sets where the user does not: by flag.
	presets map[string]map[string]func()
}

// shortForm is the preset that --short means.
const shortForm = "short"

// add adds the flags that every lab has to its own, which come first: about says what the
// short form is, breaks lists the ways to break it, and choices what some flags take.
func (f *labFlags) add(a *app, cmd *cobra.Command, about string, breakIt *string, breaks []string, choices map[string][]string) {
	fl := cmd.Flags()
	fl.BoolVar(&f.short, "short", false, about)
	fl.StringVar(breakIt, "break", "", "`HOW` to break the lab on purpose, so that the claim must fail: "+strings.Join(breaks, ", "))
	for name, values := range choices {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("break", cobra.FixedCompletions(breaks, cobra.ShellCompDirectiveNoFileComp))
	f.addCommon(a, cmd)
	if a.labPresets == nil {
		a.labPresets = map[string]map[string]map[string]func(){}
	}
	a.labPresets[cmd.Name()] = f.presets
}

// addCommon adds the flags that are the same for every lab, which come last.
func (f *labFlags) addCommon(a *app, cmd *cobra.Command) {
	fl := cmd.Flags()
	engineFlag(cmd, &f.engine)
	fl.VisitAll(func(x *pflag.Flag) { // WEIR_RATE is about the streams that stay
		if !strings.HasPrefix(x.Name, "kafka") {
			noEnv(fl, x.Name)
		}
	})
	a.labFlags(cmd)
}

// addSource adds the flags of a lab that takes a live stream, before add.
func (f *labFlags) addSource(cmd *cobra.Command) {
	f.source.modeFlag(cmd, node.Simulated)
	f.source.blueskyFlags(cmd.Flags())
}

// upstream decides on the live stream, nil for the simulated one. made are the flags of
// simulated streams, which a live one contradicts.
func (f *labFlags) upstream(ctx context.Context, a *app, cmd *cobra.Command, made ...string) (*kit.Upstream, error) {
	if !cmd.Flags().Changed("source") && f.source.Named() {
		f.source.Mode = node.Live
	}
	if err := f.source.CheckMode(); err != nil {
		return nil, err
	}
	mode, why, err := a.decideMode(ctx, &f.source)
	if err != nil {
		return nil, err
	}
	if why != "" {
		a.stderr.Linef("%s: the stream is simulated", why)
	}
	if mode == node.Simulated {
		return nil, nil
	}
	for _, name := range made {
		if cmd.Flags().Changed(name) && f.source.Mode != node.Auto {
			return nil, cli.UsageError("leave out one of them: this setting applies to simulated events only", "--%s and a live stream contradict each other", name)
		}
	}
	return &kit.Upstream{URLs: f.source.BlueskyURLs, Collections: f.source.Collections}, nil
}

// apply applies a preset, but for the flags that the user gave.
func (f *labFlags) apply(cmd *cobra.Command, preset string) {
	for name, set := range f.presets[preset] {
		if !cmd.Flags().Changed(name) {
			set()
		}
	}
}

// applyShort applies the short form where it was asked for.
func (f *labFlags) applyShort(cmd *cobra.Command) {
	if f.short {
		f.apply(cmd, shortForm)
	}
}

// Annotations of a flag: the least and the most that it takes, as the flag is written.
const (
	labLeast = "least"
	labMost  = "most"
)

// between notes what a flag takes at least and at most. The lab itself refuses the rest.
func between[T int | int64 | float64 | time.Duration](fl *pflag.FlagSet, name string, least, most T) {
	for key, v := range map[string]T{labLeast: least, labMost: most} {
		text := fmt.Sprint(v)
		if x, ok := any(v).(float64); ok {
			text = strconv.FormatFloat(x, 'f', -1, 64)
		}
		_ = fl.SetAnnotation(name, key, []string{text}) // fails only for a flag that does not exist
	}
}

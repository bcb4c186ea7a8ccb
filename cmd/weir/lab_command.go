package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/setting"
	"github.com/weir-project/weir/internal/node"
)

// What some labs take beside their settings: they have these methods.
type (
	// liveLab takes its events from a live stream; nil is the simulated one.
	liveLab interface{ SetLive(u *kit.Upstream) }
	// wikipediaLab takes Wikipedia's events, too, where its events are live.
	wikipediaLab interface{ SetWikipedia(url string) }
	// topicLab takes its records from a topic.
	topicLab interface {
		SetTopic(cfg kafka.Config, topic string)
	}
	// programLab starts this program.
	programLab interface{ SetProgram(path string) }
)

// labEnd ends what the help of every lab says.
const labEnd = `
The page docs/labs/%s.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

// labFlags are the flags of a lab that are not its settings.
type labFlags struct {
	short         bool
	engine, topic string
	source        streamFlags
}

// labCommand makes the command of a lab: its own flags come from its settings.
func labCommand(a *app, l *lab.Lab) *cobra.Command {
	s := l.Settings()
	fields := setting.Fields(s)
	var f labFlags
	cmd := &cobra.Command{
		Use:     l.Name,
		Short:   l.Title,
		Long:    l.Long + strings.ReplaceAll(labEnd, "%s", l.Name),
		Example: l.Examples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applyPreset(fields, f.short); err != nil {
				return err
			}
			if err := f.provide(cmd.Context(), a, cmd, s, fields); err != nil {
				return err
			}
			return a.performLabOn(cmd.Context(), l.With(s), f.engine)
		},
	}
	fl := cmd.Flags()
	add := func(x *setting.Field) {
		fl.Var(x, x.Flag, l.Usage[x.Flag])
		if x.Repeat || x.Default == "0s" { // pflag knows which defaults go without saying, but for those
			fl.Lookup(x.Flag).DefValue = ""
		}
		if len(x.Choices) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(x.Flag, cobra.FixedCompletions(x.Choices, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	last := len(fields) - 1 // how to break it
	for _, x := range fields[:last] {
		add(x)
	}
	if _, ok := s.(liveLab); ok {
		f.source.modeFlag(cmd, node.Simulated)
		f.source.blueskyFlags(fl)
	}
	if _, ok := s.(wikipediaLab); ok {
		f.source.wikipediaFlag(fl)
	}
	if _, ok := s.(topicLab); ok {
		fl.StringVar(&f.topic, "from-topic", "", "`TOPIC` whose newest records are written instead of simulated ones: of the running weir, or of --kafka")
		fl.StringSliceVar(&a.kafka, "kafka", nil, "`ADDRS` of Kafka brokers that have --from-topic, as host:port,host:port (default: the running weir's)")
		fl.StringVar(&a.kafkaSettings, "kafka-config", "", "`FILE` with security.protocol and what belongs to it, as Kafka's own clients read it")
		_ = cmd.MarkFlagFilename("kafka-config", "properties", "conf")
	}
	fl.BoolVar(&f.short, "short", false, l.Usage["short"])
	add(fields[last])
	engineFlag(cmd, &f.engine)
	fl.VisitAll(func(x *pflag.Flag) { // WEIR_RATE is about the streams that stay
		if !strings.HasPrefix(x.Name, "kafka") {
			noEnv(fl, x.Name)
		}
	})
	a.labOutput(cmd)
	return cmd
}

// applyPreset applies the preset that --short or --preset names.
func applyPreset(fields []*setting.Field, short bool) error {
	name := ""
	if i := slices.IndexFunc(fields, func(f *setting.Field) bool { return f.Flag == "preset" }); i >= 0 {
		name = fields[i].String()
		if short && fields[i].IsSet() && name != setting.Short {
			return cli.UsageError("leave out one of them: --short is --preset short", "--preset %s and --short contradict each other", name)
		}
	}
	if short {
		name = setting.Short
	}
	setting.Apply(fields, name)
	return nil
}

// provide passes a lab what it takes beside its settings.
func (f *labFlags) provide(ctx context.Context, a *app, cmd *cobra.Command, s lab.Settings, fields []*setting.Field) error {
	if x, ok := s.(liveLab); ok {
		u, err := f.upstream(ctx, a, cmd, fields)
		if err != nil {
			return err
		}
		x.SetLive(u)
	}
	if x, ok := s.(wikipediaLab); ok {
		x.SetWikipedia(f.source.WikipediaURL)
	}
	if x, ok := s.(topicLab); ok {
		if err := a.labTopic(x, f.topic); err != nil {
			return err
		}
	}
	return ownProgram(s)
}

// ownProgram makes this program the one that a lab starts.
func ownProgram(s lab.Settings) error {
	x, ok := s.(programLab)
	if !ok {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start: %w", err)
	}
	x.SetProgram(self)
	return nil
}

// upstream decides on the live stream, nil for the simulated one. A live one contradicts
// settings of simulated streams.
func (f *labFlags) upstream(ctx context.Context, a *app, cmd *cobra.Command, fields []*setting.Field) (*kit.Upstream, error) {
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
	for _, x := range fields {
		if x.Simulated && x.IsSet() && f.source.Mode != node.Auto {
			return nil, cli.UsageError("leave out one of them: this setting applies to simulated events only", "--%s and a live stream contradict each other", x.Flag)
		}
	}
	return &kit.Upstream{URLs: f.source.BlueskyURLs, Collections: f.source.Collections}, nil
}

// labTopic decides on the topic whose records a lab takes; empty is none.
func (a *app) labTopic(x topicLab, topic string) error {
	if topic != "" {
		t, err := a.find()
		if err != nil {
			return err
		}
		x.SetTopic(t.KafkaConfig("weir-lab"), topic)
		return nil
	}
	for _, name := range []string{"kafka", "kafka-config"} {
		if a.given[name] == "--"+name { // a variable is for other commands, too
			return cli.UsageError("add --from-topic TOPIC, or leave out --"+name, "--%s says where the records of --from-topic are: nothing else is read from there", name)
		}
	}
	return nil
}

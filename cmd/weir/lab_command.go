package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/setting"
)

// What some labs take beside their settings: they have these methods.
type (
	// liveLab takes its events from a live stream; nil is the simulated one.
	liveLab interface{ SetLive(u *kit.Upstream) }
	// topicLab takes its records from a topic.
	topicLab interface {
		SetTopic(cfg kafka.Config, topic string)
	}
)

// labEnd ends what the help of every lab says.
const labEnd = `
The page docs/labs/%s.md says what to watch.

Exit code 0: the claim holds; 4: it does not; 5: inconclusive.`

// labCommand makes the command of a lab: its own flags come from its settings.
func labCommand(a *app, l *lab.Lab) *cobra.Command {
	s := l.Settings()
	fields := setting.Fields(s)
	var (
		f     labFlags
		topic string
	)
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
			if x, ok := s.(liveLab); ok {
				u, err := f.upstream(cmd.Context(), a, cmd, simulatedOnly(fields)...)
				if err != nil {
					return err
				}
				x.SetLive(u)
			}
			if x, ok := s.(topicLab); ok {
				if err := a.labTopic(x, topic); err != nil {
					return err
				}
			}
			return a.performLabOn(cmd.Context(), l.With(s), f.engine)
		},
	}
	fl := cmd.Flags()
	for _, x := range fields {
		if x.Flag != "break" { // it comes last
			addSetting(cmd, l, x)
		}
	}
	if _, ok := s.(liveLab); ok {
		f.addSource(cmd)
	}
	if _, ok := s.(topicLab); ok {
		fl.StringVar(&topic, "from-topic", "", "`TOPIC` whose newest records are written instead of simulated ones: of the running weir, or of --kafka")
		fl.StringSliceVar(&a.kafka, "kafka", nil, "`ADDRS` of Kafka brokers that have --from-topic, as host:port,host:port (default: the running weir's)")
		fl.StringVar(&a.kafkaSettings, "kafka-config", "", "`FILE` with security.protocol and what belongs to it, as Kafka's own clients read it")
		_ = cmd.MarkFlagFilename("kafka-config", "properties", "conf")
	}
	fl.BoolVar(&f.short, "short", false, l.Usage["short"])
	for _, x := range fields {
		if x.Flag == "break" {
			addSetting(cmd, l, x)
		}
	}
	f.addCommon(a, cmd)
	return cmd
}

// addSetting adds the flag of a setting.
func addSetting(cmd *cobra.Command, l *lab.Lab, f *setting.Field) {
	cmd.Flags().Var(f, f.Flag, l.Usage[f.Flag])
	if f.Repeat {
		cmd.Flags().Lookup(f.Flag).DefValue = ""
	}
	if len(f.Choices) > 0 {
		_ = cmd.RegisterFlagCompletionFunc(f.Flag, cobra.FixedCompletions(f.Choices, cobra.ShellCompDirectiveNoFileComp))
	}
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

// simulatedOnly names the settings that a live stream contradicts.
func simulatedOnly(fields []*setting.Field) (names []string) {
	for _, f := range fields {
		if f.Simulated {
			names = append(names, f.Flag)
		}
	}
	return names
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

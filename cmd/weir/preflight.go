package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

const preflightLong = `Checks whether a cluster, and a Redis, can keep what weir promises, before any event
is trusted to them: replication, min.insync.replicas, unclean elections, the kind of
transactions, limits of time and size, retention against what counts and restarts
need, addresses that cannot be reached, and every permission that is missing. It
changes nothing, and makes no topic.

Each finding says what follows from it and the way out, with the command where there
is one: for a permission the whole line of kafka-acls.sh. What breaks the promise
stands first; what merely differs from what weir would have chosen comes after it.

Without arguments everything is checked that weir up needs; with produce or consume
and a stream, what that command needs. weir up, produce and consume check the same
when they start on a cluster that is not weir's own.

Exit code 4 means that something breaks the promise.`

func newPreflight(a *app) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "preflight [produce|consume bluesky|wikipedia]",
		Short: "Whether a cluster can keep the promise: settings, retention, permissions",
		Long:  preflightLong,
		Example: `  weir preflight --kafka broker1:9092 --redis redis://cache:6379/1
  weir preflight produce bluesky --kafka broker1:9093 --kafka-config client.properties
  weir preflight -o json | jq -r '.[] | select(.run) | .run'    # the commands alone`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return []cobra.Completion{"produce", "consume"}, cobra.ShellCompDirectiveNoFileComp
			case 1:
				var names []cobra.Completion
				for _, s := range sources {
					names = append(names, s.name)
				}
				return names, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := purposeOf(args, group)
			if err != nil {
				return err
			}
			return a.runPreflight(cmd.Context(), p, len(args) == 0 || args[0] == "consume")
		},
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	cmd.Flags().StringVar(&group, "group", "", "consumer `GROUP` of weir consume (default: the source's counter)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroups)
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	a.logFlag(cmd)
	return cmd
}

// purposeOf is what a command, given by its words, does with a cluster.
func purposeOf(args []string, group string) (kafka.Purpose, error) {
	if len(args) == 0 && group == "" {
		return everything(), nil
	}
	if len(args) < 2 || args[0] != "produce" && args[0] != "consume" {
		return kafka.Purpose{}, cli.UsageError("such as weir preflight produce bluesky, or no argument for all that weir up needs",
			"want produce or consume, and a stream")
	}
	s, err := sourceNamed(args[1])
	if err != nil {
		return kafka.Purpose{}, err
	}
	if args[0] == "produce" {
		return s.ingestPurpose(), nil
	}
	if group == "" {
		group = s.group
	}
	return s.countPurpose(group), nil
}

// topics are those that hold the source's events.
func (s *source) topics() []string {
	if s.account == "" {
		return []string{s.topic}
	}
	return []string{s.topic, s.account}
}

func (s *source) ingestPurpose() kafka.Purpose { return kafka.Ingest(s.name, s.topics()...) }

func (s *source) countPurpose(group string) kafka.Purpose {
	p := kafka.Purpose{Read: s.topics()}
	for _, t := range p.Read {
		p.Groups = append(p.Groups, s.groupOf(t, group))
	}
	return p
}

// everything is what weir up does.
func everything() (p kafka.Purpose) {
	for _, s := range sources {
		p = p.And(s.ingestPurpose()).And(s.countPurpose(s.group))
	}
	return p
}

// prepareTopics says once what an existing cluster cannot promise, ends where what
// the command does is forbidden, and makes the command's topics. The brokers of a
// running weir are known.
func (a *app) prepareTopics(ctx context.Context, cl *kgo.Client, t *target, p kafka.Purpose) error {
	if t.running != nil && t.running.OwnKafka {
		return kafka.EnsureTopics(ctx, cl, kafka.Topics()...)
	}
	findings, err := a.kafkaConfig(t.kafka, "weir-preflight").Preflight(ctx, cl, p)
	if err != nil {
		return err
	}
	missing := 0
	for _, f := range findings {
		a.sayFinding(ofKafka(f))
		if f.Denied {
			missing++
		}
	}
	if missing > 0 && a.env[testPrefix+"PREFLIGHT"] != "off" {
		return cli.RuntimeError("what is missing stands above, with the commands that add it; weir preflight says it again",
			"the cluster at %s does not allow what this needs", strings.Join(t.kafka, ","))
	}
	return kafka.EnsureTopics(ctx, cl, p.Specs()...)
}

// finding is what preflight prints.
type finding struct {
	Severity string `json:"severity"` // promise-breaking or different
	Where    string `json:"where"`
	Cause    string `json:"cause"`
	Out      string `json:"out"`
	// Run is a command for a shell that mends it; absent where there is no single one.
	Run string `json:"run,omitempty"`
}

func ofKafka(f kafka.Finding) finding {
	words := make([]string, len(f.Run))
	for i, w := range f.Run {
		words[i] = web.ShellWord(w)
	}
	return finding{f.Severity.String(), f.Where(), f.Cause, f.Out, strings.Join(words, " ")}
}

func ofRedis(f tally.Finding) finding {
	severity := kafka.Different
	if f.Breaks {
		severity = kafka.Breaks
	}
	return finding{Severity: severity.String(), Where: "redis", Cause: f.Cause, Out: f.Out}
}

// redisFindings are those of the Redis that the counts would be in. One that may
// delete counts, or that forbids what counting needs, is no error here.
func (a *app) redisFindings(ctx context.Context, t *target) ([]finding, error) {
	if t.running == nil && a.given["redis"] == "" {
		a.stderr.Linef("note: no Redis is judged: none is named with --redis")
		return nil, nil
	}
	store, err := a.openStore(ctx, t)
	var (
		policy *tally.PolicyError
		denied *tally.PermissionError
	)
	switch {
	case errors.As(err, &policy):
		return []finding{{kafka.Breaks.String(), "redis", fmt.Sprintf("its maxmemory-policy is %s: it may delete counts when memory is short, and weir does not start", policy.Policy),
			"set it to noeviction", "redis-cli CONFIG SET maxmemory-policy noeviction"}}, nil
	case errors.As(err, &denied):
		return []finding{{kafka.Breaks.String(), "redis", fmt.Sprintf("user %s may not use %s", denied.User, strings.Join(denied.Lacks, ", ")),
			"an administrator allows it", denied.Rule}}, nil
	case err != nil:
		return nil, err
	}
	defer store.Close()
	var out []finding
	for _, f := range store.Findings() {
		out = append(out, ofRedis(f))
	}
	return out, nil
}

// sayFinding tells of one on standard error, its command on a line of its own.
func (a *app) sayFinding(f finding) {
	head := f.Severity
	if f.Severity == kafka.Breaks.String() {
		head = a.stderr.Paint(cli.Yellow, head)
	}
	a.stderr.Linef("%s: %s", head, visible.Text(f.Where+": "+f.Cause+"; "+f.Out))
	if f.Run != "" {
		a.stderr.Linef("    %s", visible.Text(f.Run))
	}
}

func (a *app) runPreflight(ctx context.Context, p kafka.Purpose, counts bool) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	cl, err := a.openKafka(ctx, t)
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := a.kafkaConfig(t.kafka, "weir-preflight").Preflight(ctx, cl, p)
	if err != nil {
		return err
	}
	findings := make([]finding, 0, len(list))
	for _, f := range list {
		findings = append(findings, ofKafka(f))
	}
	if counts {
		more, err := a.redisFindings(ctx, t)
		if err != nil {
			return err
		}
		findings = append(findings, more...)
	}
	return a.printFindings(findings)
}

func (a *app) printFindings(all []finding) error {
	breaks := 0
	lines := make([]any, len(all))
	for i, f := range all {
		lines[i] = f
		if f.Severity == kafka.Breaks.String() {
			breaks++
		}
	}
	if a.output != cli.FormatTable {
		if err := a.write(all, lines, nil); err != nil {
			return err
		}
	} else {
		var text strings.Builder
		for _, severity := range []kafka.Severity{kafka.Breaks, kafka.Different} {
			for _, f := range all {
				if f.Severity != severity.String() {
					continue
				}
				fmt.Fprintf(&text, "%s  %s\n  %s\n  → %s\n", strings.ToUpper(f.Severity), visible.Text(f.Where), visible.Text(f.Cause), visible.Text(f.Out))
				if f.Run != "" {
					fmt.Fprintf(&text, "    %s\n", visible.Text(f.Run))
				}
				text.WriteByte('\n')
			}
		}
		if _, err := fmt.Fprint(a.stdout, text.String()); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		switch {
		case len(all) == 0:
			a.stderr.Linef("nothing breaks the promise, and nothing differs from what weir would have made")
		case breaks == 0:
			a.stderr.Linef("nothing breaks the promise; %d things differ from what weir would have made", len(all))
		}
	}
	if breaks > 0 {
		return &cli.Error{Code: cli.ExitFailed, Err: fmt.Errorf("the promise would not hold here: %d of %d findings break it; they stand first", breaks, len(all))}
	}
	return nil
}

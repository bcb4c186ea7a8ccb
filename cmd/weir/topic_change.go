package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/topicconf"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// onTopics makes the run of a command that changes topics. names are those of its arguments.
func (a *app) onTopics(names func([]string) []string, run func(context.Context, *actions, []string) error,
) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		for _, name := range names(args) {
			if err := inspect.CheckTopicName(name); err != nil {
				return cli.UsageError("", "%w", err)
			}
		}
		c, err := a.topicActions(ctx)
		if err != nil {
			return err
		}
		defer c.close()
		return run(ctx, c, args)
	}
}

func firstOf(args []string) []string { return args[:1] }

func allOf(args []string) []string { return args }

func topicPath(topic, operation string) string {
	return "/topics/" + url.PathEscape(topic) + "/" + operation
}

// settingFlag adds --config.
func settingFlag(cmd *cobra.Command, words *[]string, usage string) {
	cmd.Flags().StringArrayVar(words, "config", nil, usage)
	noEnv(cmd.Flags(), "config")
	_ = cmd.RegisterFlagCompletionFunc("config", completeSetting)
}

// completeSetting suggests the names of settings, and behind = their values.
func completeSetting(_ *cobra.Command, _ []string, word string) (out []cobra.Completion, _ cobra.ShellCompDirective) {
	name, _, valued := strings.Cut(word, "=")
	if !valued {
		for _, s := range topicconf.All() {
			out = append(out, s.Name+"=\t"+s.About)
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	s, known := topicconf.Named(name)
	switch {
	case !known:
	case len(s.Choices) == 0 && s.Default != "":
		out = append(out, name+"="+s.Default+"\tKafka's default; "+s.Values)
	default:
		for _, v := range s.Choices {
			out = append(out, name+"="+v)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// readSettings reads NAME=VALUE of --config.
func readSettings(words []string) (map[string]string, error) {
	out := make(map[string]string, len(words))
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, cli.UsageError("write NAME=VALUE, such as retention.ms=3600000", "--config %s is not a setting", visible.Text(w))
		}
		if _, twice := out[name]; twice {
			return nil, cli.UsageError("give it once", "--config has %s twice", visible.Text(name))
		}
		out[name] = value
	}
	return out, nil
}

// settingsHint adds to a rejected setting where the settings are listed.
func settingsHint(err error) error {
	if err != nil && strings.Contains(err.Error(), "INVALID_CONFIG") {
		return cli.RuntimeError("list the settings and their values with: weir topics settings", "%w", err)
	}
	return err
}

func newTopicCreate(a *app) *cobra.Command {
	var body web.CreateTopicRequest
	var config []string
	return a.command("topics create", useCluster|useOutput, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.Int32Var(&body.Partitions, "partitions", 0, "`N` partitions (default: the cluster's num.partitions)")
		flags.Int16Var(&body.Replicas, "replicas", 0, "`N` replicas of each partition (default: the cluster's default.replication.factor)")
		settingFlag(cmd, &config, "a setting, as `NAME=VALUE`; repeat it for more")
		noEnv(flags, "partitions")
		noEnv(flags, "replicas")
	}, a.onTopics(firstOf, func(ctx context.Context, c *actions, args []string) (err error) {
		body.Name = args[0]
		if body.Config, err = readSettings(config); err != nil {
			return err
		}
		var answer web.CreateTopicAnswer
		if err := c.post(ctx, "/topics", body, &answer); err != nil {
			return settingsHint(err)
		}
		return a.writeOne(answer, func() string {
			made := answer.Topic
			return fmt.Sprintf("created topic %s: %s, %d replicas of each", visible.Text(made.Name), watch.Plural(made.Partitions, "partition"), made.Replicas)
		})
	}))
}

func newTopicAlter(a *app) *cobra.Command {
	var body web.AlterTopicRequest
	var config []string
	return a.command("topics alter", useCluster|useOutput, func(cmd *cobra.Command) {
		settingFlag(cmd, &config, "set a setting, as `NAME=VALUE`; repeat it for more")
		cmd.Flags().StringSliceVar(&body.Unset, "unset", nil, "return these settings to the cluster's defaults, as `LIST`")
		noEnv(cmd.Flags(), "unset")
		_ = cmd.RegisterFlagCompletionFunc("unset", a.completeUnset)
	}, a.onTopics(firstOf, func(ctx context.Context, c *actions, args []string) (err error) {
		if len(config)+len(body.Unset) == 0 {
			return cli.UsageError("add --config NAME=VALUE or --unset NAME", "no setting is named")
		}
		if body.Set, err = readSettings(config); err != nil {
			return err
		}
		var answer web.AlterTopicAnswer
		if err := c.post(ctx, topicPath(args[0], "alter"), body, &answer); err != nil {
			return settingsHint(err)
		}
		if len(answer.Changes) == 0 && a.output == cli.FormatTable {
			a.stderr.Linef("nothing to change: %s has these settings already", visible.Text(args[0]))
			return nil
		}
		a.notes(answer.Note, nil)
		return writeRows(a, answer, answer.Changes, func(s inspect.SettingChange) []any {
			return []any{s.Name, s.Before, s.After, s.AfterSource}
		}, "SETTING", "BEFORE", "AFTER", "FROM")
	}))
}

// completeUnset suggests the settings that the topic has itself.
func (a *app) completeUnset(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completing(func(i *inspect.Inspector, ctx context.Context) (names []string, err error) {
		settings, err := i.TopicSettings(ctx, args[0])
		for _, s := range settings {
			if s.Source == "topic" {
				names = append(names, s.Name+"\t"+s.Value)
			}
		}
		return names, err
	})(cmd, args, word)
}

func newTopicAddPartitions(a *app) *cobra.Command {
	return a.command("topics add-partitions", useCluster|useYes|useOutput, func(cmd *cobra.Command) {
		cmd.Args = cobra.ExactArgs(2)
	}, a.onTopics(firstOf, func(ctx context.Context, c *actions, args []string) error {
		topic := args[0]
		more, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil || more < 1 {
			return cli.UsageError("give how many partitions to add, 1 or more", "%q is not a number of partitions", visible.Text(args[1]))
		}
		var now inspect.TopicDetail
		if err := c.ask(ctx, http.MethodGet, "/topics/"+url.PathEscape(topic)+"?groups=none", nil, &now); err != nil {
			return err
		}
		body := func(confirm string) any {
			return web.PartitionsRequest{To: now.Partitions + int(more), Confirm: confirm}
		}
		done, err := change(ctx, c, topicPath(topic, "partitions"), topic, body, func(plan web.PartitionsAnswer) error {
			a.stderr.Linef("%s has %d partitions and gets %d; Kafka cannot remove them again", visible.Text(topic), plan.Plan.From, plan.Plan.To)
			if plan.Plan.KeysMove {
				a.stderr.Linef("keys move: a key chooses its partition by the number of partitions, so new records of a key can go to another " +
					"partition than its records so far, and consumers no longer read them in order")
			}
			return a.confirmTopic(topic, "add partitions to it")
		})
		if err != nil {
			return err
		}
		return a.writeOne(done, func() string {
			return fmt.Sprintf("%s has %s now", visible.Text(topic), watch.Plural(done.Plan.To, "partition"))
		})
	}))
}

// confirmTopic asks for the name of a topic.
func (a *app) confirmTopic(topic, verb string) error {
	return cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Type the topic's name to %s (%s): ", verb, visible.Text(topic)), topic, a.yes)
}

func newTopicTruncate(a *app) *cobra.Command {
	var body web.TruncateRequest
	return a.command("topics truncate", useCluster|useYes|useOutput, func(cmd *cobra.Command) {
		flags := cmd.Flags()
		flags.StringVar(&body.Before, "before", "end", "`WHERE`: end, an offset (negative: from the end), or a time as in weir messages --since")
		flags.Int32SliceVar(&body.Partitions, "partition", nil, "only these partitions, as `LIST`")
		noEnv(flags, "before")
		noEnv(flags, "partition")
	}, a.onTopics(firstOf, func(ctx context.Context, c *actions, args []string) error {
		before, err := inspect.ParseBefore(body.Before, time.Now())
		if err != nil {
			return cli.UsageError("", "--before: %w", err)
		}
		body.Before = before.String() // a time that was relative is fixed before the question
		topic := args[0]
		request := func(confirm string) any { body.Confirm = confirm; return body }
		planned := int64(0)
		done, err := change(ctx, c, topicPath(topic, "truncate"), topic, request, func(plan web.TruncateAnswer) error {
			planned = plan.Plan.Messages
			err := cli.TableOf(plan.Plan.Partitions, func(p inspect.TruncatePartition) []any {
				return []any{p.Partition, p.Low, p.To, cli.Thousands(p.Deleted)}
			}, ">PARTITION", ">FIRST OFFSET", ">FIRST OFFSET THEN", ">DELETED").Write(a.stderr)
			if err != nil || planned == 0 {
				return err // nothing to ask about
			}
			return a.confirmTopic(topic, "delete "+cli.Thousands(planned)+" messages of it")
		})
		if err != nil {
			return err
		}
		if kept := planned - done.Plan.Messages; kept > 0 && a.output == cli.FormatTable {
			a.stderr.Linef("the brokers keep %s of them: the embedded brokers keep the last message of a partition", cli.Thousands(kept))
		}
		return a.writeOne(done, func() string {
			return fmt.Sprintf("deleted %s messages of %s", cli.Thousands(done.Plan.Messages), visible.Text(topic))
		})
	}))
}

func newTopicDelete(a *app) *cobra.Command {
	return a.command("topics delete", useCluster|useYes|useOutput, func(cmd *cobra.Command) {
		cmd.Args = cobra.MinimumNArgs(1)
		cmd.ValidArgsFunction = a.completions()["TOPIC"]
	}, a.onTopics(allOf, a.deleteTopics))
}

// deleteTopics plans every deletion before it asks, so that one that is refused leaves the others
// as they are.
func (a *app) deleteTopics(ctx context.Context, c *actions, topics []string) error {
	plans := make([]web.DeleteTopicAnswer, len(topics))
	for n, topic := range topics {
		if err := c.post(ctx, topicPath(topic, "delete"), web.DeleteTopicRequest{}, &plans[n]); err != nil {
			return err
		}
	}
	err := cli.TableOf(plans, func(p web.DeleteTopicAnswer) []any {
		return []any{p.Plan.Topic, cli.Thousands(p.Plan.Messages), groupsInWords(p.Plan.Groups)}
	}, "TOPIC", ">MESSAGES", "GROUPS").Write(a.stderr)
	if err != nil {
		return err
	}
	for _, p := range plans {
		a.notes("", p.Plan.Warnings)
	}
	if len(topics) == 1 {
		err = a.confirmTopic(topics[0], "delete it")
	} else {
		names := strings.Join(topics, " ")
		err = cli.Confirm(a.stdin, a.stderr, fmt.Sprintf("Type the topics' names to delete them (%s): ", visible.Text(names)), names, a.yes)
	}
	if err != nil {
		return err
	}
	done := make([]web.DeleteTopicAnswer, 0, len(topics))
	for _, topic := range topics {
		var answer web.DeleteTopicAnswer
		if err := c.post(ctx, topicPath(topic, "delete"), web.DeleteTopicRequest{Confirm: topic}, &answer); err != nil {
			for _, d := range done {
				a.stderr.Linef("deleted %s", visible.Text(d.Plan.Topic))
			}
			return err
		}
		done = append(done, answer)
	}
	if a.output != cli.FormatTable {
		return writeRows(a, done, done, nil)
	}
	for _, d := range done {
		a.stderr.Linef("deleted %s", visible.Text(d.Plan.Topic))
	}
	return nil
}

// groupsInWords names the groups that consume a topic.
func groupsInWords(groups []inspect.TopicGroup) string {
	var words []string
	for _, g := range groups {
		w := g.Name
		if g.Members > 0 {
			w += " (" + watch.Plural(g.Members, "member") + ")"
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

func newTopicSettings(a *app) *cobra.Command {
	return a.command("topics settings", useOutput, nil, func(context.Context, []string) error {
		all := topicconf.All()
		return writeRows(a, all, all, func(s topicconf.TopicSetting) []any {
			return []any{s.Name, s.Default, s.Values, s.About}
		}, "SETTING", "DEFAULT", "VALUES", "WHAT IT DOES")
	})
}

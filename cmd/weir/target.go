package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// newTarget is a target without addresses: how this process connects.
func (a *app) newTarget() *node.Target {
	return &node.Target{
		Security: a.security, SecurityFile: a.kafkaSettings, RedisPassword: a.env[redisPasswordVariable], Clients: a.clients,
		Log: a.log, Report: a.showFinding, AllowDenied: a.env[testPrefix+"PREFLIGHT"] == "off",
	}
}

// find decides which cluster and Redis a command uses: those of its flags, else the weir that
// runs on the data directory, else the default addresses. It connects only to the control socket.
func (a *app) find() (*node.Target, error) {
	dir, err := a.data()
	if err != nil {
		return nil, err
	}
	t := a.newTarget()
	t.Data = dir
	t.Running = a.runningWeir(dir)
	for _, p := range node.DefaultPorts[:3] {
		t.Kafka = append(t.Kafka, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	}
	t.Redis = node.RedisURL(net.JoinHostPort("127.0.0.1", strconv.Itoa(node.DefaultPorts[3])))
	from := "the default address; no weir runs on " + dir
	if r := t.Running; r != nil {
		t.Kafka, t.Redis, t.Mode = r.Kafka, r.Redis, r.Mode
		from = fmt.Sprintf("weir %s, process %d", r.Command, r.PID)
	}
	t.KafkaFrom, t.RedisFrom = from, from
	if from := a.given["kafka"]; from != "" {
		t.Kafka, t.KafkaFrom = a.kafka, from
		shared := func(addr string) bool { return slices.Contains(t.Kafka, addr) }
		if t.Running != nil && !slices.ContainsFunc(t.Running.Kafka, shared) {
			t.Running, t.Mode = nil, "" // another cluster: what the running weir says is not about it
		}
	}
	if r := t.Running; r != nil && r.KafkaConfig != "" && t.Security == nil { // log in as it does
		t.SecurityFile = r.KafkaConfig
		if t.Security, err = kafka.ReadSecurity(r.KafkaConfig, a.env[passwordVariable]); err != nil {
			return nil, cli.UsageError("give the same --kafka and --kafka-config as weir "+r.Command, "%w", err)
		}
	}
	if from := a.given["redis"]; from != "" {
		t.Redis, t.RedisFrom = a.redis, from
	}
	return t, nil
}

// onTarget makes a command's run of one that needs what the flags name.
func (a *app) onTarget(run func(context.Context, *node.Target, []string) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		t, err := a.find()
		if err != nil {
			return err
		}
		return run(ctx, t, args)
	}
}

// runningWeir is the weir that runs on the data directory, nil if none does.
func (a *app) runningWeir(dir string) *node.Runtime {
	found := node.Running(dir)
	if len(found) == 0 {
		return nil
	}
	if len(found) > 1 && a.given["kafka"] == "" {
		a.stderr.Linef("two weirs run on %s; this is about the live one. For the simulated one: --kafka %s --redis %s",
			dir, strings.Join(found[1].Kafka, ","), found[1].Redis)
	}
	return found[0]
}

// show reads something of the cluster that the flags name, and prints it.
func show[T any](ctx context.Context, a *app, read func(*inspect.Inspector, context.Context) (T, error), printed func(T) error) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	i, cl, err := t.OpenInspector(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	v, err := read(i, ctx)
	if err != nil {
		return err
	}
	return printed(v)
}

// notes prints the remarks of an answer, and what could not be found out.
func (a *app) notes(note string, warnings []string) {
	if note != "" && a.output == cli.FormatTable {
		a.stderr.Linef("note: %s", visible.Text(note))
	}
	for _, w := range warnings {
		a.stderr.Linef("warning: %s", visible.Text(w))
	}
}

// completeTime bounds how long the Tab key may take.
const completeTime = 700 * time.Millisecond

type completion = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completions are those of arguments, by their word in a usage line.
func (a *app) completions() map[string]completion {
	sources := cobra.FixedCompletions(sourceNames(), cobra.ShellCompDirectiveNoFileComp)
	return map[string]completion{
		"GROUP": a.completing((*inspect.Inspector).GroupNames),
		"TOPIC": a.completing(func(i *inspect.Inspector, ctx context.Context) ([]string, error) {
			meta, err := i.Metadata(ctx)
			return meta.Topics.Names(), err
		}),
		"NAME":     cobra.NoFileCompletions,
		"EXERCISE": cobra.FixedCompletions(exerciseNames(), cobra.ShellCompDirectiveNoFileComp),
		"STATION":  cobra.FixedCompletions(learn.Names(), cobra.ShellCompDirectiveNoFileComp),
		"BROKER": a.completing(func(i *inspect.Inspector, ctx context.Context) (names []string, err error) {
			list, err := i.Brokers(ctx)
			for _, b := range list.Brokers {
				state := "up"
				if !b.Alive {
					state = "killed"
				}
				names = append(names, fmt.Sprintf("%d\t%s, %s", b.ID, b.Address, state))
			}
			return names, err
		}),
		"SOURCE": sources, strings.Join(sourceNames(), "|"): sources,
	}
}

func sourceNames() (names []string) {
	for _, s := range node.Sources {
		names = append(names, s.Name)
	}
	return names
}

// completing suggests names of the cluster that the flags so far point to. Where none answers in
// time it suggests nothing and reports no error, which a shell could not show.
func (a *app) completing(read func(*inspect.Inspector, context.Context) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completeTime)
		defer cancel()
		err := a.bindEnv(cmd.Flags())
		if err == nil {
			err = show(ctx, a, read, func(all []string) error { names = all; return nil })
		}
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// onlyFirst suggests for the first argument and nothing after it.
func onlyFirst(c completion) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, toComplete)
	}
}

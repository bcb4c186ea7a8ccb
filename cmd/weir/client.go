package main

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
)

// kafkaConfig is how this process talks to a cluster. id is what the cluster's
// tools show as client.
func (a *app) kafkaConfig(brokers []string, id string) kafka.Config {
	return kafka.Config{Brokers: brokers, ClientID: id, Log: a.log, Security: a.security}
}

// measured is kafkaConfig for clients that live long: /metrics tells of them.
func (a *app) measured(brokers []string, id string) kafka.Config {
	cfg := a.kafkaConfig(brokers, id)
	cfg.Hook = a.clients.Hook
	return cfg
}

// openKafka returns a client that has had an answer from the cluster.
func (a *app) openKafka(ctx context.Context, t *target, extra ...kgo.Opt) (*kgo.Client, error) {
	cfg := a.measured(t.kafka, "weir-cli")
	if err := cfg.Validate(); err != nil {
		return nil, cli.UsageError("give brokers as host:port,host:port", "%s: %w", t.kafkaFrom, err)
	}
	cl, err := cfg.Connect(ctx, extra...)
	if ce, ok := errors.AsType[*kafka.ConnectError](err); ok && ce.Out != "" {
		return nil, cli.ConnectError(ce.Out+a.settingsFrom(t), "Kafka at %s (%s) does not let weir in: %w", strings.Join(t.kafka, ","), t.kafkaFrom, ce.Err)
	}
	if ce, ok := errors.AsType[*kafka.ConnectError](err); ok {
		return nil, cli.ConnectError(a.startHint("--kafka"), "no Kafka broker answers at %s (%s): %w", strings.Join(t.kafka, ","), t.kafkaFrom, cli.Brief(ce.Err))
	}
	return cl, err
}

// settingsFrom names the file that says how to talk to the cluster.
func (a *app) settingsFrom(t *target) string {
	file := a.kafkaSettings
	if file == "" && t.running != nil {
		file = t.running.KafkaConfig
	}
	if file == "" {
		return ""
	}
	return " (the settings are in " + file + ")"
}

// startHint is the way out where nothing answers.
func (a *app) startHint(flag string) string {
	return "start one with weir up or weir cluster, or say where it is with " + flag + " (--data, if it runs on another data directory)"
}

// openStore connects to the counts.
func (a *app) openStore(ctx context.Context, t *target) (*tally.Store, error) {
	if err := tally.CheckURL(t.redis); err != nil {
		return nil, cli.UsageError("", "%s: %w", t.redisFrom, err)
	}
	if t.redisFrom == "--redis" && tally.HasPassword(t.redis) {
		a.stderr.Linef("warning: a password in an argument is seen by everybody on this machine: put the URL into WEIR_REDIS, or the password into %s or a file (?password_file=/path)", redisPasswordVariable)
	}
	s, err := tally.Open(ctx, tally.WithPassword(t.redis, a.env[redisPasswordVariable]))
	if ce, ok := errors.AsType[*tally.ConnectError](err); ok {
		return nil, cli.ConnectError(a.startHint("--redis"), "no Redis answers at %s (%s): %w", ce.Addr, t.redisFrom, cli.Brief(ce.Err))
	}
	return s, err
}

// openInspector returns an inspector of the target's cluster, which knows what
// the weir that runs it says about its brokers. The client is the caller's to close.
func (a *app) openInspector(ctx context.Context, t *target, extra ...kgo.Opt) (*inspect.Inspector, *kgo.Client, error) {
	cl, err := a.openKafka(ctx, t, extra...)
	if err != nil {
		return nil, nil, err
	}
	cfg := inspect.Config{Client: cl, NewConsumer: a.kafkaConfig(t.kafka, "weir-cli").NewClient}
	if t.running != nil && t.running.OwnKafka {
		c := actionsOf(t.running)
		cfg.Overlay = func(ctx context.Context) (o inspect.Overlay, err error) { return o, c.get(ctx, "/overlay", &o) }
	}
	i, err := inspect.New(cfg)
	if err != nil {
		cl.Close()
		return nil, nil, err
	}
	return i, cl, nil
}

// withInspector finds the cluster and runs a command on it.
func (a *app) withInspector(ctx context.Context, do func(*inspect.Inspector, *target) error) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	i, cl, err := a.openInspector(ctx, t)
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(i, t)
}

// notes tells what an answer came with: remarks about simulated replicas, and
// what could not be found out.
func (a *app) notes(note string, warnings []string) {
	if note != "" && a.output == cli.FormatTable {
		a.stderr.Linef("note: %s", visible.Text(note))
	}
	for _, w := range warnings {
		a.stderr.Linef("warning: %s", visible.Text(w))
	}
}

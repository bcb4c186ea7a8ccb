package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/metrics"
	"github.com/weir-project/weir/internal/send"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// Target is a Kafka cluster and a Redis, and how this process connects to them.
type Target struct {
	Kafka []string
	Redis string
	// KafkaFrom and RedisFrom say where the addresses come from, for errors.
	KafkaFrom, RedisFrom string
	Mode                 string   // Live or Simulated; empty where that is unknown
	Running              *Runtime // the weir that runs the cluster; nil without one
	Data                 string   // the data directory, absolute; empty keeps no progress of Learn

	Security      *kafka.Security // nil for none
	SecurityFile  string          // that it was read from
	RedisPassword string          // where the URL has none
	Clients       *metrics.Clients
	Log           *slog.Logger
	// Report gets what a user should know about the cluster or the Redis.
	Report func(kafka.Finding)
	// WithoutCounts is called with the reason where Actions goes on without Redis: groups of
	// a cluster that weir does not use have no counts. Nil makes that reason the error.
	WithoutCounts func(error)
	// AllowDenied goes on without permissions that are missing: for tests.
	AllowDenied bool

	own *Node // that runs the brokers in this process; nil for others
}

// redisDB is the Redis database of weir's own keys. Database 0 is left to
// programs that count there and expect nothing but plain counters.
const redisDB = 1

// RedisURL is the URL of an embedded Redis.
func RedisURL(addr string) string { return fmt.Sprintf("redis://%s/%d", addr, redisDB) }

// KafkaConfig is how this process talks to the cluster. id is what the cluster's
// tools show as client.
func (t *Target) KafkaConfig(id string) kafka.Config {
	return kafka.Config{Brokers: t.Kafka, ClientID: id, Log: t.Log, Security: t.Security}
}

// measured is KafkaConfig for clients that live long: /metrics reports them.
func (t *Target) measured(id string) kafka.Config {
	cfg := t.KafkaConfig(id)
	if t.Clients != nil {
		cfg.Hook = t.Clients.Hook
	}
	return cfg
}

// OpenKafka returns a client that has had an answer from the cluster.
func (t *Target) OpenKafka(ctx context.Context, extra ...kgo.Opt) (*kgo.Client, error) {
	cfg := t.measured("weir-cli")
	if err := cfg.Validate(); err != nil {
		return nil, cli.UsageError("give brokers as host:port,host:port", "%s: %w", t.KafkaFrom, err)
	}
	cl, err := cfg.Connect(ctx, extra...)
	ce, ok := errors.AsType[*kafka.ConnectError](err)
	if !ok {
		return cl, err
	}
	if ce.Out == "" {
		return nil, cli.ConnectError(startHint("--kafka"), "no Kafka broker answers at %s (%s): %w", strings.Join(t.Kafka, ","), t.KafkaFrom, cli.Brief(ce.Err))
	}
	out := ce.Out
	if t.SecurityFile != "" {
		out += " (the settings are in " + t.SecurityFile + ")"
	}
	return nil, cli.ConnectError(out, "Kafka at %s (%s) does not let weir in: %w", strings.Join(t.Kafka, ","), t.KafkaFrom, ce.Err)
}

// startHint is the way out where nothing answers.
func startHint(flag string) string {
	return "start one with weir up or weir cluster, or say where it is with " + flag + " (--data, if it runs on another data directory)"
}

// OpenStore connects to the counts.
func (t *Target) OpenStore(ctx context.Context) (*tally.Store, error) {
	if err := tally.CheckURL(t.Redis); err != nil {
		return nil, cli.UsageError("", "%s: %w", t.RedisFrom, err)
	}
	s, err := tally.Open(ctx, tally.WithPassword(t.Redis, t.RedisPassword))
	if ce, ok := errors.AsType[*tally.ConnectError](err); ok {
		return nil, cli.ConnectError(startHint("--redis"), "no Redis answers at %s (%s): %w", ce.Addr, t.RedisFrom, cli.Brief(ce.Err))
	}
	return s, err
}

// OpenWriter returns what writes records to a topic. Its client is the caller's to close.
func (t *Target) OpenWriter(ctx context.Context, topic string, opts send.Options) (*send.Writer, error) {
	cl, err := t.OpenKafka(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return openWriter(ctx, cl, topic, opts, func(extra ...kgo.Opt) (*kgo.Client, error) { return t.OpenKafka(ctx, extra...) })
}

// openWriter looks up a topic with a client, and opens another one that suits it.
func openWriter(ctx context.Context, cl *kgo.Client, topic string, opts send.Options,
	open func(...kgo.Opt) (*kgo.Client, error)) (*send.Writer, error) {
	found, err := send.LookUp(ctx, cl, topic)
	if err != nil {
		return nil, err
	}
	writes, err := open(opts.Client(found)...)
	if err != nil {
		return nil, err
	}
	return &send.Writer{Client: writes, Topic: found, Options: opts}, nil
}

// OpenInspector returns an inspector of the cluster, which also knows what the weir
// that runs the brokers reports about them. The client is the caller's to close.
func (t *Target) OpenInspector(ctx context.Context, extra ...kgo.Opt) (*inspect.Inspector, *kgo.Client, error) {
	cl, err := t.OpenKafka(ctx, extra...)
	if err != nil {
		return nil, nil, err
	}
	cfg := inspect.Config{Client: cl, Overlay: t.own.overlay()}
	for _, own := range kafka.Topics() {
		cfg.Reserved = append(cfg.Reserved, own.Name)
	}
	if cfg.Overlay == nil && t.Running != nil && t.Running.OwnKafka {
		c := web.Dial(t.Running.Control, t.Running.ControlToken, t.Running.Version)
		cfg.Overlay = func(ctx context.Context) (o inspect.Overlay, err error) {
			return o, c.Ask(ctx, http.MethodGet, "/api/v1/overlay", nil, &o)
		}
	}
	i, err := inspect.New(cfg)
	if err != nil {
		cl.Close()
		return nil, nil, err
	}
	return i, cl, nil
}

// Actions serves the operations of the web UI to this process alone, for a target that no
// running weir serves. Those that change topics need no counts in Redis. The function closes
// what it opened.
func (t *Target) Actions(ctx context.Context, where web.Where, counts bool) (_ *web.Client, _ func(), err error) {
	var opened closers
	closeAll := func() { _ = opened.Close() }
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	i, cl, err := t.OpenInspector(ctx)
	if err != nil {
		return nil, nil, err
	}
	opened.closing(func() error { cl.Close(); return nil })
	w, err := watch.New(watch.Config{Inspector: i})
	if err != nil {
		return nil, nil, err
	}
	cfg := web.Config{Watch: w, Inspector: i, Where: where, Log: t.Log}
	var tallies inspect.Tallies
	if counts {
		store, err := t.OpenStore(ctx)
		switch {
		case err == nil:
			opened.closing(store.Close)
			tallies = store
			cfg.Tallies, cfg.Replay = store, t.replays(store)
		case t.WithoutCounts == nil:
			return nil, nil, err
		default:
			t.WithoutCounts(err)
		}
	}
	if cfg.Learn, err = t.learn(i, tallies, where); err != nil {
		return nil, nil, err
	}
	s, err := web.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	opened.closing(func() error { s.Close(); return nil })
	return web.NewClient(s), closeAll, nil
}

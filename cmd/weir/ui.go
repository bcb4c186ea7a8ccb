package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/metrics"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/verify"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

const uiLong = `Serves the web pages for a cluster that runs already: topics, messages, groups,
lag, brokers, live. weir up and weir cluster serve them by themselves.

The pages answer on the loopback address. On any other address they ask for a
token, which is drawn at the start and printed as part of the link, or is read
from --token-file. Under a name they answer only where --allow-host tells it.`

func newUI(a *app) *cobra.Command {
	var l listenFlag
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "The web pages, for a cluster that runs already",
		Long:  uiLong,
		Example: `  weir ui --kafka broker1:9092,broker2:9092
  weir ui --kafka broker1:9092 --redis redis://cache:6379/1 --listen 127.0.0.1:9000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runUI(cmd.Context(), &l) },
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	l.add(cmd.Flags(), a)
	a.logFlag(cmd)
	return cmd
}

func (a *app) runUI(ctx context.Context, l *listenFlag) (err error) {
	if l.addr == "off" {
		return cli.UsageError("leave it out, or give an address", "weir ui serves pages, and --listen off switches them off")
	}
	t, err := a.find()
	if err != nil {
		return err
	}
	store, err := a.openStore(ctx, t)
	if err != nil {
		if a.given["redis"] != "" {
			return err
		}
		a.stderr.Linef("without counts: %s", cli.OneLine(err.Error()))
		store = nil
	} else {
		defer store.Close()
	}
	ui, err := a.openUI(ctx, t, nil, nil, store, l)
	if err != nil {
		return err
	}
	defer ui.close()
	a.stderr.Linef("weir shows %s at %s", strings.Join(t.kafka, ","), ui.link())
	g := startGroup(ctx, ui.parts()...)
	defer g.stop()
	select {
	case <-ctx.Done():
		return nil
	case <-g.ends:
		return g.err()
	}
}

// userInterface is the pages and the watch behind them.
type userInterface struct {
	app      *app
	client   *kgo.Client
	listener net.Listener // nil where the pages are switched off
	watcher  *watch.Watcher
	server   *web.Server
	token    string
	asked    bool // the token was drawn here, so that the link has to tell it
	note     string
}

// openUI listens, and makes the watch and the server; parts runs them. e and p are
// nil where the cluster and the pipeline are other processes', store where there
// are no counts. Where the pages are switched off, the server answers on the control
// socket alone.
func (a *app) openUI(ctx context.Context, t *target, e *engine, p *pipeline, store *tally.Store, l *listenFlag) (_ *userInterface, err error) {
	ui := &userInterface{app: a}
	guard, err := l.guard()
	if err != nil {
		return nil, err
	}
	if l.addr != "off" {
		if ui.listener, ui.note, err = l.open(); err != nil {
			return nil, err
		}
	}
	if err := ui.open(ctx, t, e, p, store, guard); err != nil {
		ui.close()
		return nil, err
	}
	if e != nil {
		e.control.Handle(ui.server.Control())
	}
	return ui, nil
}

func (ui *userInterface) open(ctx context.Context, t *target, e *engine, p *pipeline, store *tally.Store, guard uiGuard) error {
	a := ui.app
	ui.token = guard.token
	// Who names a host has something in front that others can reach.
	if ui.listener != nil && guard.token == "" && (len(guard.hosts) > 0 || !onLoopback(ui.listener)) {
		ui.token, ui.asked = rand.Text(), true
	}
	insp, cl, err := a.openInspectorOf(ctx, t, e)
	if err != nil {
		return err
	}
	ui.client = cl
	wc := watch.Config{Inspector: insp, Version: "weir " + buildVersion().Version, Mode: t.mode, Engine: "external", Fault: e.fault, Log: a.log}
	cfg := web.Config{Inspector: insp, Where: a.where(), Producer: &producer{cl: cl}, Log: a.log}
	if e != nil && e.cluster != nil {
		wc.Engine = e.cluster.Name()
		cfg.Brokers = e.cluster
		if wc.Engine == cluster.Embedded {
			for _, d := range cluster.Differences() {
				cfg.Differences = append(cfg.Differences, web.Difference(d))
			}
		}
	}
	if store != nil {
		wc.Tallies, cfg.Tallies = store, store
		cfg.Verify = func(ctx context.Context, progress func(any)) (any, error) {
			return a.verifyFor(ctx, t, store, progress)
		}
		cfg.Replay = func(ctx context.Context, plan inspect.ReplayPlan, progress func(int64)) (inspect.Comparison, error) {
			return a.replay(ctx, t, store, plan, progress)
		}
	}
	for _, s := range sources {
		wc.Streams = append(wc.Streams, watch.StreamConfig{Name: s.name, Topic: s.topic, Group: s.group})
	}
	if data, err := a.data(); err == nil {
		cfg.Labs = a.labsForUI(data)
	}
	if p != nil {
		wc.Local, cfg.Acks = p.local, p.acks
		if p.memberships != nil {
			cfg.Members = p.memberships
		}
	}
	wc.Ingested = ui.ingested(t, p)
	if ui.watcher, err = watch.New(wc); err != nil {
		return err
	}
	cfg.Watch, cfg.Token, cfg.Hosts = ui.watcher, ui.token, guard.hosts
	cfg.Ready = func() error { return cmp.Or(e.fault(), ready(ui.watcher.State())) }
	cfg.Metrics = metrics.Handler(ui.watcher.State, a.clients)
	ui.server, err = web.New(cfg)
	return err
}

// onLoopback reports whether a listener can be reached from this machine alone.
func onLoopback(l net.Listener) bool {
	addr, err := netip.ParseAddrPort(l.Addr().String())
	return err == nil && addr.Addr().IsLoopback()
}

// where returns the flags with which another command finds what the pages show. A
// Redis URL with a password is left out: the pages are no place for it.
func (a *app) where() web.Where {
	var w web.Where
	if a.given["data"] != "" {
		if dir, err := a.data(); err == nil {
			w.Data = []string{"--data", dir}
		}
	}
	w.Kafka = slices.Clone(w.Data)
	if a.given["kafka"] != "" {
		w.Kafka = append(w.Kafka, "--kafka", strings.Join(a.kafka, ","))
	}
	if a.given["kafka-config"] != "" {
		file := a.kafkaSettings
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
		w.Kafka = append(w.Kafka, "--kafka-config", file)
	}
	w.Redis = slices.Clone(w.Kafka)
	if u, err := url.Parse(a.redis); err == nil && u.User == nil && a.given["redis"] != "" {
		w.Redis = append(w.Redis, "--redis", a.redis)
	}
	return w
}

// ready says why the streams of a state do not flow.
func ready(s *watch.State) error {
	switch told := time.UnixMilli(s.Cluster.TopicsTime); {
	case s.Cluster.TopicsTime == 0 && s.Cluster.Error == "":
		return errors.New("the cluster has not been looked at yet")
	case s.Cluster.Error != "" && time.Since(told) > unreadyAfter: // one broker of several may be silent
		return errors.New(s.Cluster.Error)
	}
	for _, name := range sortedKeys(s.Streams) {
		if t := s.Streams[name].Trouble; t != "" {
			return fmt.Errorf("%s: %s", name, t)
		}
	}
	return nil
}

// unreadyAfter is how long a cluster may tell nothing before this is not ready to serve.
const unreadyAfter = 10 * time.Second

// How often the cursor is read, each time at the price of a connection: seldom
// where the ingester runs here and tells what it adds.
const (
	peekEvery     = time.Second
	peekEveryHere = 10 * time.Second
)

// ingested tells how many events a stream's topics were ever given: from the
// cursor that was stored with them, and in between, where the ingester runs here,
// from what it has committed since.
func (ui *userInterface) ingested(t *target, p *pipeline) func(context.Context, string) int64 {
	cfg := ui.app.kafkaConfig(t.kafka, "weir-ui")
	type known struct {
		at        time.Time
		total     int64 // by the cursor
		committed int64 // by the ingester here, at that time
	}
	last := map[string]*known{}
	return func(ctx context.Context, stream string) int64 {
		here, every := p.committed(stream), peekEvery
		if here > 0 {
			every = peekEveryHere
		}
		k := last[stream]
		if k != nil && time.Since(k.at) < every {
			return k.total + here - k.committed
		}
		rec, found, err := kafka.PeekCursor(ctx, cfg, stream)
		if err != nil || !found {
			return -1
		}
		now := known{at: time.Now(), committed: here}
		for _, s := range sources {
			if s.name == stream {
				now.total = rec.Seqs[s.topic] + rec.Seqs[s.account]
			}
		}
		if k != nil { // what was shown is not taken back: the cursor is a moment behind
			now.total = max(now.total, k.total+here-k.committed)
		}
		last[stream] = &now
		return now.total
	}
}

// committed is how many events of a stream were stored by this process.
func (p *pipeline) committed(stream string) int64 {
	if p == nil {
		return 0
	}
	for _, l := range p.lines {
		if l.source.name == stream && l.ingest != nil {
			return l.ingest.Stats().Events
		}
	}
	return 0
}

// impatient makes the pages' client give up on a broker that does not answer: what
// another one can answer too is asked there, and the rest is shown as not known.
func impatient() []kgo.Opt {
	const most = 3 * time.Second
	return []kgo.Opt{kgo.RequestTimeoutOverhead(most), kgo.DialTimeout(most)}
}

// openInspectorOf is openInspector, which asks this process itself about brokers of its own.
func (a *app) openInspectorOf(ctx context.Context, t *target, e *engine) (*inspect.Inspector, *kgo.Client, error) {
	if e == nil || e.cluster == nil {
		return a.openInspector(ctx, t, impatient()...)
	}
	cl, err := a.openKafka(ctx, t, impatient()...)
	if err != nil {
		return nil, nil, err
	}
	i, err := inspect.New(inspect.Config{Client: cl, NewConsumer: a.kafkaConfig(t.kafka, "weir-ui").NewClient,
		Overlay: overlayOf(e.cluster)})
	if err != nil {
		cl.Close()
		return nil, nil, err
	}
	return i, cl, nil
}

// link is where to look, with the token where one was drawn. One from a file is
// not told: who started weir knows it, and what is printed ends in logs.
func (ui *userInterface) link() string {
	addr := ui.listener.Addr().String()
	// A browser cannot go to any address; one on this machine can go to loopback.
	if ip, err := netip.ParseAddrPort(addr); err == nil && ip.Addr().IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ip.Port())))
	}
	u := "http://" + addr
	if ui.asked {
		u += "/?token=" + ui.token
	}
	return u
}

func (ui *userInterface) parts() []*part {
	parts := []*part{{name: "web pages", run: func(ctx context.Context) error { return ui.server.Serve(ctx, ui.listener) }}}
	if ui.listener != nil { // nobody looks at the live picture otherwise
		parts = append(parts, &part{name: "watch", run: ui.watcher.Run})
	}
	return parts
}

func (ui *userInterface) close() {
	if ui.server != nil {
		ui.server.Close()
	}
	if ui.listener != nil {
		_ = ui.listener.Close() // closed already when it was served
	}
	if ui.client != nil {
		ui.client.Close()
	}
}

// verifyFor is the proof for the pages.
func (a *app) verifyFor(ctx context.Context, t *target, store *tally.Store, progress func(any)) (any, error) {
	cfg, err := a.verifyConfig(t, store)
	if err != nil {
		return nil, err
	}
	return verify.Run(ctx, cfg, func(p verify.Progress) {
		progress(map[string]any{"stage": p.Stage, "scanned": p.Scanned, "total": p.Total})
	})
}

// local is what this process knows of its streams.
func (p *pipeline) local() map[string]watch.Local {
	all := make(map[string]watch.Local, len(p.lines))
	for _, l := range p.lines {
		if l.ingest == nil {
			continue
		}
		s := l.ingest.Stats()
		w := watch.Local{
			State: "connecting", Host: s.Source.Host, Origin: s.Source.Origin, LastError: s.Source.LastError, Reconnects: s.Source.Reconnects,
			Duplicates: s.Duplicates, TooOld: s.TooOld, Gaps: s.Gaps, Rejects: s.Rejects, Skipped: s.Skipped, Members: len(l.counters()),
			Queue:    &watch.Queue{Events: s.Queue.Events, MaxEvents: s.Queue.MaxEvents, Bytes: s.Queue.Bytes, MaxBytes: s.Queue.MaxBytes, BlockedMS: s.Queue.Blocked.Milliseconds()},
			Measured: watch.Measured{Commit: &s.Latency},
		}
		if !s.Source.Since.IsZero() {
			w.Since = s.Source.Since.UnixMilli()
		}
		if !s.Source.LastEvent.IsZero() {
			w.LastEvent = s.Source.LastEvent.UnixMilli()
		}
		switch {
		case l.part.failure() != nil:
			w.State, w.LastError = "failed", l.part.failure().Error()
		case s.Source.Connected:
			w.State = "connected"
		}
		text, since := l.trouble()
		if w.Trouble = text; !since.IsZero() {
			w.TroubleSince = since.UnixMilli()
		}
		l.measured(&w.Measured)
		all[l.source.name] = w
	}
	return all
}

// acks says when each stream's last transaction was acknowledged.
func (p *pipeline) acks() map[string]time.Time {
	all := make(map[string]time.Time, len(p.lines))
	for _, l := range p.lines {
		if l.ingest != nil {
			all[l.source.name] = l.ingest.Stats().LastCommit
		}
	}
	return all
}

// measured adds what the counters of a line have measured.
func (l *line) measured(m *watch.Measured) {
	for _, c := range l.counters() {
		if m.EndToEnd == nil {
			m.EndToEnd, m.Sink = &latency.Histogram{}, &latency.Histogram{}
		}
		s := c.Stats()
		m.EndToEnd.Merge(&s.EndToEnd)
		m.Sink.Merge(&s.Sink)
	}
}

// producer writes records by hand. The client's default partitioner takes the key's.
type producer struct{ cl *kgo.Client }

// anyLarge is a number of partitions of which the chosen one is the hash itself:
// murmur2 without its sign, as Kafka's clients use it.
const anyLarge = 1<<31 - 1

func (p *producer) Produce(ctx context.Context, r web.Record) (int32, int64, error) {
	n, err := p.partitions(ctx, r.Topic)
	if err != nil {
		return 0, 0, err
	}
	if int(r.Partition) >= n {
		return 0, 0, fmt.Errorf("%s has no partition %d, but 0 to %d: choose one of them", r.Topic, r.Partition, n-1)
	}
	rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	if r.Partition < 0 {
		rec.Partition = int32(kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(rec, n))
	}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	cl, err := kgo.NewClient(append(p.cl.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(kafka.MaxMessageBytes), kgo.ClientID("weir-ui"))...)
	if err != nil {
		return 0, 0, fmt.Errorf("write a record: %w", err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return 0, 0, fmt.Errorf("write a record: %w", err)
	}
	return rec.Partition, rec.Offset, nil
}

func (p *producer) PartitionOf(ctx context.Context, topic string, key []byte) (uint32, int32, error) {
	n, err := p.partitions(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	of := func(n int) int {
		return kgo.StickyKeyPartitioner(nil).ForTopic(topic).Partition(&kgo.Record{Key: key}, n)
	}
	return uint32(of(anyLarge)), int32(of(n)), nil
}

func (p *producer) partitions(ctx context.Context, topic string) (int, error) {
	found, err := kadm.NewClient(p.cl).ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", topic, err)
	}
	if err := found[topic].Err; err != nil {
		return 0, fmt.Errorf("look up %s: %w", topic, err)
	}
	return len(found[topic].Partitions), nil
}

// Package node is a running weir: the data directory and the runtime file in it, the
// brokers and the Redis of this process, ingesters and counters, the control socket
// and the web UI, and how all of them start and stop. It prints nothing: it reports
// to its Config and returns errors. Flags and printing belong to cmd/weir.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// Config says what a node runs.
type Config struct {
	Command string // as the runtime file names it
	Version string
	Data    string // the data directory, absolute
	Env     map[string]string
	// Target has the Mode, and the addresses of an existing cluster and Redis. With an
	// Engine, the node runs those that it does not name.
	Target *Target
	Engine string // of the brokers; empty for no brokers and no Redis here
	Ports  *Ports
	Keep   Keep

	Ingest, Count []Source // what is produced and counted here
	Group         string   // that counts; empty for the source's own
	Streams       *Streams
	Pace          time.Duration // between the commits of an ingester; 0 for the usual one

	Listen *Listen // of the web UI; nil for none
	// CountsOptional shows a cluster without counts where no Redis answers.
	CountsOptional bool
	Where          web.Where
	Labs           *web.Labs
	Exercises      string // where the web UI finds the reports of exercises

	// Say gets a line of news, Warn one about a problem, Progress what is being done at
	// the start.
	Say, Warn, Progress func(string)
	// SameData is the flag, with a space before it, by which other commands find this
	// node; empty for none.
	SameData string
}

// Node is a running weir. Its parts are opened in the order of its fields, and closed
// in reverse order.
type Node struct {
	*Target
	closers
	cfg Config

	home    *home
	brokers cluster.Engine // nil with an existing cluster
	redis   *redisd.Server // nil with an existing Redis
	control *web.Socket

	store     *tally.Store // nil without counts
	upstreams *Upstreams   // nil with live streams
	lines     []*line
	members   *memberships // nil where the number of counters is fixed
	ui        *webUI       // nil where this process answers no requests

	mu    sync.Mutex
	notes []string

	totals totals
}

// closers close what was opened.
type closers []func() error

// closing adds what closes something that was just opened.
func (c *closers) closing(f func() error) { *c = append(*c, f) }

// Close closes all of it once, in reverse order.
func (c *closers) Close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}

// line is what this process does with one stream.
type line struct {
	source    Source
	simulated bool
	group     string           // empty where only produced
	ingest    *ingest.Ingester // nil where only counted
	task      *task            // of the ingester
	fault     func() error     // of the brokers
	meter     rateMeter
	window    latency.Window

	mu       sync.Mutex
	counters []*member // that count it here
}

// Open opens everything that the node runs, and starts nothing of it but the servers.
func Open(ctx context.Context, cfg Config) (n *Node, err error) {
	n = &Node{Target: cfg.Target, cfg: cfg}
	defer func() {
		if err != nil {
			n, err = nil, errors.Join(err, n.Close())
		}
	}()
	for _, open := range []func(context.Context) error{n.openEngine, n.openTopics, n.openStore, n.openLines, n.openUI} {
		if err := open(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

// openTopics checks an existing cluster and makes the topics, where this process uses them.
func (n *Node) openTopics(ctx context.Context) error {
	if n.cfg.Engine == "" && len(n.cfg.Ingest) == 0 && len(n.cfg.Count) == 0 {
		return nil
	}
	return n.prepareTopics(ctx, Purpose(n.cfg.Ingest, n.cfg.Count, n.cfg.Group))
}

// openStore connects to the counts, where this process writes or shows them.
func (n *Node) openStore(ctx context.Context) (err error) {
	if len(n.cfg.Count) == 0 && n.cfg.Listen == nil && n.cfg.Engine == "" {
		return nil
	}
	n.store, err = n.OpenStore(ctx)
	switch {
	case err != nil && n.cfg.CountsOptional:
		n.cfg.Say("without counts: " + err.Error())
		return nil
	case err != nil:
		return err
	}
	n.closing(n.store.Close)
	if len(n.cfg.Count) > 0 && n.redis == nil {
		for _, f := range ofRedis(n.store.Findings()) {
			n.Report(f)
		}
	}
	return nil
}

// openLines makes the ingesters and the counters, after the simulated upstreams.
func (n *Node) openLines(context.Context) (err error) {
	var names []string
	for _, s := range n.cfg.Ingest {
		names = append(names, s.Name)
	}
	if len(names) > 0 {
		if n.upstreams, err = n.cfg.Streams.Simulate(n.Mode, n.cfg.Data, names...); err != nil {
			return err
		}
		n.closing(n.upstreams.Close)
	}
	for _, s := range n.cfg.Ingest {
		if err := n.produce(s); err != nil {
			return err
		}
	}
	for _, s := range n.cfg.Count {
		if err := n.consume(s); err != nil {
			return err
		}
	}
	if n.control != nil && len(n.cfg.Count) > 0 {
		n.members = &memberships{n: n}
	}
	return nil
}

// lineOf is the line of a source, made when there is none yet.
func (n *Node) lineOf(s Source) *line {
	for _, l := range n.lines {
		if l.source.Name == s.Name {
			return l
		}
	}
	l := &line{source: s, simulated: n.Mode == Simulated, fault: n.fault}
	n.lines = append(n.lines, l)
	return l
}

// produce adds the ingester of a source.
func (n *Node) produce(s Source) error {
	src, err := n.cfg.Streams.New(s.Name)
	if err != nil {
		return err
	}
	i, err := ingest.New(ingest.Config{
		Kafka: n.measured("weir-produce-" + s.Name), Source: src, Origin: n.cfg.Streams.origin(), Pace: n.cfg.Pace, Log: n.Log,
		Topics: s.ingested(),
	})
	if err != nil {
		return err
	}
	l := n.lineOf(s)
	l.ingest, l.task = i, newTask(s.Name, i.Run)
	return nil
}

// consume adds the counters of a source: of its data, and of its account events
// where it has a topic for those.
func (n *Node) consume(s Source) error {
	l := n.lineOf(s)
	l.group = cmp.Or(n.cfg.Group, s.Group)
	for _, topic := range s.Topics() {
		m, err := n.newMember(l, topic, s.GroupOf(topic, l.group))
		if err != nil {
			return err
		}
		l.counters = append(l.counters, m)
	}
	return nil
}

// Run runs the node until ctx ends, a part below the streams fails or no stream runs
// any more, and drains: first the ingesters, then the counters once they have counted
// what was produced. A process without streams waits for ctx.
func (n *Node) Run(ctx context.Context) error {
	base := supervise(ctx, n.baseTasks()...)
	defer base.stop()
	if len(n.lines) == 0 {
		select {
		case <-ctx.Done():
			n.cfg.Say("stopping")
			return nil
		case <-base.ends:
			return base.err()
		}
	}
	in, out := supervise(ctx), supervise(ctx)
	for _, l := range n.lines {
		if l.task != nil {
			in.start(l.task)
		}
		for _, m := range l.counters {
			out.start(m.task)
		}
	}
	if n.members != nil {
		n.members.out.Store(out)
	}
	err := n.watch(ctx, in, out, base)
	if ctx.Err() != nil {
		n.cfg.Say("stopping: weir stores and counts the events that it has received")
	}
	in.stop()
	if len(n.cfg.Count) > 0 && len(n.cfg.Ingest) > 0 {
		n.catchUp(context.WithoutCancel(ctx))
	}
	out.stop()
	return errors.Join(err, in.err(), out.err())
}

// baseTasks are what runs below and beside the streams: retention, snapshots, the web UI.
func (n *Node) baseTasks() (tasks []*task) {
	if n.brokers != nil {
		tasks = append(tasks, newTask("brokers", n.brokers.Run))
	}
	if n.redis != nil {
		tasks = append(tasks, newTask("redis", n.redis.Run))
	}
	if n.ui != nil {
		tasks = append(tasks, newTask("web UI", func(ctx context.Context) error { return n.ui.server.Serve(ctx, n.ui.listener) }))
		if n.ui.listener != nil { // otherwise no page shows the live picture
			tasks = append(tasks, newTask("watch", n.ui.watcher.Run), newTask("learn", n.ui.learn.Run))
		}
	}
	if len(n.cfg.Ingest) == 0 && len(n.cfg.Count) > 0 {
		tasks = append(tasks, newTask("assignment", n.reportAssignment))
	}
	return tasks
}

// watch waits for a reason to end.
func (n *Node) watch(ctx context.Context, in, out, base *supervisor) error {
	for {
		var of *supervisor
		var end *task
		select {
		case <-ctx.Done():
			return nil
		case end := <-base.ends:
			return fmt.Errorf("%s: %w", end.name, end.failure())
		case end = <-in.ends:
			of = in
		case end = <-out.ends:
			of = out
		}
		if of.failed() { // the errors are returned, and so reported once
			return nil
		}
		n.cfg.Say(fmt.Sprintf("%s stopped, the rest goes on: %v", end.name, end.failure()))
	}
}

// catchUpTime bounds how long draining waits until what was produced is counted.
// What is not counted by then is counted at the next start.
const catchUpTime = 5 * time.Second

// catchUp waits until this process's counters have counted what its ingesters have
// produced, or catchUpTime is over. A lag that cannot be read is read again: a
// broker may just have been killed.
func (n *Node) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	cl, err := n.OpenKafka(ctx)
	if err != nil {
		return
	}
	defer cl.Close()
	Every(ctx, 50*time.Millisecond, func(time.Time) bool {
		left, err := n.lag(ctx, cl)
		return err != nil || left > 0
	})
}

// Every calls do at once and then at each tick, until it returns false or ctx ends.
func Every(ctx context.Context, interval time.Duration, do func(time.Time) bool) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for now := time.Now(); do(now); {
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
	}
}

// lag is how many offsets are not counted yet by this process's counters. A counter
// learns of what an ingester committed last only with its next fetch, so the
// brokers are asked for the ends of the logs: those in a counter's Stats are older.
func (n *Node) lag(ctx context.Context, cl *kgo.Client) (int64, error) {
	var topics []string
	for _, l := range n.lines {
		topics = append(topics, l.source.Topics()...)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	var left int64
	for _, l := range n.lines {
		for _, s := range l.stats() {
			for _, part := range s.Partitions {
				end, ok := ends.Lookup(s.Topic, part.Partition)
				if !ok || part.Stopped != "" {
					continue // the topic was deleted, or the counter waits for the user
				}
				if end.Err != nil {
					return 0, end.Err
				}
				left += max(0, end.Offset-part.Next)
			}
		}
	}
	return left, nil
}

// Dir is the directory of the node's data.
func (n *Node) Dir() string { return n.home.dir }

// BrokerEngine is the engine of the brokers that the node runs; empty where an
// existing cluster is used.
func (n *Node) BrokerEngine() string {
	if n.brokers == nil {
		return ""
	}
	return n.brokers.Name()
}

// OwnRedis reports whether the node runs the Redis.
func (n *Node) OwnRedis() bool { return n.redis != nil }

// Notes are remarks on the start: ports that were taken, damaged data that was cut.
func (n *Node) Notes() []string { return n.notes }

// Link is where the web UI is, with the token where one was generated; empty without one.
func (n *Node) Link() string {
	if n.ui == nil || n.ui.listener == nil {
		return ""
	}
	return n.ui.link()
}

// Ingested is what the ingester of a source has done.
func (n *Node) Ingested(s Source) ingest.Stats { return n.lineOf(s).ingest.Stats() }

// Counted returns the counts of the node's streams, over all runs.
func (n *Node) Counted(ctx context.Context) (mine []tally.Tally, err error) {
	all, err := n.store.All(ctx)
	for _, t := range all {
		if l, topic := n.counted(t.Group); l != nil && topic == t.Topic {
			mine = append(mine, t)
		}
	}
	return mine, err
}

// byStream is what read returns of each line that has an ingester, by the stream's name.
func byStream[T any](n *Node, read func(*line) T) map[string]T {
	all := make(map[string]T, len(n.lines))
	for _, l := range n.lines {
		if l.ingest != nil {
			all[l.source.Name] = read(l)
		}
	}
	return all
}

// local is what this process knows of its streams, for the web UI.
func (n *Node) local() map[string]watch.Local { return byStream(n, (*line).local) }

// acks says when each stream's last transaction was acknowledged.
func (n *Node) acks() map[string]time.Time {
	return byStream(n, func(l *line) time.Time { return l.ingest.Stats().LastCommit })
}

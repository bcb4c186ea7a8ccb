package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/upstream"
	"github.com/weir-project/weir/internal/wikipedia"
)

// pipeline is what a command runs of the way from sockets to counts: ingesters,
// counters, or both, and the status lines about them.
type pipeline struct {
	app    *app
	target *target
	store  *tally.Store // nil without counters
	lines  []*line

	ingesters, counters []*part
	closers             []func() error
	own                 bool // the streams are simulated in this process
	// fault returns why the brokers of this process take no records, or nil; nil
	// where they are not in this process.
	fault       func() error
	memberships *memberships

	totals totals
}

// line is one stream's share of a pipeline.
type line struct {
	source    source
	simulated bool
	group     string           // empty where only produced
	topics    []string         // that are counted
	ingest    *ingest.Ingester // nil where only counted
	part      *part            // of the ingester
	fault     func() error     // as of the pipeline
	meter     rateMeter

	mu      sync.Mutex
	members []*member // that count it here
}

// lineOf is the line of a source, made when there is none yet.
func (p *pipeline) lineOf(s source) *line {
	for _, l := range p.lines {
		if l.source.name == s.name {
			return l
		}
	}
	l := &line{source: s, simulated: p.target.mode == modeSimulated, fault: p.fault}
	p.lines = append(p.lines, l)
	return l
}

// eventSource is what both sources are.
type eventSource interface {
	ingest.Source
	Status() event.SourceStatus
}

// newSource makes the client of a stream.
func (a *app) newSource(name string, f *sourceFlags) (eventSource, error) {
	agent := upstream.UserAgent(buildVersion().Version)
	live := a.liveURLs()
	if name == bluesky.Name {
		urls := f.blueskyURLs
		if len(urls) == 0 && a.env[testPrefix+"LIVE"] != "" {
			urls = live[:1]
		}
		cfg := bluesky.Config{URLs: urls, Collections: f.collections, UserAgent: agent, Log: a.log}
		if f.dictionary != "" {
			var err error
			if cfg.Dictionary, err = os.ReadFile(f.dictionary); err != nil {
				return nil, cli.UsageError("give the file zstd_dictionary of Jetstream's source", "--zstd-dictionary: %w", err)
			}
			cfg.Compress = true
		}
		return bluesky.New(cfg)
	}
	url := f.wikipediaURL
	if url == "" {
		url = live[1]
	}
	return wikipedia.New(wikipedia.Config{URL: url, UserAgent: agent, Log: a.log})
}

// produce adds the ingester of a source.
func (p *pipeline) produce(s source, f *sourceFlags) error {
	src, err := p.app.newSource(s.name, f)
	if err != nil {
		return err
	}
	origin := "" // of a server that was named: it says so itself when it is connected
	switch {
	case p.own:
		origin = fmt.Sprintf("%s:%d", event.OriginSimulated, f.seed)
	case !f.explicitURL():
		origin = event.OriginLive
	}
	i, err := ingest.New(ingest.Config{
		Kafka: p.app.measured(p.target.kafka, "weir-produce-"+s.name), Source: src, Origin: origin, Log: p.app.log,
		Topics: ingest.Topics{Data: s.topic, Account: s.account, DeadLetter: kafka.TopicDeadLetters},
	})
	if err != nil {
		return err
	}
	l := p.lineOf(s)
	l.ingest = i
	l.part = &part{name: s.name, run: i.Run}
	p.ingesters = append(p.ingesters, l.part)
	return nil
}

// consume adds the counters of a source: of its data, and of its account events
// where it has a topic for those.
func (p *pipeline) consume(s source, group string) error {
	l := p.lineOf(s)
	l.group = group
	l.topics = []string{s.topic}
	if s.account != "" {
		l.topics = append(l.topics, s.account)
	}
	for _, topic := range l.topics {
		m, err := p.newMember(l, topic, s.groupOf(topic, group))
		if err != nil {
			return err
		}
		l.members = append(l.members, m)
		p.counters = append(p.counters, m.part)
	}
	return nil
}

// run runs the pipeline until ctx ends, own fails (the engine below it, nil where
// that is another process) or nothing of it runs any more, and drains.
func (p *pipeline) run(ctx context.Context, own *group) error {
	if own == nil {
		own = startGroup(ctx)
	}
	in, out := startGroup(ctx, p.ingesters...), startGroup(ctx, p.counters...)
	if p.memberships != nil {
		p.memberships.out.Store(out)
	}
	show, hide := context.WithCancel(ctx)
	var board sync.WaitGroup
	board.Go(func() { p.app.showStatus(show, p.read) })
	err := p.watch(ctx, in, out, own)
	hide()
	board.Wait()
	if ctx.Err() != nil {
		p.app.stderr.Linef("stopping: what is under way is stored and counted")
	}
	in.stop()
	if len(p.counters) > 0 && len(p.ingesters) > 0 {
		p.catchUp(context.WithoutCancel(ctx))
	}
	out.stop()
	return errors.Join(err, in.err(), out.err())
}

// watch waits for a reason to end.
func (p *pipeline) watch(ctx context.Context, in, out, own *group) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case end := <-own.ends:
			return fmt.Errorf("%s: %w", end.name, end.failure())
		case end := <-in.ends:
			if in.failed() { // the errors are returned: they are said once
				return nil
			}
			p.app.stderr.Linef("%s stopped, the rest goes on: %s", end.name, cli.OneLine(end.failure().Error()))
		case end := <-out.ends:
			if out.failed() {
				return nil
			}
			p.app.stderr.Linef("%s stopped, the rest goes on: %s", end.name, cli.OneLine(end.failure().Error()))
		}
	}
}

// catchUpTime bounds how long draining waits until what was produced is counted.
// What is not counted by then is counted at the next start.
const catchUpTime = 5 * time.Second

// catchUp waits until this process's counters have counted what its ingesters have
// produced, or catchUpTime is over. A lag that cannot be asked for is asked for
// again: a broker may just have been killed.
func (p *pipeline) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	cl, err := p.app.openKafka(ctx, p.target)
	if err != nil {
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if left, err := p.lag(ctx, admin); err == nil && left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lag is how many offsets are not counted yet by this process's counters. A counter
// learns of what an ingester committed last only with its next fetch, so the
// brokers are asked for the ends of the logs: those in a counter's Stats are older.
func (p *pipeline) lag(ctx context.Context, admin *kadm.Client) (int64, error) {
	var topics []string
	for _, l := range p.lines {
		topics = append(topics, l.topics...)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return 0, err
	}
	var left int64
	for _, l := range p.lines {
		for _, c := range l.counters() {
			s := c.Stats()
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

// read is the status at a moment.
func (p *pipeline) read(ctx context.Context, now time.Time) []stream {
	totals := p.totals.read(ctx, p.store, now)
	out := make([]stream, len(p.lines))
	for i, l := range p.lines {
		out[i] = l.stream(now)
		if l.group != "" {
			out[i].total = -1
			if totals != nil {
				out[i].total = totals[[2]string{l.group, l.source.topic}]
			}
		}
	}
	return out
}

// stream is a line's status, without the totals that Redis knows.
func (l *line) stream(now time.Time) stream {
	s := stream{name: l.source.name, simulated: l.simulated, total: -1, lag: -1}
	var counted int64
	for _, c := range l.counters() {
		cs := c.Stats()
		counted += cs.Events
		s.lag = max(s.lag, 0) + cs.Lag
	}
	s.state, _ = l.trouble()
	s.trouble = s.state != ""
	if l.ingest == nil {
		s.rate = l.meter.observe(now, counted)
		if s.state == "" {
			s.state = "group " + l.group
		}
		return s
	}
	is := l.ingest.Stats()
	s.rate = l.meter.observe(now, is.Events)
	if l.group == "" {
		s.total = is.Events
	}
	s.queued, s.capacity = is.Queue.Events, is.Queue.MaxEvents
	if !s.trouble {
		s.state, s.trouble = sourceState(is, now)
	}
	return s
}

// trouble is what keeps a line's events from being stored or counted, with the way
// out, and since when that is known; empty for nothing. What waits for the user
// comes before what goes on by itself, and what the brokers of this process report
// about themselves before what their clients conclude.
func (l *line) trouble() (text string, since time.Time) {
	if l.part != nil && l.part.failure() != nil {
		return "stopped: " + l.part.failure().Error(), time.Time{}
	}
	for _, c := range l.counters() {
		cs := c.Stats()
		for _, p := range cs.Partitions {
			if p.Stopped != "" {
				return fmt.Sprintf("partition %d of %s is not counted: %s", p.Partition, cs.Topic, p.Stopped), time.Time{}
			}
		}
		switch {
		case cs.KafkaError != "":
			text, since = "waiting for Kafka: "+cs.KafkaError, cs.Since
		case cs.RedisError != "":
			text, since = "waiting for Redis: "+cs.RedisError, cs.Since
		}
	}
	if l.ingest != nil {
		if is := l.ingest.Stats(); is.Waiting != "" {
			text, since = "waiting for Kafka: "+is.Waiting, is.WaitingSince
		}
	}
	if l.fault != nil {
		if fault := l.fault(); fault != nil {
			text = "waiting for Kafka: " + fault.Error()
		}
	}
	return text, since
}

// sourceState says how an ingester's stream is doing.
func sourceState(is ingest.Stats, now time.Time) (text string, trouble bool) {
	src := is.Source
	switch {
	case is.LastError != "" && !src.Connected:
		return is.LastError, true
	case src.Connected && src.Reconnects > 0:
		return fmt.Sprintf("%s, reconnected %s", src.Host, cli.AgoText(src.Since, now)), false
	case src.Connected:
		return src.Host, false
	case src.LastError != "":
		return "connecting again: " + src.LastError, true
	}
	return "connecting", false
}

// totalsEvery is how old totals may become; a little less than two redraws, so
// that a tick that comes early does not make it three.
const totalsEvery = 2*redrawEvery - sampleSlack

// totals are the counts in Redis.
type totals struct {
	at   time.Time
	sums map[[2]string]int64
}

// read returns the events counted by group and topic, nil where Redis does not answer.
func (t *totals) read(ctx context.Context, store *tally.Store, now time.Time) map[[2]string]int64 {
	if store == nil || now.Sub(t.at) < totalsEvery {
		return t.sums
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	t.at = now
	all, err := store.All(ctx)
	if err != nil {
		t.sums = nil // an old number must not look like a live one
		return nil
	}
	t.sums = make(map[[2]string]int64)
	for _, x := range all {
		t.sums[[2]string{x.Group, x.Topic}] += x.Sum()
	}
	return t.sums
}

// close closes what the pipeline opened, in reverse order.
func (p *pipeline) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}

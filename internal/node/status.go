package node

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/watch"
)

// Status is how a stream is doing at one moment.
type Status struct {
	Name      string
	Simulated bool
	// Rate is events per second over the last seconds, committed to Kafka, or
	// counted where nothing is produced.
	Rate float64
	// Total is what is counted so far, over all runs; negative is unknown.
	Total int64
	// Lag is how many events of the topic are not counted yet; negative is unknown.
	Lag int64
	// Queued and Capacity are of the queue between socket and Kafka, in events;
	// no Capacity, no queue.
	Queued, Capacity int
	// P50 and P99 are within what time half and 99 % of the events of the last seconds were
	// counted, from their arrival at the socket; committed, where this process does not
	// count. 0 means that none was.
	P50, P99 time.Duration
	// State says in words how the stream is doing: the server and since when it is
	// connected, what it waits for, or why it stopped.
	State   string
	Trouble bool // the state needs attention
}

// Status reads how the streams are doing.
func (n *Node) Status(ctx context.Context, now time.Time) []Status {
	totals := n.totals.read(ctx, n, now)
	out := make([]Status, len(n.lines))
	for i, l := range n.lines {
		out[i] = l.status(now)
		if l.group != "" && totals != nil {
			out[i].Total = totals[[2]string{l.group, l.source.Topic}]
		}
	}
	return out
}

// status is a line's status, without the totals that Redis knows.
func (l *line) status(now time.Time) Status {
	s := Status{Name: l.source.Name, Simulated: l.simulated, Total: -1, Lag: -1}
	var counted int64
	var took latency.Histogram
	for _, c := range l.stats() {
		counted += c.Events
		took.Merge(&c.EndToEnd)
		s.Lag = max(s.Lag, 0) + c.Lag
	}
	s.State, _ = l.trouble()
	s.Trouble = s.State != ""
	if l.ingest == nil {
		s.Rate = l.meter.observe(now, counted)
		s.took(l.window.Recent(now, &took))
		if s.State == "" {
			s.State = "group " + l.group
		}
		return s
	}
	is := l.ingest.Stats()
	s.Rate = l.meter.observe(now, is.Events)
	if l.group == "" {
		s.Total, took = is.Events, is.Latency
	}
	s.took(l.window.Recent(now, &took))
	s.Queued, s.Capacity = is.Queue.Events, is.Queue.MaxEvents
	if !s.Trouble {
		s.State, s.Trouble = sourceState(is, now)
	}
	return s
}

func (s *Status) took(recent latency.Histogram) {
	s.P50, s.P99 = recent.Quantile(0.5), recent.Quantile(0.99)
}

// stats are those of the line's counters now, of all groups.
func (l *line) stats() []count.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]count.Stats, len(l.counters))
	for i, m := range l.counters {
		out[i] = m.counter.Stats()
	}
	return out
}

// trouble is what keeps a line's events from being stored or counted, with the way
// out, and since when that is known; empty for nothing. What waits for the user
// comes before what goes on by itself, and what the brokers of this process report
// about themselves before what their clients conclude.
func (l *line) trouble() (text string, since time.Time) {
	if l.task != nil && l.task.failure() != nil {
		return "stopped: " + l.task.failure().Error(), time.Time{}
	}
	for _, c := range l.stats() {
		for _, p := range c.Partitions {
			if p.Stopped != "" {
				return fmt.Sprintf("partition %d of %s is not counted: %s", p.Partition, c.Topic, p.Stopped), time.Time{}
			}
		}
		switch {
		case c.KafkaError != "":
			text, since = "waiting for Kafka: "+c.KafkaError, c.Since
		case c.RedisError != "":
			text, since = "waiting for Redis: "+c.RedisError, c.Since
		}
	}
	if l.ingest != nil {
		if is := l.ingest.Stats(); is.Waiting != "" {
			text, since = "waiting for Kafka: "+is.Waiting, is.WaitingSince
		}
	}
	if fault := l.fault(); fault != nil {
		text = "waiting for Kafka: " + fault.Error()
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

// local is what this process knows of a stream, for the web UI.
func (l *line) local() watch.Local {
	s, counters := l.ingest.Stats(), l.stats()
	w := watch.Local{
		State: "connecting", Host: s.Source.Host, Origin: s.Source.Origin, LastError: s.Source.LastError, Reconnects: s.Source.Reconnects,
		Duplicates: s.Duplicates, TooOld: s.TooOld, Gaps: s.Gaps, Rejects: s.Rejects, Skipped: s.Skipped, Members: len(counters),
		Queue:    &watch.Queue{Events: s.Queue.Events, MaxEvents: s.Queue.MaxEvents, Bytes: s.Queue.Bytes, MaxBytes: s.Queue.MaxBytes, BlockedMS: s.Queue.Blocked.Milliseconds()},
		Measured: watch.Measured{Commit: &s.Latency},
	}
	w.Since, w.LastEvent = watch.Millis(s.Source.Since), watch.Millis(s.Source.LastEvent)
	switch {
	case l.task.failure() != nil:
		w.State, w.LastError = "failed", l.task.failure().Error()
	case s.Source.Connected:
		w.State = "connected"
	}
	text, since := l.trouble()
	w.Trouble, w.TroubleSince = text, watch.Millis(since)
	if len(counters) > 0 {
		w.Measured.EndToEnd, w.Measured.Sink = &latency.Histogram{}, &latency.Histogram{}
	}
	for i := range counters {
		w.Measured.EndToEnd.Merge(&counters[i].EndToEnd)
		w.Measured.Sink.Merge(&counters[i].Sink)
	}
	return w
}

// totalsEvery is how old totals may become; a little less than a second, so that a
// reader that comes early each half second does not make it one and a half.
const totalsEvery = 900 * time.Millisecond

// totals are the counts in Redis.
type totals struct {
	at   time.Time
	sums map[[2]string]int64
}

// read returns the events counted by group and topic, nil where Redis does not answer.
func (t *totals) read(ctx context.Context, n *Node, now time.Time) map[[2]string]int64 {
	if n.store == nil || now.Sub(t.at) < totalsEvery {
		return t.sums
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	t.at = now
	all, err := n.store.All(ctx)
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

// rateWindow is what a rate is an average over.
const rateWindow = 5 * time.Second

// rateMeter turns a counter that only grows into a rate over a short window.
type rateMeter struct {
	at    []time.Time
	count []int64
}

// observe notes the counter's value at a time and returns the rate per second.
func (r *rateMeter) observe(now time.Time, count int64) float64 {
	r.at, r.count = append(r.at, now), append(r.count, count)
	// One sample older than the window stays, so that the rate always covers it.
	for len(r.at) > 2 && now.Sub(r.at[1]) >= rateWindow {
		r.at, r.count = r.at[1:], r.count[1:]
	}
	if span := now.Sub(r.at[0]); span > 0 {
		return float64(count-r.count[0]) / span.Seconds()
	}
	return 0
}

package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
)

// Limits on what asking may cost.
const (
	// share is one part of the time that a question may take: a cluster that is
	// large or slow is asked less often, but at least every maxPause.
	share    = 5
	maxPause = 5 * time.Second
	// askTimeout bounds a question: what has been answered by then is shown.
	askTimeout   = 10 * time.Second
	groupsEvery  = time.Second
	fewGroups    = 8               // so many are cheap: their flags move with the ends of the logs
	brokersEvery = 5 * time.Second // brokers, sizes, log starts
	// settingsEvery is for what topics keep.
	settingsEvery = 15 * time.Second
	// maxAged is of how many groups the age of the oldest message that is not
	// consumed is looked up at a time; the others take turns.
	maxAged = 20
)

// question is a kind of question. Answers are applied in the order of these values.
type question int

const (
	aboutTopics question = iota
	aboutBrokers
	aboutGroups
	aboutStreams
	questions
)

// answer changes the next version of the state. Run applies it.
type answer struct {
	about question
	apply func()
}

// ask starts to ask, each kind of question by itself, until ctx ends. A question says how long
// it is until the next one at least; w.interval is it for all.
func (w *Watcher) ask(ctx context.Context, wg *sync.WaitGroup) {
	loop := func(about question, again <-chan struct{}, ask func(context.Context) (apply func(), every time.Duration)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				asking, cancel := context.WithTimeout(ctx, askTimeout)
				apply, every := ask(asking)
				cancel()
				took := time.Since(start)
				select {
				case <-ctx.Done():
				case w.answers <- answer{about, apply}:
				}
				w.rest(ctx, start, took, every, again)
			}
		})
	}
	var startsAt, keepsAt time.Time
	loop(aboutTopics, nil, func(ctx context.Context) (func(), time.Duration) {
		meta, err := w.cfg.Inspector.Metadata(ctx)
		if err != nil {
			return func() { w.noTopics(err) }, 0
		}
		b := logBounds{ends: w.cfg.Inspector.Offsets(ctx, meta, inspect.LogEnds)}
		if time.Since(startsAt) >= brokersEvery {
			b.starts = w.cfg.Inspector.Offsets(ctx, meta, inspect.LogStarts)
			b.firsts = w.cfg.Inspector.Offsets(ctx, meta, inspect.FirstRecords)
			startsAt = time.Now()
		}
		if time.Since(keepsAt) >= settingsEvery {
			// Who may not ask sees no limits.
			b.keeps, _ = w.cfg.Inspector.Keeps(ctx, meta.Topics.Names())
			keepsAt = time.Now()
		}
		at := time.Now()
		return func() { w.applyTopics(at, meta, b) }, 0
	})
	turn := 0
	loop(aboutGroups, nil, func(ctx context.Context) (func(), time.Duration) {
		list, warnings, err := w.cfg.Inspector.Details(ctx, func(names []string) map[string]bool { return w.aged(names, turn) })
		turn += maxAged
		at, every := time.Now(), time.Duration(0)
		if len(list) > fewGroups {
			every = groupsEvery
		}
		return func() { w.applyGroups(at, list, warnings, err) }, every
	})
	loop(aboutBrokers, w.again, func(ctx context.Context) (func(), time.Duration) {
		list, sizes, err := w.cfg.Inspector.BrokersAndSizes(ctx)
		return func() { w.applyBrokers(list, sizes, err) }, brokersEvery
	})
	loop(aboutStreams, nil, func(ctx context.Context) (func(), time.Duration) {
		counts := w.askStreams(ctx)
		at := time.Now()
		return func() { w.applyCounts(at, counts) }, 0
	})
}

// rest waits for the time of the next question of a kind, or until again has something.
func (w *Watcher) rest(ctx context.Context, start time.Time, took, every time.Duration, again <-chan struct{}) {
	for {
		interval, came := w.interval()
		next := start.Add(max(every, interval, took+min(maxPause, (share-1)*took)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
			return
		case <-again:
			return
		case <-came: // and it is time sooner
		}
	}
}

// aged chooses the groups of which the age of the lag is looked up this time.
func (w *Watcher) aged(names []string, turn int) map[string]bool {
	chosen := map[string]bool{}
	for _, s := range w.cfg.Streams {
		chosen[s.Group] = true
	}
	for i := range min(maxAged, len(names)) {
		chosen[names[(turn+i)%len(names)]] = true
	}
	return chosen
}

// streamCounts are what Redis and the cursor hold of a stream.
type streamCounts struct {
	counts  map[string]int64
	counted int64
	total   int64 // -1: unknown
	err     error
}

// askStreams reads the counts of the streams, and how many events they were given.
func (w *Watcher) askStreams(ctx context.Context) map[string]streamCounts {
	all := map[string]streamCounts{}
	for _, cfg := range w.cfg.Streams {
		c := streamCounts{counts: map[string]int64{}, total: -1}
		if w.cfg.Tallies != nil {
			var parts map[int32]tally.Tally
			parts, c.err = w.cfg.Tallies.Partitions(ctx, cfg.Group, cfg.Topic)
			for _, t := range parts {
				for kind, n := range t.Counts {
					c.counts[kind] += n
					c.counted += n
				}
			}
		}
		if w.cfg.Ingested != nil {
			c.total = w.cfg.Ingested(ctx, cfg.Name)
		}
		all[cfg.Name] = c
	}
	return all
}

// silent describes which brokers do not return the log ends of partitions that they lead.
func silent(meta kadm.Metadata, ends kadm.ListedOffsets) string {
	unknown := map[int32]int{}
	for name, m := range meta.Topics {
		for id, p := range m.Partitions {
			var said *kerr.Error // a broker that says no has answered: leaders move
			if o, ok := ends.Lookup(name, id); (!ok || o.Err != nil) && !errors.As(o.Err, &said) && p.Leader >= 0 {
				unknown[p.Leader]++
			}
		}
	}
	var out []string
	for id, n := range unknown {
		out = append(out, "broker "+strconv.Itoa(int(id))+" does not answer for "+Plural(n, "partition")+" that it leads: the last known values are shown")
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// Plural counts things: 1 member, 2 members.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// problem is the fault that the brokers report, from which questions fail too, or
// joins what the kinds of questions last failed with.
func (w *Watcher) problem() string {
	if w.cfg.Fault != nil {
		if fault := w.cfg.Fault(); fault != nil {
			return fault.Error()
		}
	}
	var out []string
	for _, about := range []question{aboutTopics, aboutGroups, aboutBrokers} {
		if s := w.failed[about]; s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, "; ")
}

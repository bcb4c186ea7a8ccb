package watch

import (
	"cmp"
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
	// maxAged is of how many groups the age of the oldest message that is not
	// consumed is looked up at a time; the others take turns.
	maxAged = 20
)

// inbox holds the newest answers until they are drawn.
type inbox struct {
	mu  sync.Mutex
	got answers
}

// answers are what has come in since the last version; nil for nothing new.
type answers struct {
	topics  *topicsAnswer
	groups  *groupsAnswer
	brokers *brokersAnswer
	streams *streamsAnswer
}

type topicsAnswer struct {
	at     time.Time
	meta   kadm.Metadata
	ends   kadm.ListedOffsets
	starts kadm.ListedOffsets // nil where they were not asked for
	err    error
}

type groupsAnswer struct {
	at       time.Time
	list     []inspect.GroupDetail
	warnings []string
	err      error
}

type brokersAnswer struct {
	list  inspect.BrokerList
	sizes map[string]int64 // by topic, nil where they are not told
	err   error
}

type streamsAnswer struct {
	at    time.Time
	of    map[string]streamCounts
	asked bool
}

// streamCounts are what Redis and the cursor say of a stream.
type streamCounts struct {
	counts  map[string]int64
	counted int64
	total   int64 // -1: unknown
	err     error
}

func (b *inbox) put(f func(*answers)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.got)
}

func (b *inbox) take() answers {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = answers{}
	return got
}

// giveBack returns answers that were not drawn, unless newer ones have come.
func (b *inbox) giveBack(old answers) {
	b.put(func(a *answers) {
		a.groups, a.brokers, a.streams = cmp.Or(a.groups, old.groups), cmp.Or(a.brokers, old.brokers), cmp.Or(a.streams, old.streams)
	})
}

// ask starts to ask, each kind of question by itself, until ctx ends.
func (w *Watcher) ask(ctx context.Context, wg *sync.WaitGroup) {
	loop := func(question func(context.Context) (every time.Duration), again <-chan struct{}) {
		wg.Go(func() {
			for {
				start := time.Now()
				asking, cancel := context.WithTimeout(ctx, askTimeout)
				every := question(asking)
				cancel()
				took := time.Since(start)
				pause := time.NewTimer(max(every-took, min(maxPause, (share-1)*took)))
				select {
				case <-ctx.Done():
				case <-pause.C:
				case <-again:
				}
				pause.Stop()
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	var starts time.Time
	loop(func(ctx context.Context) time.Duration {
		with := time.Since(starts) >= brokersEvery
		a := w.askTopics(ctx, with)
		if a.starts != nil {
			starts = a.at
		}
		w.inbox.put(func(got *answers) {
			if a.starts == nil && got.topics != nil {
				a.starts = got.topics.starts // not drawn yet
			}
			got.topics = a
		})
		return w.cfg.Interval
	}, nil)
	turn := 0
	loop(func(ctx context.Context) time.Duration {
		a := w.askGroups(ctx, turn)
		turn += maxAged
		w.inbox.put(func(got *answers) { got.groups = a })
		if len(a.list) <= fewGroups {
			return w.cfg.Interval
		}
		return max(w.cfg.Interval, groupsEvery)
	}, nil)
	loop(func(ctx context.Context) time.Duration {
		a := w.askBrokers(ctx)
		w.inbox.put(func(got *answers) { got.brokers = a })
		return brokersEvery
	}, w.again)
	loop(func(ctx context.Context) time.Duration {
		a := w.askStreams(ctx)
		w.inbox.put(func(got *answers) { got.streams = a })
		return w.cfg.Interval
	}, nil)
}

// askTopics reads metadata and the ends of all logs.
func (w *Watcher) askTopics(ctx context.Context, withStarts bool) *topicsAnswer {
	a := &topicsAnswer{at: time.Now()}
	meta, err := w.cfg.Inspector.Metadata(ctx)
	if err != nil {
		a.err = fmt.Errorf("the cluster cannot be asked: %w", err)
		return a
	}
	a.meta = meta
	ends := w.cfg.Inspector.Offsets(ctx, meta, inspect.LogEnds)
	if withStarts {
		a.starts = w.cfg.Inspector.Offsets(ctx, meta, inspect.LogStarts)
	}
	a.ends, a.at = ends, time.Now()
	return a
}

// askGroups describes all groups.
func (w *Watcher) askGroups(ctx context.Context, turn int) *groupsAnswer {
	list, warnings, err := w.cfg.Inspector.Details(ctx, func(names []string) map[string]bool {
		chosen := map[string]bool{}
		for _, s := range w.cfg.Streams {
			chosen[s.Group] = true
		}
		for i := range min(maxAged, len(names)) {
			chosen[names[(turn+i)%len(names)]] = true
		}
		return chosen
	})
	return &groupsAnswer{at: time.Now(), list: list, warnings: warnings, err: err}
}

// askBrokers asks for what is costly, or known to the running process only.
func (w *Watcher) askBrokers(ctx context.Context) *brokersAnswer {
	list, sizes, err := w.cfg.Inspector.BrokersAndSizes(ctx)
	return &brokersAnswer{list: list, sizes: sizes, err: err}
}

// askStreams reads the tallies of the streams, and how many events they were given.
func (w *Watcher) askStreams(ctx context.Context) *streamsAnswer {
	a := &streamsAnswer{of: map[string]streamCounts{}, asked: w.cfg.Tallies != nil}
	for _, cfg := range w.cfg.Streams {
		c := streamCounts{counts: map[string]int64{}, total: -1}
		if w.cfg.Tallies != nil {
			c.err = w.addCounts(ctx, cfg, &c)
		}
		if w.cfg.Ingested != nil {
			c.total = w.cfg.Ingested(ctx, cfg.Name)
		}
		a.of[cfg.Name] = c
	}
	a.at = time.Now()
	return a
}

func (w *Watcher) addCounts(ctx context.Context, cfg StreamConfig, c *streamCounts) error {
	parts, err := w.cfg.Tallies.Partitions(ctx, cfg.Group, cfg.Topic)
	for _, t := range parts {
		for kind, n := range t.Counts {
			c.counts[kind] += n
			c.counted += n
		}
	}
	return err
}

// silent describes which brokers do not return the log ends of partitions that they lead.
func silent(a *topicsAnswer) string {
	unknown := map[int32]int{}
	for name, m := range a.meta.Topics {
		for id, p := range m.Partitions {
			var said *kerr.Error // a broker that says no has answered: leaders move
			if o, ok := a.ends.Lookup(name, id); (!ok || o.Err != nil) && !errors.As(o.Err, &said) && p.Leader >= 0 {
				unknown[p.Leader]++
			}
		}
	}
	var out []string
	for id, n := range unknown {
		out = append(out, "broker "+strconv.Itoa(int(id))+" does not answer for "+partitions(n)+" that it leads: the last known values are shown")
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func partitions(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return strconv.Itoa(n) + " partitions"
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
	for _, kind := range []string{"topics", "groups", "brokers"} {
		if s := w.said[kind]; s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, "; ")
}

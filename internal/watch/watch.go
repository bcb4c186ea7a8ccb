package watch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

// StreamConfig names one of weir's streams.
type StreamConfig struct {
	Name, Topic, Group string
}

// Tallies reads the counts in Redis.
type Tallies interface {
	Partitions(ctx context.Context, group, topic string) (map[int32]tally.Tally, error)
}

// Config of a Watcher. Inspector is required.
type Config struct {
	Inspector *inspect.Inspector
	// Tallies is nil where there is no Redis.
	Tallies Tallies
	Streams []StreamConfig
	// Local returns what this process knows of its own streams, by name; nil
	// where it runs none.
	Local func() map[string]Local
	// Ingested returns how many events a stream's topic was ever given, -1 where
	// that is unknown; nil for unknown everywhere.
	Ingested func(ctx context.Context, stream string) int64
	// Fault returns why the brokers take no records at present, with the way out, or
	// nil; nil where this process does not run them.
	Fault func() error
	// Version, Mode and Engine are shown as they are.
	Version, Mode, Engine string
	// Interval is the least time between two versions; 0 means 500 ms.
	Interval time.Duration
	Log      *slog.Logger
}

const (
	defaultInterval = 500 * time.Millisecond
	maxLog          = 500
	// firstWithin is how long the first version waits for the topics.
	firstWithin = 3 * time.Second
)

// Watcher watches one cluster. Create it with New, run it with Run.
type Watcher struct {
	cfg Config

	inbox inbox
	again chan struct{} // asks for the brokers at once

	// Owned by Run.
	next    *State
	known   known
	rates   map[string]*track
	ends    map[string]*pastEnds // by topic: sum of its ends
	starts  map[scan.TopicPartition]int64
	last    map[scan.TopicPartition]int64 // the newest end that was told
	lanes   map[string][]Lane             // of the streams' topics
	moved   map[string]time.Time          // by topic: when its end last moved
	leaders map[string]map[int32]int32
	said    map[string]string // what each kind of question last failed with

	latencies map[string]*window // by stream and name
	members   map[string]uint64  // by group: a digest of who has which partitions
	moves     []move             // leaders that moved since the version before

	history *history

	mu      sync.Mutex
	state   *State
	doc     *document
	full    []byte // the state as JSON, made when first asked for
	version int64
	log     []Entry
	entries int64
	clients map[*Subscription]struct{}
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Watcher, error) {
	if cfg.Inspector == nil {
		return nil, errors.New("watch a cluster: no inspector given")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		cfg: cfg, history: newHistory(),
		rates: map[string]*track{}, ends: map[string]*pastEnds{}, starts: map[scan.TopicPartition]int64{}, last: map[scan.TopicPartition]int64{},
		lanes: map[string][]Lane{}, moved: map[string]time.Time{}, leaders: map[string]map[int32]int32{}, clients: map[*Subscription]struct{}{},
		latencies: map[string]*window{}, members: map[string]uint64{}, said: map[string]string{}, again: make(chan struct{}, 1),
	}
	w.next = &State{Version: cfg.Version, Mode: cfg.Mode, Engine: cfg.Engine,
		Cluster: Cluster{Controller: -1, Brokers: map[string]*Broker{}},
		Streams: map[string]*Stream{}, Topics: map[string]*Topic{}, Groups: map[string]*Group{}}
	w.state = w.next
	var err error
	if w.doc, err = newDocument(w.state); err != nil {
		return nil, err
	}
	return w, nil
}

// Run watches until ctx ends. It shows a cluster that does not answer, and returns no error.
// Topics, groups, brokers and counts are asked for independently, so that the one
// that is slow holds up none of the others.
func (w *Watcher) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	defer w.closeAll()
	w.ask(ctx, &asking)
	timer := time.NewTicker(w.cfg.Interval)
	defer timer.Stop()
	begin := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			w.draw(now, now.Sub(begin) >= firstWithin)
		}
	}
}

// known says which answers have come at least once: a first answer changes nothing, so
// the log does not report it.
type known struct{ topics, groups, brokers bool }

// draw makes one version of the state of what was answered since the one before,
// and publishes it. The first waits for the topics unless it is due.
func (w *Watcher) draw(now time.Time, due bool) {
	got := w.inbox.take()
	if !w.known.topics && got.topics == nil && !due {
		w.inbox.giveBack(got)
		return
	}
	old, before := w.state, w.known
	next := *old // sections are replaced, never changed
	w.next = &next
	w.moves = nil
	if a := got.topics; a != nil {
		w.applyTopics(a)
	}
	if a := got.brokers; a != nil {
		w.applyBrokers(a)
	}
	if a := got.groups; a != nil {
		w.applyGroups(a)
	}
	if got.topics != nil || got.groups != nil {
		w.lagPerTopic()
	}
	w.applyStreams(now, got.streams)
	next.Cluster.Error = w.problem()
	if w.leadersMoved(old, &next) || next.Cluster.Error != old.Cluster.Error {
		select {
		case w.again <- struct{}{}:
		default:
		}
	}
	next.Time = time.Now().UnixMilli()
	entries := w.news(old, &next, before)
	w.remember(now)
	w.publish(&next, entries)
}

// leadersMoved reports whether a partition has another leader than before, which
// is when the brokers are worth a look at once.
func (w *Watcher) leadersMoved(old, next *State) bool {
	for id, b := range next.Cluster.Brokers {
		if was := old.Cluster.Brokers[id]; was == nil || was.Leaders != b.Leaders {
			return true
		}
	}
	return len(old.Cluster.Brokers) != len(next.Cluster.Brokers)
}

// rate turns a growing number into a rate per second, by name.
func (w *Watcher) rate(now time.Time, name string, value int64) float64 {
	t := w.rates[name]
	if t == nil {
		t = &track{}
		w.rates[name] = t
	}
	return t.add(now, value)
}

// State returns the newest version. It must not be changed.
func (w *Watcher) State() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// History returns an hour of the named series, two seconds apart.
func (w *Watcher) History(names []string) HistoryAnswer { return w.history.get(names) }

// Log returns the newest entries of the log, oldest first, at most limit.
func (w *Watcher) Log(limit int) []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.log[max(0, len(w.log)-max(0, limit)):]
	return append([]Entry{}, all...)
}

// Note adds a line to the log: what the program itself did, such as an action of its user.
func (w *Watcher) Note(e Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.append([]Entry{e})
	w.wake()
}

// append numbers entries and keeps the newest. w.mu is held.
func (w *Watcher) append(entries []Entry) {
	for _, e := range entries {
		w.entries++
		e.ID = w.entries
		if e.Time == 0 {
			e.Time = time.Now().UnixMilli()
		}
		w.log = append(w.log, e)
	}
	if over := len(w.log) - maxLog; over > 0 {
		w.log = append(w.log[:0], w.log[over:]...)
	}
}

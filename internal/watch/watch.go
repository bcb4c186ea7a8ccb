package watch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// StreamConfig names one of weir's streams.
type StreamConfig struct {
	Name, Topic, Group string
}

// Config of a Watcher. Inspector is required.
type Config struct {
	Inspector *inspect.Inspector
	// Tallies has the counts in Redis; nil where there is none.
	Tallies inspect.Tallies
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
	// ReadOnly is shown, too: pages then offer no changes.
	ReadOnly bool
	// Interval is the least time between two versions; 0 means 500 ms. While nobody watches
	// it is 2 s, or Interval where that is longer.
	Interval time.Duration
}

const (
	defaultInterval = 500 * time.Millisecond
	// restAfter is after how long without a look nobody watches. History and the log go on in
	// steps of restInterval then: asking twice a second takes some 70 requests a second.
	restAfter    = 10 * time.Second
	restInterval = Step
	maxLog       = 500
	// firstWithin is how long the first version waits for the topics.
	firstWithin = 3 * time.Second
)

// Watcher watches one cluster. Create it with New, run it with Run.
type Watcher struct {
	cfg Config

	answers chan answer
	again   chan struct{} // asks for the brokers at once
	ended   chan struct{} // closed when Run returns

	// Owned by Run.
	next    *State
	known   [questions]bool   // had an answer: a first one changes nothing, so the log does not report it
	failed  [questions]string // what each kind of question last failed with
	logSize int64             // the most bytes of all logs together, 0 for no limit
	topics  map[string]*pastTopic
	groups  map[string]*pastGroup
	streams map[string]*pastStream // of every stream
	moves   []move                 // leaders that moved since the version before

	history *history

	mu      sync.Mutex
	state   *State
	full    []byte        // the state as JSON, made when first asked for
	patch   []byte        // from the version before, nil for none
	changed chan struct{} // closed when there is a newer version or line of the log
	version int64
	log     []Entry
	entries int64
	clients map[*Subscription]struct{}
	looked  time.Time     // when somebody who does not subscribe looked last
	came    chan struct{} // closed when somebody looks after nobody did
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Watcher, error) {
	if cfg.Inspector == nil {
		return nil, errors.New("watch a cluster: no inspector given")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	w := &Watcher{
		cfg: cfg, history: newHistory(), clients: map[*Subscription]struct{}{}, answers: make(chan answer),
		again: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}), came: make(chan struct{}), looked: time.Now(),
		topics: map[string]*pastTopic{}, groups: map[string]*pastGroup{}, streams: map[string]*pastStream{},
	}
	for _, s := range cfg.Streams {
		w.streams[s.Name] = &pastStream{kinds: map[string]*track{}, shown: Stream{Topic: s.Topic, Group: s.Group, Local: Local{State: "external"},
			Counts: map[string]int64{}, Total: -1, Lanes: []Lane{}}}
	}
	w.next = &State{Version: cfg.Version, Mode: cfg.Mode, Engine: cfg.Engine, ReadOnly: cfg.ReadOnly,
		Cluster: Cluster{Controller: -1, Brokers: map[string]*Broker{}},
		Streams: map[string]*Stream{}, Topics: map[string]*Topic{}, Groups: map[string]*Group{}}
	w.state = w.next
	return w, nil
}

// Run watches until ctx ends. It shows a cluster that does not answer, and returns no error.
// Topics, groups, brokers and counts are asked for independently, so that the one
// that is slow holds up none of the others.
func (w *Watcher) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	defer close(w.ended)
	w.ask(ctx, &asking)
	timer := time.NewTicker(w.cfg.Interval)
	defer timer.Stop()
	begin := time.Now()
	var drawn time.Time
	var got [questions][]answer
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-w.answers:
			got[a.about] = append(got[a.about], a)
		case now := <-timer.C:
			if interval, _ := w.interval(); now.Sub(drawn) < interval-w.cfg.Interval/2 { // a tick comes a little early or late
				continue
			}
			if w.known[aboutTopics] || got[aboutTopics] != nil || now.Sub(begin) >= firstWithin { // the first version waits for the topics
				w.draw(now, got)
				drawn = now
				got = [questions][]answer{}
			}
		}
	}
}

// draw makes one version of the state of what was answered since the one before,
// and publishes it.
func (w *Watcher) draw(now time.Time, got [questions][]answer) {
	old, before := w.state, w.known
	next := *old // sections are replaced, never changed
	w.next = &next
	w.moves = nil
	for _, a := range slices.Concat(got[:]...) {
		a.apply()
	}
	if got[aboutTopics] != nil || got[aboutGroups] != nil {
		w.lagPerTopic()
	}
	w.drawStreams(now)
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

// State returns the newest version. It must not be changed.
func (w *Watcher) State() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.state
}

// Recent is State for a program that asks now and then: the watch does not ask more often for
// its sake, and what it gets may be a few seconds old.
func (w *Watcher) Recent() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// look notes that somebody watches. w.mu is held.
func (w *Watcher) look() {
	if !w.watched() {
		close(w.came)
		w.came = make(chan struct{})
	}
	w.looked = time.Now()
}

// watched reports whether somebody subscribes or has looked of late. w.mu is held.
func (w *Watcher) watched() bool { return len(w.clients) > 0 || time.Since(w.looked) < restAfter }

// interval is the least time between two versions at present. Where nobody watches, came is
// closed when somebody does.
func (w *Watcher) interval() (least time.Duration, came <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched() {
		return w.cfg.Interval, nil
	}
	return max(w.cfg.Interval, restInterval), w.came
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

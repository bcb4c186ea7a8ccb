package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/watch"
)

// Members changes how many counters of this process are in a consumer group.
type Members interface {
	// Own says what this process runs of a group; nil where it is not its own.
	Own(group string) *OwnMembers
	// Add and Remove return when every partition is counted again, or when that
	// took too long.
	Add(ctx context.Context, group string) (Rebalance, error)
	Remove(ctx context.Context, group string) (Rebalance, error)
}

// OwnMembers are the counters of this process in a group.
type OwnMembers struct {
	Members int      `json:"members"`
	IDs     []string `json:"ids"`
	Topic   string   `json:"topic"`
	Source  string   `json:"source"` // what weir consume is given to do the same in another process
	// Rebalances are the changes of members that this weir was asked for, the newest first.
	Rebalances []Rebalance `json:"rebalances"`
}

// Rebalance is what a change of members has stopped, and for how long.
type Rebalance struct {
	Time   int64  `json:"time"`   // Unix milliseconds, of its beginning
	Change string `json:"change"` // added or removed
	// From is where it was asked for: the page, or a terminal.
	From string `json:"from"`
	// Members are the group's afterwards, Own those of this process.
	Members    int `json:"members"`
	Own        int `json:"own"`
	Partitions int `json:"partitions"`
	// Moved is how many partitions moved to another member, StoppedMS how long the one that
	// stood still longest was not counted.
	Moved int `json:"moved"`
	// MovedPartitions are those, in order.
	MovedPartitions []int32 `json:"moved_partitions"`
	StoppedMS       int64   `json:"stopped_ms"`
	// SettledMS is from the beginning until every partition was counted again. Where
	// Settled is false that had not come by then.
	SettledMS int64 `json:"settled_ms"`
	Settled   bool  `json:"settled"`
}

// Text is a rebalance in words.
func (r Rebalance) Text() string {
	s := fmt.Sprintf("a member was %s from %s, %s now: ", r.Change, r.From, watch.Plural(r.Members, "member"))
	switch {
	case r.Members == 0:
		return s + "no counter is left"
	case !r.Settled:
		return s + fmt.Sprintf("not every partition is counted again after %d ms", r.SettledMS)
	case r.Moved == 0:
		return s + fmt.Sprintf("no partition moved, settled after %d ms", r.SettledMS)
	}
	return s + fmt.Sprintf("%d of %s moved and stood still for %d ms at most; every one is counted again after %d ms", r.Moved, watch.Plural(r.Partitions, "partition"), r.StoppedMS, r.SettledMS)
}

// RebalanceAnswer is what a change of members has stopped.
type RebalanceAnswer struct {
	Rebalance
	Text string `json:"text"`
	how
}

func (s *Server) memberAdd(r *http.Request) (RebalanceAnswer, error) {
	return s.changeMembers(r, "join", Members.Add, "FindCoordinator", "JoinGroup", "SyncGroup", "Heartbeat")
}

func (s *Server) memberRemove(r *http.Request) (RebalanceAnswer, error) {
	return s.changeMembers(r, "leave", Members.Remove, "OffsetCommit", "LeaveGroup", "JoinGroup (of the others)", "SyncGroup")
}

func (s *Server) changeMembers(r *http.Request, verb string, do func(Members, context.Context, string) (Rebalance, error),
	requests ...string) (a RebalanceAnswer, err error) {
	group := groupName(r)
	if s.cfg.Members == nil || s.cfg.Members.Own(group) == nil {
		return a, conflict("the members of %q are not counters of this weir: start or stop them where they run", group)
	}
	// The change is measured to its end, also when its client no longer waits.
	if a.Rebalance, err = do(s.cfg.Members, s.work.ctx, group); err != nil {
		return a, conflict("%w", err)
	}
	a.From = origin(r)
	a.Text, a.how = a.Rebalance.Text(), by(weir("groups "+verb, s.cfg.Where.Data, group), requests...)
	s.actions.addRebalance(group, a.Rebalance)
	s.cfg.Watch.Note(watch.Entry{Kind: watch.LogRebalance, Group: group, Text: "group " + group + ": " + a.Text})
	return a, nil
}

const (
	// ackEvery is how exactly a pause is measured. At every leadEvery-th time the leaders
	// are looked up, too.
	ackEvery  = 5 * time.Millisecond
	leadEvery = 50
	// watchAtLeast and watchAtMost bound how long producers are watched after a change.
	watchAtLeast = 3 * time.Second
	watchAtMost  = time.Minute
	// goesOn is how many acknowledgements show that a stream goes on.
	goesOn      = 3
	keptChanges = 10
)

// BrokerChange is a kill or restart of a broker of this weir, and how long producers waited.
type BrokerChange struct {
	Time   int64  `json:"time"` // Unix milliseconds
	Broker int32  `json:"broker"`
	Change string `json:"change"` // killed, killed hard or restarted
	// From is where it was asked for: the page, or a terminal.
	From   string `json:"from"`
	TookMS int64  `json:"took_ms"`
	// Measuring says that producers are still being watched.
	Measuring bool `json:"measuring"`
	// PauseMS is the longest time without an acknowledged transaction around the
	// change, of the stream that waited longest; -1 where nothing is produced here.
	// UsualMS is the median of the times between two of them.
	PauseMS int64  `json:"pause_ms"`
	UsualMS int64  `json:"usual_ms"`
	Stream  string `json:"stream"`
}

// actions are the changes of brokers and groups, and the current measurement.
type actions struct {
	mu         sync.Mutex
	brokers    []*BrokerChange        // the newest first
	rebalances map[string][]Rebalance // by group, the newest first
	cancel     context.CancelFunc     // ends the measurement of the change before
}

// newest puts a value before a list, which keeps the newest ones.
func newest[T any](v T, list []T) []T {
	return slices.Insert(list, 0, v)[:min(keptChanges, len(list)+1)]
}

func (a *actions) brokerChanges() []BrokerChange {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]BrokerChange, len(a.brokers))
	for i, c := range a.brokers {
		out[i] = *c
	}
	return out
}

func (a *actions) rebalancesOf(group string) []Rebalance {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Rebalance{}, a.rebalances[group]...)
}

func (a *actions) addRebalance(group string, r Rebalance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rebalances[group] = newest(r, a.rebalances[group])
}

// ChangesAnswer lists the changes of brokers, the newest first.
type ChangesAnswer struct {
	Changes []BrokerChange `json:"changes"`
}

func (s *Server) brokerChanges(*http.Request) (ChangesAnswer, error) {
	return ChangesAnswer{s.actions.brokerChanges()}, nil
}

// KillRequest is the body of a kill; it may be left out.
type KillRequest struct {
	// Hard kills the process at once, as when a machine fails.
	Hard bool `json:"hard"`
}

// ChangeAnswer is how long killing or restarting a broker took.
type ChangeAnswer struct {
	TookMS int64 `json:"took_ms"`
	how
}

func (s *Server) kill(r *http.Request, req KillRequest) (ChangeAnswer, error) {
	if req.Hard {
		return s.changeBroker(r, "kill", " --hard", "killed hard", Brokers.KillHard)
	}
	return s.changeBroker(r, "kill", "", "killed", Brokers.Kill)
}

func (s *Server) restart(r *http.Request) (ChangeAnswer, error) {
	return s.changeBroker(r, "restart", "", restarted, Brokers.Restart)
}

const restarted = "restarted"

func (s *Server) changeBroker(r *http.Request, verb, flag, past string,
	do func(Brokers, context.Context, int32) error) (a ChangeAnswer, err error) {
	id, err := pathID(r, "broker")
	if err != nil {
		return a, err
	}
	if s.cfg.Brokers == nil {
		return a, conflict("%s broker %d: this cluster is not weir's own: use its own tools", verb, id)
	}
	c := &BrokerChange{Time: time.Now().UnixMilli(), Broker: id, Change: past, From: origin(r), Measuring: s.cfg.Acks != nil, PauseMS: -1, UsualMS: -1}
	changed := s.measure(c)
	start := time.Now()
	err = do(s.cfg.Brokers, r.Context(), id)
	a.TookMS = time.Since(start).Milliseconds()
	if err == nil {
		s.actions.mu.Lock()
		c.TookMS = a.TookMS
		s.actions.brokers = newest(c, s.actions.brokers)
		s.actions.mu.Unlock()
		s.noteBroker(c, "broker %d was %s from %s, which took %d ms", id, past, c.From, a.TookMS)
		if s.cfg.BrokerChanged != nil {
			s.cfg.BrokerChanged(id, verb+"ed")
		}
	}
	changed <- err == nil
	if err != nil {
		return a, conflict("%w", err)
	}
	a.how = by(weir(fmt.Sprintf("brokers %s %d%s", verb, id, flag), s.cfg.Where.Data), "none: connections are reset, leaders and coordinators move")
	return a, nil
}

func (s *Server) noteBroker(c *BrokerChange, format string, args ...any) {
	s.cfg.Watch.Note(watch.Entry{Kind: watch.LogBroker, Broker: strconv.Itoa(int(c.Broker)), Text: fmt.Sprintf(format, args...)})
}

// measure begins to watch the producers of this process, where there are any. Whether the
// change was made is sent on the channel. The measurement of an earlier change ends: what
// follows is this one's.
func (s *Server) measure(c *BrokerChange) chan<- bool {
	changed := make(chan bool, 1)
	if !c.Measuring {
		return changed
	}
	ctx, cancel := context.WithTimeout(s.work.ctx, watchAtMost)
	s.actions.mu.Lock()
	if s.actions.cancel != nil {
		s.actions.cancel()
	}
	s.actions.cancel = cancel
	s.actions.mu.Unlock()
	s.work.wg.Go(func() {
		defer cancel()
		m := pause{s: s, c: c, streams: map[string]*acked{}}
		m.run(ctx, changed)
	})
	return changed
}

// pause measures how long producers wait around a change.
type pause struct {
	s       *Server
	c       *BrokerChange
	streams map[string]*acked
	moved   bool // the leaders have moved
}

// acked are the acknowledgements of one stream.
type acked struct {
	last  time.Time
	gaps  []time.Duration
	after int // since leaders have moved
}

func (m *pause) run(ctx context.Context, changed <-chan bool) {
	start := time.Now()
	made := false
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			m.finish(time.Now(), errors.Is(ctx.Err(), context.DeadlineExceeded))
			return
		case made = <-changed:
			if !made {
				return
			}
		case now := <-tick.C:
			if m.flowing(now) && made && m.moved && now.Sub(start) >= watchAtLeast {
				m.finish(now, false)
				return
			}
			m.moved = m.moved || made && n%leadEvery == 0 && m.settled(ctx)
		}
	}
}

// flowing notes the time of each stream's last acknowledged transaction. It reports whether
// all streams go on since the leaders have moved.
func (m *pause) flowing(now time.Time) bool {
	for name, at := range m.s.cfg.Acks() {
		a := m.streams[name]
		switch {
		case at.IsZero() || a == nil && now.Sub(at) > watchAtMost: // it produces nothing
		case a == nil:
			m.streams[name] = &acked{last: at}
		case at.After(a.last):
			a.gaps = append(a.gaps, at.Sub(a.last))
			a.last = at
			if m.moved {
				a.after++
			}
		}
	}
	for _, a := range m.streams {
		if a.after < goesOn {
			return false
		}
	}
	return true
}

// settled reports whether a killed broker leads nothing any more, or a restarted one runs.
func (m *pause) settled(ctx context.Context) bool {
	list, err := m.s.cfg.Inspector.Brokers(ctx)
	if err != nil {
		return false
	}
	for _, b := range list.Brokers {
		if b.ID == m.c.Broker {
			return m.c.Change == restarted && b.Alive || m.c.Change != restarted && b.Leads == 0
		}
	}
	return m.c.Change != restarted // it is not named any more
}

// finish reports the longest pause. A stream that still waits has waited until now.
func (m *pause) finish(now time.Time, tooLong bool) {
	m.s.actions.mu.Lock()
	m.c.Measuring = false
	for name, a := range m.streams {
		if tooLong && a.after == 0 {
			a.gaps = append(a.gaps, now.Sub(a.last))
		}
		if len(a.gaps) == 0 {
			continue
		}
		slices.Sort(a.gaps)
		if longest := a.gaps[len(a.gaps)-1].Milliseconds(); longest > m.c.PauseMS {
			m.c.PauseMS, m.c.UsualMS, m.c.Stream = longest, a.gaps[len(a.gaps)/2].Milliseconds(), name
		}
	}
	c := *m.c
	m.s.actions.mu.Unlock()
	if c.PauseMS >= 0 {
		m.s.noteBroker(&c, "broker %d was %s: %s", c.Broker, c.Change, c.Pause())
	}
}

// Pause says in words how long producers waited.
func (c BrokerChange) Pause() string {
	if c.PauseMS < 0 {
		return "the pause was not measured, since this weir stores no events"
	}
	return fmt.Sprintf("no transaction of %s was acknowledged for %d ms at most (usually every %d ms)", c.Stream, c.PauseMS, c.UsualMS)
}

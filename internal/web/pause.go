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

const (
	// ackEvery is how exactly a pause is measured, and leadEvery how often it is asked
	// meanwhile who leads.
	ackEvery  = 5 * time.Millisecond
	leadEvery = 250 * time.Millisecond
	// watchAtLeast and watchAtMost bound how long producers are watched after a change.
	watchAtLeast = 3 * time.Second
	watchAtMost  = time.Minute
	// goesOn is how many acknowledgements show that a stream goes on.
	goesOn      = 3
	keptChanges = 10
)

// BrokerChange is what was done to a broker of this weir, and how long producers waited.
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

// actions are what was done to brokers and groups, and the current measurement.
type actions struct {
	mu         sync.Mutex
	brokers    []*BrokerChange        // the newest first
	rebalances map[string][]Rebalance // by group, the newest first
	cancel     context.CancelFunc     // ends the measurement of the change before
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

func (a *actions) addBroker(c *BrokerChange, took int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.TookMS = took
	a.brokers = append([]*BrokerChange{c}, a.brokers...)
	a.brokers = a.brokers[:min(keptChanges, len(a.brokers))]
}

func (a *actions) rebalancesOf(group string) []Rebalance {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Rebalance{}, a.rebalances[group]...)
}

func (a *actions) addRebalance(group string, r Rebalance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rebalances == nil {
		a.rebalances = map[string][]Rebalance{}
	}
	list := append([]Rebalance{r}, a.rebalances[group]...)
	a.rebalances[group] = list[:min(keptChanges, len(list))]
}

func (s *Server) brokerChanges(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, ChangesAnswer{Changes: s.actions.brokerChanges()})
}

// KillRequest is the body of a kill; it may be left out.
type KillRequest struct {
	// Hard kills the process at once, as when a machine fails.
	Hard bool `json:"hard"`
}

func (s *Server) kill(w http.ResponseWriter, r *http.Request) error {
	var req KillRequest
	if r.ContentLength != 0 {
		if err := body(w, r, &req); err != nil {
			return err
		}
	}
	if req.Hard {
		return s.changeBroker(w, r, "kill", " --hard", "killed hard", Brokers.KillHard)
	}
	return s.changeBroker(w, r, "kill", "", "killed", Brokers.Kill)
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) error {
	return s.changeBroker(w, r, "restart", "", "restarted", Brokers.Restart)
}

func (s *Server) changeBroker(w http.ResponseWriter, r *http.Request, verb, flag, past string, do func(Brokers, context.Context, int32) error) error {
	id, err := pathID(r, "broker")
	if err != nil {
		return err
	}
	if s.cfg.Brokers == nil {
		return conflict("%s broker %d: this cluster is not weir's own: use its own tools", verb, id)
	}
	c := &BrokerChange{Time: time.Now().UnixMilli(), Broker: id, Change: past, From: origin(r), PauseMS: -1, UsualMS: -1}
	m := s.watchAcks(c)
	start := time.Now()
	if err := do(s.cfg.Brokers, r.Context(), id); err != nil {
		m.done(false)
		return &statusError{http.StatusConflict, err}
	}
	took := time.Since(start).Milliseconds()
	s.actions.addBroker(c, took)
	s.noteBroker(c, "broker %d was %s from %s, which took %d ms", id, past, c.From, took)
	m.done(true)
	return reply(w, ChangeAnswer{TookMS: took, how: by(command{words: fmt.Sprintf("brokers %s %d%s", verb, id, flag)}.shown(s.cfg.Where.Data), "none: connections are reset, leaders and coordinators move")})
}

func (s *Server) noteBroker(c *BrokerChange, format string, args ...any) {
	s.cfg.Watch.Note(watch.Entry{Kind: watch.LogBroker, Broker: strconv.Itoa(int(c.Broker)), Text: fmt.Sprintf(format, args...)})
}

// ackWatch watches acknowledgements from before a change on.
type ackWatch struct {
	s       *Server
	c       *BrokerChange
	changed chan bool // whether the change was made
}

// done says that the change was made, or failed.
func (m *ackWatch) done(made bool) {
	if m.changed != nil {
		m.changed <- made
	}
}

// watchAcks begins to watch the producers of this process. A watch of an earlier
// change ends: what follows is this one's.
func (s *Server) watchAcks(c *BrokerChange) *ackWatch {
	m := &ackWatch{s: s, c: c}
	if s.cfg.Acks == nil {
		return m
	}
	m.changed = make(chan bool, 1)
	c.Measuring = true
	ctx, cancel := context.WithTimeout(s.work.ctx, watchAtMost)
	p := &s.actions
	p.mu.Lock()
	if p.cancel != nil {
		p.cancel()
	}
	p.cancel = cancel
	p.mu.Unlock()
	s.work.wg.Go(func() {
		defer cancel()
		m.run(ctx)
	})
	return m
}

// acked are the acknowledgements of one stream.
type acked struct {
	last  time.Time
	gaps  []time.Duration
	after int // since leaders have moved
}

func (m *ackWatch) run(ctx context.Context) {
	streams := map[string]*acked{}
	start := time.Now()
	var made, moved bool
	tick, ask := time.NewTicker(ackEvery), time.NewTicker(leadEvery)
	defer tick.Stop()
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			m.finish(streams, time.Now(), errors.Is(ctx.Err(), context.DeadlineExceeded))
			return
		case ok := <-m.changed:
			if !ok {
				return
			}
			made = true
		case now := <-tick.C:
			for name, at := range m.s.cfg.Acks() {
				m.saw(streams, name, at, now, moved)
			}
			if made && moved && now.Sub(start) >= watchAtLeast && allGoOn(streams) {
				m.finish(streams, now, false)
				return
			}
		case <-ask.C:
			if made && !moved {
				moved = m.settled(ctx)
			}
		}
	}
}

// saw notes the time of a stream's last acknowledged transaction.
func (m *ackWatch) saw(streams map[string]*acked, name string, at, now time.Time, moved bool) {
	a := streams[name]
	switch {
	case at.IsZero() || a == nil && now.Sub(at) > watchAtMost: // it produces nothing
		return
	case a == nil:
		streams[name] = &acked{last: at}
	case at.After(a.last):
		a.gaps = append(a.gaps, at.Sub(a.last))
		a.last = at
		if moved {
			a.after++
		}
	}
}

func allGoOn(streams map[string]*acked) bool {
	for _, a := range streams {
		if a.after < goesOn {
			return false
		}
	}
	return true
}

// settled reports whether a killed broker leads nothing any more, or a restarted one runs.
func (m *ackWatch) settled(ctx context.Context) bool {
	list, err := m.s.cfg.Inspector.Brokers(ctx)
	if err != nil {
		return false
	}
	for _, b := range list.Brokers {
		if b.ID == m.c.Broker {
			return m.c.Change == "restarted" && b.Alive || m.c.Change != "restarted" && b.Leads == 0
		}
	}
	return m.c.Change != "restarted" // it is not named any more
}

// finish tells the longest pause. A stream that still waits has waited until now.
func (m *ackWatch) finish(streams map[string]*acked, now time.Time, tooLong bool) {
	p := &m.s.actions
	p.mu.Lock()
	m.c.Measuring = false
	for name, a := range streams {
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
	p.mu.Unlock()
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

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

// BrokerChange is what was done to a broker here, and how long producers waited.
type BrokerChange struct {
	Time   int64  `json:"time"` // Unix milliseconds
	Broker int32  `json:"broker"`
	Change string `json:"change"` // killed, killed hard or restarted
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

// pauses keeps the changes of brokers and the measurement under way.
type pauses struct {
	mu      sync.Mutex
	wg      sync.WaitGroup
	changes []*BrokerChange // the newest first
	cancel  context.CancelFunc
}

func (p *pauses) list() []BrokerChange {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]BrokerChange, len(p.changes))
	for i, c := range p.changes {
		out[i] = *c
	}
	return out
}

// killRequest is the body of a kill; it may be left out.
type killRequest struct {
	// Hard kills at once, as a machine that dies, and not in order.
	Hard bool `json:"hard"`
}

func (s *Server) kill(w http.ResponseWriter, r *http.Request) error {
	var req killRequest
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
		return &statusError{http.StatusConflict, fmt.Errorf("%s broker %d: this cluster is not weir's own: use its own tools", verb, id)}
	}
	c := &BrokerChange{Time: time.Now().UnixMilli(), Broker: id, Change: past, PauseMS: -1, UsualMS: -1}
	m := s.watchAcks(serverContext(r), c)
	start := time.Now()
	if err := do(s.cfg.Brokers, r.Context(), id); err != nil {
		m.done(false)
		return &statusError{http.StatusConflict, err}
	}
	took := time.Since(start).Milliseconds()
	s.pauses.mu.Lock()
	c.TookMS = took
	s.pauses.changes = append([]*BrokerChange{c}, s.pauses.changes...)
	s.pauses.changes = s.pauses.changes[:min(keptChanges, len(s.pauses.changes))]
	s.pauses.mu.Unlock()
	s.cfg.Watch.Note(watch.Entry{Kind: watch.LogBroker, Broker: strconv.Itoa(int(id)), Text: fmt.Sprintf("broker %d was %s here, which took %d ms", id, past, took)})
	m.done(true)
	writeJSON(w, http.StatusOK, changeAnswer{TookMS: took, how: by(command{words: fmt.Sprintf("brokers %s %d%s", verb, id, flag)}.shown(s.cfg.Where.Data), "none: connections are reset, leaders and coordinators move")})
	return nil
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
func (s *Server) watchAcks(ctx context.Context, c *BrokerChange) *ackWatch {
	m := &ackWatch{s: s, c: c}
	if s.cfg.Acks == nil {
		return m
	}
	m.changed = make(chan bool, 1)
	c.Measuring = true
	ctx, cancel := context.WithTimeout(ctx, watchAtMost)
	p := &s.pauses
	p.mu.Lock()
	if p.cancel != nil {
		p.cancel()
	}
	p.cancel = cancel
	p.mu.Unlock()
	p.wg.Go(func() {
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
	p := &m.s.pauses
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
		m.s.cfg.Watch.Note(watch.Entry{Kind: watch.LogBroker, Broker: strconv.Itoa(int(c.Broker)), Text: fmt.Sprintf("broker %d was %s: no transaction of %s was acknowledged for %d ms at most (usually every %d ms)",
			c.Broker, c.Change, c.Stream, c.PauseMS, c.UsualMS)})
	}
}

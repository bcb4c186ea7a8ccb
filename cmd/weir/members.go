package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/web"
)

const (
	// maxMembers is how many counters of one group a process runs: more than any
	// of weir's topics has partitions, so that it can be seen who stands by.
	maxMembers = 16
	// settleTime bounds how long a rebalance is watched.
	settleTime = 20 * time.Second
	// lookEvery is how exactly a stop is measured, askEvery how often Kafka is
	// asked meanwhile who has what.
	lookEvery = 5 * time.Millisecond
	askEvery  = 50 * time.Millisecond
)

// member is one counter of this process: a member of its group.
type member struct {
	group, topic string
	counter      *count.Counter
	part         *part
}

// counters are those of a line now, of all groups.
func (l *line) counters() []*count.Counter {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*count.Counter, len(l.members))
	for i, m := range l.members {
		out[i] = m.counter
	}
	return out
}

// membersOf are a line's members of one group.
func (l *line) membersOf(group string) (out []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.members {
		if m.group == group {
			out = append(out, m)
		}
	}
	return out
}

func (l *line) setMembers(change func([]*member) []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = change(l.members)
}

// newMember makes a counter of a topic of a line.
func (p *pipeline) newMember(l *line, topic, group string) (*member, error) {
	c, err := count.New(count.Config{
		Kafka: p.app.measured(p.target.kafka, "weir-consume-"+l.source.name), Store: p.store, Topic: topic, Group: group,
		Classify: l.source.classify, Log: p.app.log.With("stream", l.source.name),
	})
	if err != nil {
		return nil, err
	}
	return &member{group: group, topic: topic, counter: c, part: &part{name: "count " + topic, run: c.Run}}, nil
}

// memberships changes how many counters of this process are in a group, one change
// at a time, and measures what each change stops.
type memberships struct {
	p      *pipeline
	change sync.Mutex // held through a change

	out atomic.Pointer[group] // runs the counters; nil before
}

// of returns the line and the topic that a group of this process counts.
func (ms *memberships) of(group string) (*line, string, bool) {
	for _, l := range ms.p.lines {
		for _, topic := range l.topics {
			if l.source.groupOf(topic, l.group) == group {
				return l, topic, true
			}
		}
	}
	return nil, "", false
}

// Own says what this process runs of a group, nil where that is nothing of its own.
func (ms *memberships) Own(group string) *web.OwnMembers {
	l, topic, ok := ms.of(group)
	if !ok {
		return nil
	}
	o := &web.OwnMembers{Topic: topic, Source: l.source.name, IDs: []string{}}
	for _, m := range l.membersOf(group) {
		o.Members++
		if id := m.counter.MemberID(); id != "" {
			o.IDs = append(o.IDs, id)
		}
	}
	return o
}

// Add starts one more counter of a group, and returns when every partition is
// counted again.
func (ms *memberships) Add(ctx context.Context, group string) (web.Rebalance, error) {
	l, topic, out, err := ms.begin(group)
	if err != nil {
		return web.Rebalance{}, err
	}
	defer ms.change.Unlock()
	if n := len(l.membersOf(group)); n >= maxMembers {
		return web.Rebalance{}, fmt.Errorf("%d counters of this group run here already: that is the most", n)
	}
	m, err := ms.p.newMember(l, topic, group)
	if err != nil {
		return web.Rebalance{}, err
	}
	r := newRebalance(ms.p, l, m, "added")
	r.run(ctx, func() error {
		if !out.start(m.part) {
			return errors.New("weir is stopping")
		}
		l.setMembers(func(all []*member) []*member { return append(all, m) })
		return nil
	})
	return r.out, r.err
}

// Remove stops the counter that came last, and returns when every partition is
// counted again by those that are left.
func (ms *memberships) Remove(ctx context.Context, group string) (web.Rebalance, error) {
	l, _, out, err := ms.begin(group)
	if err != nil {
		return web.Rebalance{}, err
	}
	defer ms.change.Unlock()
	all := l.membersOf(group)
	if len(all) == 0 {
		return web.Rebalance{}, errors.New("no counter of this group runs here")
	}
	m := all[len(all)-1]
	r := newRebalance(ms.p, l, m, "removed")
	r.run(ctx, func() error {
		out.remove(m.part)
		l.setMembers(func(all []*member) []*member { return slices.DeleteFunc(all, func(x *member) bool { return x == m }) })
		return nil
	})
	return r.out, r.err
}

// begin takes the turn for a change.
func (ms *memberships) begin(group string) (*line, string, *group, error) {
	l, topic, ok := ms.of(group)
	if !ok {
		return nil, "", nil, fmt.Errorf("the members of %q are no counters of this weir: start or stop them where they run", group)
	}
	out := ms.out.Load()
	if out == nil {
		return nil, "", nil, errors.New("the counters are not started yet")
	}
	if !ms.change.TryLock() {
		return nil, "", nil, errors.New("a change of members is under way: wait for its end")
	}
	return l, topic, out, nil
}

// rebalance watches one change of members from its beginning until every
// partition is counted again.
type rebalance struct {
	p       *pipeline
	l       *line
	m       *member // that comes or goes
	out     web.Rebalance
	err     error
	watched []*member
	gone    string // the id of a member that goes
	parts   map[int32]*handed
	before  int // partitions that were counted here before the change
}

// handed is a partition on its way from one member to the next.
type handed struct {
	first, owner *member
	lost         time.Time // when its owner had it last
	at           int64     // the new owner's position when it got it
	counts       bool      // it is counted again
	stood        time.Duration
}

func newRebalance(p *pipeline, l *line, m *member, change string) *rebalance {
	r := &rebalance{p: p, l: l, m: m, parts: map[int32]*handed{}, out: web.Rebalance{Change: change, Time: time.Now().UnixMilli(), MovedPartitions: []int32{}}}
	r.watched = l.membersOf(m.group)
	if slices.Contains(r.watched, m) {
		r.gone = m.counter.MemberID()
	} else {
		r.watched = append(r.watched, m)
	}
	return r
}

func (r *rebalance) run(ctx context.Context, do func() error) {
	insp, cl, err := r.p.app.openInspector(ctx, r.p.target)
	if err != nil {
		r.err = err
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	start := time.Now()
	r.look(start)
	for _, h := range r.parts { // before the change everything is as it should be
		h.first, h.counts = h.owner, true
	}
	r.before = len(r.parts)
	changed := make(chan error, 1)
	go func() { changed <- do() }()
	described := make(chan inspect.GroupDetail, 1)
	var asking sync.WaitGroup
	asking.Go(func() { ask(ctx, insp, r.m.group, described) })
	defer asking.Wait()
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for pending := true; ; {
		select {
		case r.err = <-changed:
			pending = false
			if r.err != nil {
				return
			}
			if r.gone != "" { // what it says now is of the past
				r.watched = slices.DeleteFunc(r.watched, func(x *member) bool { return x == r.m })
			}
		case d := <-described:
			r.out.Members, r.out.Own = len(d.Members), len(r.l.membersOf(r.m.group))
			if now := time.Now(); !pending && r.settled(d, now) {
				r.finish(now.Sub(start), true)
				return
			}
		case now := <-tick.C:
			r.look(now)
		case <-ctx.Done():
			if pending { // it ends, only not as soon as this wanted
				r.err = <-changed
			}
			r.finish(time.Since(start), false)
			return
		}
	}
}

// ask describes the group again and again, the newest answer last.
func ask(ctx context.Context, insp *inspect.Inspector, name string, out chan<- inspect.GroupDetail) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		d, err := insp.Group(ctx, name)
		if err == nil || errors.Is(err, inspect.ErrNoGroup) {
			select {
			case out <- d:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look notes who has which partition, and whether it is counted.
func (r *rebalance) look(now time.Time) {
	seen := map[int32]bool{}
	for _, m := range r.watched {
		for _, ps := range m.counter.Stats().Partitions {
			seen[ps.Partition] = true
			h := r.parts[ps.Partition]
			if h == nil {
				h = &handed{lost: now}
				r.parts[ps.Partition] = h
			}
			if h.owner != m {
				h.owner, h.at, h.counts = m, ps.Next, false
			}
			if !h.counts && (ps.Next > h.at || ps.Lag == 0 || ps.Stopped != "") {
				h.counts = true
				h.stood = max(h.stood, now.Sub(h.lost))
			}
			if h.counts {
				h.lost = now
			}
		}
	}
	for id, h := range r.parts {
		if !seen[id] {
			h.owner, h.counts = nil, false
		}
	}
}

// settled reports whether Kafka and the members agree who has what, and all of it is counted.
func (r *rebalance) settled(d inspect.GroupDetail, now time.Time) bool {
	r.look(now)
	here := len(r.l.membersOf(r.m.group))
	if len(d.Members) == 0 {
		return here == 0
	}
	if d.State != "Stable" {
		return false
	}
	owners := map[string]*member{}
	for _, m := range r.l.membersOf(r.m.group) {
		owners[m.counter.MemberID()] = m
	}
	assigned, found := 0, 0
	for _, m := range d.Members {
		own := owners[m.ID]
		if own != nil {
			found++
		}
		if m.ID == r.gone {
			return false // it has gone, and Kafka does not know it yet
		}
		for _, id := range m.Assigned[r.m.topic] {
			assigned++
			h := r.parts[id]
			if own != nil && (h == nil || h.owner != own || !h.counts) {
				return false
			}
			if own == nil { // another process's: what it counts is not known here
				delete(r.parts, id)
			}
		}
	}
	r.out.Partitions = assigned
	return found == here && assigned > 0 && assigned >= max(len(d.Partitions), r.before)
}

func (r *rebalance) finish(took time.Duration, settled bool) {
	r.out.Settled, r.out.SettledMS = settled, took.Milliseconds()
	for id, h := range r.parts {
		if h.owner != h.first {
			r.out.Moved++
			r.out.MovedPartitions = append(r.out.MovedPartitions, id)
		}
		if h.counts && h.owner != h.first {
			r.out.StoppedMS = max(r.out.StoppedMS, h.stood.Milliseconds())
		}
	}
	slices.Sort(r.out.MovedPartitions)
}

package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/web"
)

const (
	// settleTime bounds how long a rebalance is watched.
	settleTime = 20 * time.Second
	// lookEvery is how exactly a stop is measured, askEvery how often Kafka is
	// asked meanwhile which member has what.
	lookEvery = 5 * time.Millisecond
	askEvery  = 50 * time.Millisecond
)

// rebalance watches one change of members from its beginning until every
// partition is counted again.
type rebalance struct {
	n       *Node
	l       *line
	m       *member // that comes or goes
	out     web.Rebalance
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

func newRebalance(n *Node, l *line, m *member, change string) *rebalance {
	r := &rebalance{n: n, l: l, m: m, parts: map[int32]*handed{}, out: web.Rebalance{Change: change, Time: time.Now().UnixMilli(), MovedPartitions: []int32{}}}
	r.watched = l.membersOf(m.group)
	if slices.Contains(r.watched, m) {
		r.gone = m.counter.MemberID()
	} else {
		r.watched = append(r.watched, m)
	}
	return r
}

// run makes the change with do, and watches it.
func (r *rebalance) run(ctx context.Context, do func() error) (web.Rebalance, error) {
	insp, cl, err := r.n.OpenInspector(ctx)
	if err != nil {
		return r.out, err
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
		case err := <-changed:
			pending = false
			if err != nil {
				return r.out, err
			}
			if r.gone != "" { // what it says now is of the past
				r.watched = slices.DeleteFunc(r.watched, func(x *member) bool { return x == r.m })
			}
		case d := <-described:
			r.out.Members, r.out.Own = len(d.Members), len(r.l.membersOf(r.m.group))
			if now := time.Now(); !pending && r.settled(d, now) {
				return r.finish(now.Sub(start), true), nil
			}
		case now := <-tick.C:
			r.look(now)
		case <-ctx.Done():
			if pending { // it ends, only not as soon as this wanted
				err = <-changed
			}
			return r.finish(time.Since(start), false), err
		}
	}
}

// ask describes the group again and again, the newest answer last.
func ask(ctx context.Context, insp *inspect.Inspector, name string, out chan<- inspect.GroupDetail) {
	Every(ctx, askEvery, func(time.Time) bool {
		d, err := insp.Group(ctx, name)
		if err == nil || errors.Is(err, inspect.ErrNoGroup) {
			select {
			case out <- d:
			case <-ctx.Done():
			}
		}
		return true
	})
}

// look notes which member has which partition, and whether it is counted.
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

// settled reports whether Kafka and the members agree on the assignment, and every partition is counted.
func (r *rebalance) settled(d inspect.GroupDetail, now time.Time) bool {
	r.look(now)
	here := r.l.membersOf(r.m.group)
	if len(d.Members) == 0 {
		return len(here) == 0
	}
	if d.State != "Stable" {
		return false
	}
	owners := map[string]*member{}
	for _, m := range here {
		owners[m.counter.MemberID()] = m
	}
	assigned, present := 0, 0
	for _, m := range d.Members {
		own := owners[m.ID]
		if own != nil {
			present++
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
	return present == len(here) && assigned > 0 && assigned >= max(len(d.Partitions), r.before)
}

func (r *rebalance) finish(took time.Duration, settled bool) web.Rebalance {
	r.out.Settled, r.out.SettledMS = settled, took.Milliseconds()
	for id, h := range r.parts {
		if h.owner != h.first {
			r.out.Moved++
			r.out.MovedPartitions = append(r.out.MovedPartitions, id)
			if h.counts {
				r.out.StoppedMS = max(r.out.StoppedMS, h.stood.Milliseconds())
			}
		}
	}
	slices.Sort(r.out.MovedPartitions)
	return r.out
}

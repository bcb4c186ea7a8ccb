package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/web"
)

// maxMembers is how many counters of one group a process runs: more than any
// of weir's topics has partitions, so that one can see a member without any.
const maxMembers = 16

// member is one counter of this process: a member of its group.
type member struct {
	group, topic string
	counter      *count.Counter
	task         *task
}

// membersOf are a line's members of one group.
func (l *line) membersOf(group string) (out []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.counters {
		if m.group == group {
			out = append(out, m)
		}
	}
	return out
}

func (l *line) setMembers(change func([]*member) []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters = change(l.counters)
}

// newMember makes a counter of a topic of a line.
func (n *Node) newMember(l *line, topic, group string) (*member, error) {
	c, err := count.New(count.Config{
		Kafka: n.measured("weir-consume-" + l.source.Name), Store: n.store, Topic: topic, Group: group,
		Classify: l.source.Classify, Log: n.Log.With("stream", l.source.Name),
	})
	if err != nil {
		return nil, err
	}
	return &member{group: group, topic: topic, counter: c, task: &task{name: "count " + topic, run: c.Run}}, nil
}

// memberships changes how many counters of this process are in a group, one change
// at a time, and measures what each change stops.
type memberships struct {
	n      *Node
	change sync.Mutex                 // held through a change
	out    atomic.Pointer[supervisor] // runs the counters; nil before
}

// of returns the line and the topic that a group of this process counts.
func (ms *memberships) of(group string) (*line, string, bool) {
	for _, l := range ms.n.lines {
		for _, topic := range l.source.Topics() {
			if l.group != "" && l.source.GroupOf(topic, l.group) == group {
				return l, topic, true
			}
		}
	}
	return nil, "", false
}

// Own returns what this process runs of a group, nil where that is nothing.
func (ms *memberships) Own(group string) *web.OwnMembers {
	l, topic, ok := ms.of(group)
	if !ok {
		return nil
	}
	o := &web.OwnMembers{Topic: topic, Source: l.source.Name, IDs: []string{}}
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
	return ms.do(group, func(l *line, topic string, out *supervisor) (web.Rebalance, error) {
		if n := len(l.membersOf(group)); n >= maxMembers {
			return web.Rebalance{}, fmt.Errorf("%d counters of this group run here already: that is the most", n)
		}
		m, err := ms.n.newMember(l, topic, group)
		if err != nil {
			return web.Rebalance{}, err
		}
		r := newRebalance(ms.n, l, m, "added")
		r.run(ctx, func() error {
			if !out.start(m.task) {
				return errors.New("weir is stopping")
			}
			l.setMembers(func(all []*member) []*member { return append(all, m) })
			return nil
		})
		return r.out, r.err
	})
}

// Remove stops the counter that came last, and returns when every partition is
// counted again by those that are left.
func (ms *memberships) Remove(ctx context.Context, group string) (web.Rebalance, error) {
	return ms.do(group, func(l *line, _ string, out *supervisor) (web.Rebalance, error) {
		all := l.membersOf(group)
		if len(all) == 0 {
			return web.Rebalance{}, errors.New("no counter of this group runs here")
		}
		m := all[len(all)-1]
		r := newRebalance(ms.n, l, m, "removed")
		r.run(ctx, func() error {
			out.remove(m.task)
			l.setMembers(func(all []*member) []*member { return slices.DeleteFunc(all, func(x *member) bool { return x == m }) })
			return nil
		})
		return r.out, r.err
	})
}

// do makes one change, when no other is under way.
func (ms *memberships) do(group string, change func(*line, string, *supervisor) (web.Rebalance, error)) (web.Rebalance, error) {
	l, topic, ok := ms.of(group)
	if !ok {
		return web.Rebalance{}, fmt.Errorf("the members of %q are not counters of this weir: start or stop them where they run", group)
	}
	out := ms.out.Load()
	if out == nil {
		return web.Rebalance{}, errors.New("the counters are not started yet")
	}
	if !ms.change.TryLock() {
		return web.Rebalance{}, errors.New("a change of members is in progress: wait for its end")
	}
	defer ms.change.Unlock()
	return change(l, topic, out)
}

// assignmentEvery is how often a consumer reads which partitions it has.
const assignmentEvery = 500 * time.Millisecond

// reportAssignment reports which partitions this process's members have, whenever
// that changed, until ctx ends.
func (n *Node) reportAssignment(ctx context.Context) error {
	reported := make(map[string]string)
	every(ctx, assignmentEvery, func(time.Time) bool {
		for _, l := range n.lines {
			for _, s := range l.stats() {
				now := "no partitions: the other members of the group have them all, or it is rebalancing"
				if len(s.Partitions) > 0 {
					now = "partitions " + partitionList(s)
				}
				if before, ok := reported[s.Topic]; before != now && (ok || len(s.Partitions) > 0) {
					n.cfg.Say(fmt.Sprintf("%s assigned of %s: %s", time.Now().Format(time.TimeOnly), s.Topic, now))
					reported[s.Topic] = now
				}
			}
		}
		return true
	})
	return ctx.Err()
}

// partitionList writes the partitions of a counter in order.
func partitionList(s count.Stats) string {
	ids := make([]int, len(s.Partitions))
	for i, p := range s.Partitions {
		ids[i] = int(p.Partition)
	}
	slices.Sort(ids)
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}

package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/cli"
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

// newMember makes a counter of a topic of a line.
func (n *Node) newMember(l *line, topic, group string) (*member, error) {
	c, err := count.New(count.Config{
		Kafka: n.measured("weir-consume-" + l.source.Name), Store: n.store, Topic: topic, Group: group,
		Classify: l.source.Classify, Log: n.Log.With("stream", l.source.Name),
	})
	if err != nil {
		return nil, err
	}
	return &member{group: group, topic: topic, counter: c, task: newTask("count "+topic, c.Run)}, nil
}

// memberships changes how many counters of this process are in a group, one change
// at a time, and measures what each change stops.
type memberships struct {
	n        *Node
	changing sync.Mutex                 // held through a change
	out      atomic.Pointer[supervisor] // runs the counters; nil before
}

// counted returns the line and the topic that a group of this process counts; nil for no such group.
func (n *Node) counted(group string) (*line, string) {
	for _, l := range n.lines {
		for _, topic := range l.source.Topics() {
			if l.group != "" && l.source.GroupOf(topic, l.group) == group {
				return l, topic
			}
		}
	}
	return nil, ""
}

// Own returns what this process runs of a group, nil where that is nothing.
func (ms *memberships) Own(group string) *web.OwnMembers {
	l, topic := ms.n.counted(group)
	if l == nil {
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
	return ms.change(ctx, group, "added")
}

// Remove stops the counter that came last, and returns when every partition is
// counted again by those that are left.
func (ms *memberships) Remove(ctx context.Context, group string) (web.Rebalance, error) {
	return ms.change(ctx, group, "removed")
}

// change makes one change, when no other is in progress.
func (ms *memberships) change(ctx context.Context, group, change string) (none web.Rebalance, err error) {
	l, topic := ms.n.counted(group)
	out := ms.out.Load()
	switch {
	case l == nil:
		return none, fmt.Errorf("the members of %q are not counters of this weir: start or stop them where they run", group)
	case out == nil:
		return none, errors.New("the counters are not started yet")
	case !ms.changing.TryLock():
		return none, errors.New("a change of members is in progress: wait for its end")
	}
	defer ms.changing.Unlock()
	all := l.membersOf(group)
	var m *member
	switch {
	case change == "removed" && len(all) == 0:
		return none, errors.New("no counter of this group runs here")
	case change == "removed":
		m = all[len(all)-1]
	case len(all) >= maxMembers:
		return none, fmt.Errorf("%d counters of this group run here already: that is the most", len(all))
	default:
		if m, err = ms.n.newMember(l, topic, group); err != nil {
			return none, err
		}
	}
	return newRebalance(ms.n, l, m, change).run(ctx, func() error {
		if change == "removed" {
			out.remove(m.task)
		} else if !out.start(m.task) {
			return errors.New("weir is stopping")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if change == "added" {
			l.counters = append(l.counters, m)
		} else {
			l.counters = slices.DeleteFunc(l.counters, func(x *member) bool { return x == m })
		}
		return nil
	})
}

// assignmentEvery is how often a consumer reads which partitions it has.
const assignmentEvery = 500 * time.Millisecond

// reportAssignment reports which partitions this process's members have, whenever
// that changed, until ctx ends.
func (n *Node) reportAssignment(ctx context.Context) error {
	reported := make(map[string]string)
	Every(ctx, assignmentEvery, func(time.Time) bool {
		for _, l := range n.lines {
			for _, s := range l.stats() {
				now := "no partitions: the other members of the group have them all, or it is rebalancing"
				if len(s.Partitions) > 0 {
					var ids []int32
					for _, p := range s.Partitions {
						ids = append(ids, p.Partition)
					}
					slices.Sort(ids)
					now = "partitions " + cli.IDs(ids)
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

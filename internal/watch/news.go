package watch

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/inspect"
)

// news describes in plain words what changed between two versions. A first answer is
// not a change.
func (w *Watcher) news(old, next *State, before known) []Entry {
	var out []Entry
	if was, now := old.Cluster.Error, next.Cluster.Error; !sameProblem(was, now) && old.Time != 0 {
		if now != "" {
			out = append(out, Entry{Kind: LogError, Text: now})
		} else {
			out = append(out, Entry{Kind: LogInfo, Text: "the cluster answers again"})
		}
	}
	if before.brokers {
		out = append(out, brokerNews(old, next)...)
	}
	if before.topics {
		out = append(out, topicNews(old, next)...)
		out = append(out, w.leaderNews()...)
		out = append(out, streamNews(old, next)...)
	}
	if before.groups {
		out = append(out, groupNews(old, next)...)
	}
	for i := range out {
		out[i].Time = next.Time
	}
	return out
}

// room is the part of a disk's fault that changes with every write.
var room = regexp.MustCompile(`\(\d+ [kM]B free\)`)

// sameProblem reports whether two texts name the same problem: a full disk is no
// news each time that its free space changes.
func sameProblem(a, b string) bool {
	return a == b || room.ReplaceAllString(a, "") == room.ReplaceAllString(b, "")
}

func brokerNews(old, next *State) (out []Entry) {
	for _, id := range slices.Sorted(maps.Keys(next.Cluster.Brokers)) {
		now, was := next.Cluster.Brokers[id], old.Cluster.Brokers[id]
		switch {
		case was == nil:
			out = append(out, Entry{Kind: LogBroker, Broker: id, Text: "broker " + id + " joined the cluster"})
		case was.Alive && !now.Alive:
			out = append(out, Entry{Kind: LogBroker, Broker: id, Text: "broker " + id + " is down"})
		case !was.Alive && now.Alive:
			out = append(out, Entry{Kind: LogBroker, Broker: id, Text: "broker " + id + " is back"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.Cluster.Brokers)) {
		if was := old.Cluster.Brokers[id]; next.Cluster.Brokers[id] == nil && was.Alive {
			out = append(out, Entry{Kind: LogBroker, Broker: id, Text: "broker " + id + " left the cluster"})
		}
	}
	return out
}

func topicNews(old, next *State) (out []Entry) {
	for _, name := range slices.Sorted(maps.Keys(next.Topics)) {
		if old.Topics[name] == nil {
			out = append(out, Entry{Kind: LogTopic, Topic: name, Text: fmt.Sprintf("topic %s was created, with %d partitions", name, next.Topics[name].Partitions)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Topics)) {
		if next.Topics[name] == nil {
			out = append(out, Entry{Kind: LogTopic, Topic: name, Text: "topic " + name + " was deleted"})
		}
	}
	return out
}

// move is a partition that another broker leads than before.
type move struct {
	topic     string
	partition int32
	was, now  int32
}

// tellMoves is how many moves a line of the log names.
const tellMoves = 4

// leaderNews is one line for all moves, those of weir's own topics first.
func (w *Watcher) leaderNews() []Entry {
	if len(w.moves) == 0 {
		return nil
	}
	own := func(m move) int {
		if slices.ContainsFunc(w.cfg.Streams, func(s StreamConfig) bool { return s.Topic == m.topic }) {
			return 0
		}
		return 1
	}
	slices.SortFunc(w.moves, func(a, b move) int {
		return cmp.Or(cmp.Compare(own(a), own(b)), strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	leader := func(id int32) string {
		if id < 0 {
			return "no leader"
		}
		return "broker " + strconv.Itoa(int(id))
	}
	var told []string
	e := Entry{Kind: LogLeader, Topic: w.moves[0].topic}
	for i, m := range w.moves {
		if m.topic != e.Topic {
			e.Topic = "" // it concerns more than one
		}
		if i < tellMoves {
			told = append(told, fmt.Sprintf("%s P%d from %s to %s", m.topic, m.partition, leader(m.was), leader(m.now)))
		}
	}
	e.Text = "leaders moved: " + strings.Join(told, ", ")
	if more := len(w.moves) - tellMoves; more > 0 {
		e.Text += fmt.Sprintf(", and %d more", more)
	}
	return []Entry{e}
}

func groupNews(old, next *State) (out []Entry) {
	for _, name := range slices.Sorted(maps.Keys(next.Groups)) {
		now, was := next.Groups[name], old.Groups[name]
		if was == nil {
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: "group " + name + " appeared, with " + members(now.Members)})
			continue
		}
		switch {
		case now.Members > was.Members:
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: fmt.Sprintf("group %s rebalances: %s, one or more joined (was %d)", name, members(now.Members), was.Members)})
		case now.Members < was.Members:
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: fmt.Sprintf("group %s rebalances: %s, one or more left (was %d)", name, members(now.Members), was.Members)})
		case now.State != was.State:
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: "group " + name + " " + became(now)})
		case now.Rebalances > was.Rebalances:
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: fmt.Sprintf("group %s rebalanced: its partitions are assigned again to %s", name, members(now.Members))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Groups)) {
		if next.Groups[name] == nil {
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: "group " + name + " is gone"})
		}
	}
	return out
}

// settled reports whether a group is not in a rebalance.
func settled(g *Group) bool {
	switch g.State {
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		return false
	}
	return true
}

// rebalanced reports whether a group has been rebalanced since it was looked at
// last: other members, or the same ones with other partitions. d is nil where its
// members were not looked at.
func (w *Watcher) rebalanced(name string, now, was *Group, d *inspect.GroupDetail) bool {
	if d == nil {
		return now.Members != was.Members
	}
	if !settled(now) {
		return false // it is logged when it is over
	}
	before, known := w.members[name]
	digest := digestMembers(d.Members)
	w.members[name] = digest
	return known && (digest != before || !settled(was))
}

// digestMembers is a digest of the members and their partitions.
func digestMembers(list []inspect.Member) uint64 {
	list = slices.SortedFunc(slices.Values(list), func(a, b inspect.Member) int { return strings.Compare(a.ID, b.ID) })
	h := fnv.New64a()
	for _, m := range list {
		_, _ = io.WriteString(h, m.ID+"\x00")
		for _, topic := range slices.Sorted(maps.Keys(m.Assigned)) {
			_, _ = fmt.Fprintf(h, "%s\x00%d\x00", topic, m.Assigned[topic])
		}
	}
	return h.Sum64()
}

// became says what a group's state means.
func became(g *Group) string {
	switch g.State {
	case "Stable":
		return "has settled, with " + members(g.Members)
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		return "rebalances: its partitions are assigned again"
	case "Empty":
		return "has no members, so nothing reads its topics"
	default:
		return "is " + g.State + " now"
	}
}

func members(n int) string {
	if n == 1 {
		return "1 member"
	}
	return fmt.Sprintf("%d members", n)
}

func streamNews(old, next *State) (out []Entry) {
	for _, name := range slices.Sorted(maps.Keys(next.Streams)) {
		now, was := next.Streams[name], old.Streams[name]
		if was == nil {
			continue
		}
		add := func(kind, format string, args ...any) {
			out = append(out, Entry{Kind: kind, Stream: name, Text: name + ": " + fmt.Sprintf(format, args...)})
		}
		if now.Reconnects > was.Reconnects {
			add(LogReconnect, "connected again, to %s", now.Host)
		}
		if now.State != was.State {
			switch {
			case now.State == "connected" && now.Reconnects == was.Reconnects:
				add(LogReconnect, "connected to %s", now.Host)
			case now.State == "connecting" && now.LastError != "":
				add(LogReconnect, "the connection ended: %s", now.LastError)
			case now.State == "failed":
				add(LogError, "stopped for good: %s", now.LastError)
			}
		}
		switch {
		case sameProblem(now.Trouble, was.Trouble):
		case now.Trouble == "":
			add(LogInfo, "events are stored and counted again")
		case now.State != "failed": // which is logged above
			add(LogError, "%s", now.Trouble)
		}
		if now.Gaps > was.Gaps {
			add(LogGap, "upstream no longer offers some events: %d gaps by now", now.Gaps)
		}
		if now.Redis != was.Redis {
			if now.Redis != "ok" {
				add(LogError, "counts cannot be read: %s", now.Redis)
			} else {
				add(LogInfo, "counts can be read again")
			}
		}
	}
	return out
}

package watch

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// news describes in plain words what changed between two versions. A first answer is
// not a change.
func (w *Watcher) news(old, next *State, before [questions]bool) []Entry {
	var out []Entry
	add := func(e Entry, format string, args ...any) {
		e.Time, e.Text = next.Time, fmt.Sprintf(format, args...)
		out = append(out, e)
	}
	if was, now := old.Cluster.Error, next.Cluster.Error; !sameProblem(was, now) && old.Time != 0 {
		if now != "" {
			add(Entry{Kind: LogError}, "%s", now)
		} else {
			add(Entry{Kind: LogInfo}, "the cluster answers again")
		}
	}
	if before[aboutBrokers] {
		each(old.Cluster.Brokers, next.Cluster.Brokers, func(id string, was, now *Broker) {
			e := Entry{Kind: LogBroker, Broker: id}
			switch {
			case was == nil:
				add(e, "broker %s joined the cluster", id)
			case now == nil && was.Alive:
				add(e, "broker %s left the cluster", id)
			case now == nil:
			case was.Alive && !now.Alive:
				add(e, "broker %s is down", id)
			case !was.Alive && now.Alive:
				add(e, "broker %s is back", id)
			}
		})
	}
	if before[aboutTopics] {
		each(old.Topics, next.Topics, func(name string, was, now *Topic) {
			if was == nil {
				add(Entry{Kind: LogTopic, Topic: name}, "topic %s was created, with %d partitions", name, now.Partitions)
			} else if now == nil {
				add(Entry{Kind: LogTopic, Topic: name}, "topic %s was deleted", name)
			}
		})
		if e, ok := w.leaderNews(); ok {
			add(e, "%s", e.Text)
		}
		each(old.Streams, next.Streams, func(name string, was, now *Stream) {
			if was != nil {
				now.news(was, func(kind, format string, args ...any) {
					add(Entry{Kind: kind, Stream: name}, name+": "+format, args...)
				})
			}
		})
	}
	if before[aboutGroups] {
		each(old.Groups, next.Groups, func(name string, was, now *Group) {
			if text := groupNews(was, now); text != "" {
				add(Entry{Kind: LogRebalance, Group: name}, "group %s %s", name, text)
			}
		})
	}
	return out
}

// each calls news with every name of two versions, in order: first those that are in the
// newer one, then those that are gone, whose newer value is nil. New ones were nil before.
func each[T any](old, next map[string]*T, news func(name string, was, now *T)) {
	for _, name := range slices.Sorted(maps.Keys(next)) {
		news(name, old[name], next[name])
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if next[name] == nil {
			news(name, old[name], nil)
		}
	}
}

// room is the part of a disk's fault that changes with every write.
var room = regexp.MustCompile(`\(\d+ [kM]B free\)`)

// sameProblem reports whether two texts name the same problem: a full disk is no
// news each time that its free space changes.
func sameProblem(a, b string) bool {
	return a == b || room.ReplaceAllString(a, "") == room.ReplaceAllString(b, "")
}

// move is a partition that another broker leads than before.
type move struct {
	topic     string
	partition int32
	was, now  int32
}

// shownMoves is how many moves a line of the log names.
const shownMoves = 4

// leaderNews is one line for all moves, those of weir's own topics first.
func (w *Watcher) leaderNews() (e Entry, any bool) {
	if len(w.moves) == 0 {
		return e, false
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
	var shown []string
	e = Entry{Kind: LogLeader, Topic: w.moves[0].topic}
	for i, m := range w.moves {
		if m.topic != e.Topic {
			e.Topic = "" // it concerns more than one
		}
		if i < shownMoves {
			shown = append(shown, fmt.Sprintf("%s P%d from %s to %s", m.topic, m.partition, leader(m.was), leader(m.now)))
		}
	}
	e.Text = "leaders moved: " + strings.Join(shown, ", ")
	if more := len(w.moves) - shownMoves; more > 0 {
		e.Text += fmt.Sprintf(", and %d more", more)
	}
	return e, true
}

// groupNews describes what changed about a group, empty for nothing.
func groupNews(was, now *Group) string {
	switch {
	case was == nil:
		return "appeared, with " + Plural(now.Members, "member")
	case now == nil:
		return "is gone"
	case now.Members > was.Members:
		return fmt.Sprintf("rebalances: %s, one or more joined (was %d)", Plural(now.Members, "member"), was.Members)
	case now.Members < was.Members:
		return fmt.Sprintf("rebalances: %s, one or more left (was %d)", Plural(now.Members, "member"), was.Members)
	case now.State == was.State && now.Rebalances > was.Rebalances:
		return "rebalanced: its partitions are assigned again to " + Plural(now.Members, "member")
	case now.State == was.State:
		return ""
	case now.State == "Stable":
		return "has settled, with " + Plural(now.Members, "member")
	case !now.settled():
		return "rebalances: its partitions are assigned again"
	case now.State == "Empty":
		return "has no members, so nothing reads its topics"
	}
	return "is " + now.State + " now"
}

// news reports what changed about a stream.
func (now *Stream) news(was *Stream, add func(kind, format string, args ...any)) {
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

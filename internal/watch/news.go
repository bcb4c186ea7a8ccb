package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// news says in plain words what changed between two versions. The first version
// is no news.
func (w *Watcher) news(old, next *State) []Entry {
	if !w.baseline {
		return nil
	}
	var out []Entry
	out = append(out, clusterNews(old, next)...)
	out = append(out, groupNews(old, next)...)
	out = append(out, streamNews(old, next)...)
	for i := range out {
		out[i].Time = next.Time
	}
	return out
}

func clusterNews(old, next *State) (out []Entry) {
	if was, now := old.Cluster.Error, next.Cluster.Error; was != now {
		if now != "" {
			out = append(out, Entry{Kind: LogError, Text: now})
		} else {
			out = append(out, Entry{Kind: LogInfo, Text: "the cluster answers again"})
		}
	}
	var moved []string
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
		if was != nil && now.Leaders != was.Leaders {
			moved = append(moved, fmt.Sprintf("broker %s leads %d (was %d)", id, now.Leaders, was.Leaders))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.Cluster.Brokers)) {
		if was := old.Cluster.Brokers[id]; next.Cluster.Brokers[id] == nil && was.Alive {
			out = append(out, Entry{Kind: LogBroker, Broker: id, Text: "broker " + id + " left the cluster"})
		}
	}
	appeared := 0
	for _, name := range slices.Sorted(maps.Keys(next.Topics)) {
		if old.Topics[name] == nil {
			appeared++
			out = append(out, Entry{Kind: LogTopic, Topic: name, Text: fmt.Sprintf("topic %s was created, with %d partitions", name, next.Topics[name].Partitions)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Topics)) {
		if next.Topics[name] == nil {
			appeared++
			out = append(out, Entry{Kind: LogTopic, Topic: name, Text: "topic " + name + " was deleted"})
		}
	}
	// New topics need leaders: that is no move.
	if len(moved) > 0 && appeared == 0 {
		out = append(out, Entry{Kind: LogLeader, Text: "leaders moved: " + strings.Join(moved, ", ")})
	}
	return out
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
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Groups)) {
		if next.Groups[name] == nil {
			out = append(out, Entry{Kind: LogRebalance, Group: name, Text: "group " + name + " is gone"})
		}
	}
	return out
}

// became says what a group's state means.
func became(g *Group) string {
	switch g.State {
	case "Stable":
		return "has settled, with " + members(g.Members)
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		return "rebalances: its partitions are shared out anew"
	case "Empty":
		return "has no members: nobody reads for it"
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

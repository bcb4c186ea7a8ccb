package web

import (
	"context"
	"fmt"
	"net/http"

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
	// Moved is how many partitions changed hands, StoppedMS how long the one that
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
	s := fmt.Sprintf("a member was %s from %s, %s now: ", r.Change, r.From, plural(r.Members, "member"))
	switch {
	case r.Members == 0:
		return s + "nobody counts"
	case !r.Settled:
		return s + fmt.Sprintf("not every partition is counted again after %d ms", r.SettledMS)
	case r.Moved == 0:
		return s + fmt.Sprintf("no partition changed hands, settled after %d ms", r.SettledMS)
	}
	return s + fmt.Sprintf("%d of %s changed hands and stood still for %d ms at most; every one is counted again after %d ms", r.Moved, plural(r.Partitions, "partition"), r.StoppedMS, r.SettledMS)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
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
		return a, conflict("the members of %q are no counters of this weir: start or stop them where they run", group)
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

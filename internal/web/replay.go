package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// replaying is the progress of a replay.
type replaying struct {
	plan *inspect.ReplayPlan // nil before the first one
	left int64
}

// ReplayRequest is the body of a replay.
type ReplayRequest struct {
	Topic   string `json:"topic"`          // may be empty where the group counts only one
	Into    string `json:"into,omitempty"` // the group that counts again; empty for the usual name
	Confirm string `json:"confirm"`        // the group's name begins the replay
}

var replayRequests = []string{"Metadata", "ListOffsets", "Fetch", "OffsetCommit", "JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup"}

func (s *Server) replayCommand(group, topic string) string {
	c := command{words: "groups replay", args: []string{group}}
	if topic != "" {
		c.flags = []string{"--topic", topic}
	}
	return c.shown(s.cfg.Where.Redis)
}

// ReplayAnswer is what a replay counts again, or has begun to where it was confirmed.
type ReplayAnswer struct {
	Plan    inspect.ReplayPlan `json:"plan"`
	Started bool               `json:"started"`
	how
}

// replay plans a replay, and begins it when it is confirmed.
func (s *Server) replay(r *http.Request, req ReplayRequest) (a ReplayAnswer, err error) {
	group := groupName(r)
	if s.cfg.Replay == nil || s.cfg.Tallies == nil {
		return a, conflict("a replay counts into Redis, and no Redis is known: give --redis")
	}
	begin, err := confirmed(req.Confirm, "group", group)
	if err != nil {
		return a, err
	}
	a.Plan, err = s.cfg.Inspector.PlanReplay(r.Context(), inspect.ReplayQuery{Group: group, Into: req.Into, Topic: req.Topic, Tallies: s.cfg.Tallies})
	if err == nil && begin {
		err = s.beginReplay(r, a.Plan)
		a.Started = err == nil
	}
	a.how = by(s.replayCommand(group, a.Plan.Topic), replayRequests...)
	return a, err
}

func (s *Server) beginReplay(r *http.Request, plan inspect.ReplayPlan) error {
	if now, ok := s.replays.start(replaying{&plan, planned(plan)}); !ok {
		return conflict("group %s is being replayed: wait until that has ended", now.plan.Group)
	}
	if err := plan.Begin(r.Context()); err != nil {
		s.replays.end(nil, err)
		return err
	}
	note := func(format string, args ...any) {
		text := "replay of group " + plan.Group + " into " + plan.Into + " " + fmt.Sprintf(format, args...)
		s.cfg.Watch.Note(watch.Entry{Kind: watch.LogInfo, Group: plan.Group, Topic: plan.Topic, Text: text})
	}
	note("was started from %s", origin(r))
	s.work.wg.Go(func() { // it outlives the request, and ends with the server
		c, err := s.cfg.Replay(s.work.ctx, plan, func(left int64) { s.replays.report(func(at *replaying) { at.left = left }) })
		switch {
		case err != nil:
			s.replays.end(nil, err)
			note("failed: %v", err)
			return
		case c.Equal:
			note("ended: both have the same counts")
		default:
			note("ended: the counts differ")
		}
		s.replays.end(&c, nil)
	})
	return nil
}

// planned is how many offsets a plan counts again.
func planned(plan inspect.ReplayPlan) (n int64) {
	for _, p := range plan.Partitions {
		n += p.Until - p.From
	}
	return n
}

// ReplayState is the state of a group's last replay.
type ReplayState struct {
	Running bool   `json:"running"`
	Into    string `json:"into"`
	Topic   string `json:"topic"`
	// Left and Total are offsets to count again.
	Left  int64        `json:"left"`
	Total int64        `json:"total"`
	Kinds []replayKind `json:"kinds"`
	// Result is the comparison over the same offset range; null before the end.
	Result  *inspect.Comparison `json:"result"`
	Error   string              `json:"error"`
	Started int64               `json:"started"` // Unix milliseconds, 0 for never
	Ended   int64               `json:"ended"`
	how
}

// replayKind holds the counts of an event type as they are now: live, and again.
type replayKind struct {
	Kind    string `json:"kind"`
	Counted int64  `json:"counted"`
	Again   int64  `json:"again"`
}

// replayState is the state of the last replay of a group: both counts by event type, as
// they are now, and the comparison when it has ended.
func (s *Server) replayState(r *http.Request) (a ReplayState, err error) {
	group, v := groupName(r), s.replays.look()
	a.Kinds, a.how = []replayKind{}, by(s.replayCommand(group, ""), replayRequests...)
	plan := v.progress.plan
	if plan == nil || plan.Group != group {
		return a, nil
	}
	a = ReplayState{Running: v.running, Into: plan.Into, Topic: plan.Topic, Left: v.progress.left, Total: planned(*plan), Result: v.result,
		Error: v.err, Started: v.started, Ended: v.ended, how: by(s.replayCommand(group, plan.Topic), replayRequests...)}
	a.Kinds, err = s.replayKinds(r.Context(), *plan)
	return a, err
}

func (s *Server) replayKinds(ctx context.Context, plan inspect.ReplayPlan) ([]replayKind, error) {
	rows := map[string]replayKind{}
	for i, group := range []string{plan.Group, plan.Into} {
		parts, err := s.cfg.Tallies.Partitions(ctx, group, plan.Topic)
		if err != nil {
			return nil, err
		}
		for _, t := range parts {
			for kind, n := range t.Counts {
				k := rows[kind]
				if k.Kind = kind; i == 0 {
					k.Counted += n
				} else {
					k.Again += n
				}
				rows[kind] = k
			}
		}
	}
	return append([]replayKind{}, slices.SortedFunc(maps.Values(rows), func(a, b replayKind) int {
		return cmp.Or(cmp.Compare(b.Counted, a.Counted), cmp.Compare(a.Kind, b.Kind))
	})...), nil
}

package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// replayer runs one replay at a time, and keeps how the last one ended.
type replayer struct {
	mu             sync.Mutex
	running        bool
	plan           *inspect.ReplayPlan
	left           int64
	result         *inspect.Comparison
	err            string
	started, ended time.Time
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

// replay plans a replay, and begins it when it is confirmed.
func (s *Server) replay(w http.ResponseWriter, r *http.Request) error {
	var req ReplayRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	group := groupName(r)
	if s.cfg.Replay == nil || s.cfg.Tallies == nil {
		return conflict("a replay counts into Redis, and no Redis is known: give --redis")
	}
	if req.Confirm != "" && req.Confirm != group {
		return badRequest("confirm is not the group's name: type %q", group)
	}
	plan, err := s.cfg.Inspector.PlanReplay(r.Context(), inspect.ReplayQuery{Group: group, Into: req.Into, Topic: req.Topic, Tallies: s.cfg.Tallies})
	if err != nil {
		return err
	}
	answer := ReplayAnswer{Plan: plan, how: by(s.replayCommand(group, plan.Topic), replayRequests...)}
	if req.Confirm != "" {
		if err := s.beginReplay(r, plan); err != nil {
			return err
		}
		answer.Started = true
	}
	return reply(w, answer)
}

func (s *Server) beginReplay(r *http.Request, plan inspect.ReplayPlan) error {
	if err := s.replays.start(&plan); err != nil {
		return err
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
		c, err := s.cfg.Replay(s.work.ctx, plan, s.replays.progress)
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

// start begins a replay, unless one runs.
func (v *replayer) start(plan *inspect.ReplayPlan) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running {
		return conflict("group %s is being replayed: wait until that has ended", v.plan.Group)
	}
	v.running, v.plan, v.left, v.result, v.err, v.started = true, plan, planned(plan), nil, "", time.Now()
	return nil
}

func (v *replayer) progress(left int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = left
}

func (v *replayer) end(c *inspect.Comparison, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running, v.result, v.ended = false, c, time.Now()
	if err != nil {
		v.err = err.Error()
	}
}

// planned is how many offsets a plan counts again.
func planned(plan *inspect.ReplayPlan) (n int64) {
	for _, p := range plan.Partitions {
		n += p.Until - p.From
	}
	return n
}

// replayState says how the last replay of a group stands: both counts by kind, as
// they are now, and the comparison when it has ended.
func (s *Server) replayState(w http.ResponseWriter, r *http.Request) error {
	group := groupName(r)
	a := ReplayState{Kinds: []replayKind{}, how: by(s.replayCommand(group, ""), replayRequests...)}
	v := &s.replays
	v.mu.Lock()
	plan := v.plan
	if plan == nil || plan.Group != group {
		v.mu.Unlock()
		return reply(w, a)
	}
	a.Running, a.Left, a.Result, a.Error = v.running, v.left, v.result, v.err
	a.Started = v.started.UnixMilli()
	if !v.running {
		a.Ended = v.ended.UnixMilli()
	}
	v.mu.Unlock()
	a.Into, a.Topic, a.Command, a.Total = plan.Into, plan.Topic, s.replayCommand(group, plan.Topic), planned(plan)
	var err error
	a.Kinds, err = s.replayKinds(r.Context(), *plan)
	if err != nil {
		return err
	}
	return reply(w, a)
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
	out := make([]replayKind, 0, len(rows))
	for _, k := range rows {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b replayKind) int {
		return cmp.Or(cmp.Compare(b.Counted, a.Counted), cmp.Compare(a.Kind, b.Kind))
	})
	return out, nil
}

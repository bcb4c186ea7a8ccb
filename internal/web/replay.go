package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// replayer runs one replay at a time, and keeps how the last one ended.
type replayer struct {
	mu             sync.Mutex
	wg             sync.WaitGroup
	running        bool
	plan           *inspect.ReplayPlan
	left           int64
	result         *inspect.Comparison
	err            string
	started, ended time.Time
}

// replayRequest is the body of a replay.
type replayRequest struct {
	Topic   string `json:"topic"` // may be empty where the group counts only one
	Confirm string `json:"confirm"`
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
	var req replayRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	group := groupName(r)
	if s.cfg.Replay == nil || s.cfg.Tallies == nil {
		return &statusError{http.StatusConflict, errors.New("a replay counts into Redis, and there is none: give --redis")}
	}
	if req.Confirm != "" && req.Confirm != group {
		return badRequest("confirm is not the group's name: type %q", group)
	}
	plan, err := s.cfg.Inspector.PlanReplay(r.Context(), inspect.ReplayQuery{Group: group, Topic: req.Topic, Tallies: s.cfg.Tallies})
	if err != nil {
		return &statusError{http.StatusConflict, err}
	}
	answer := replayAnswer{Plan: plan, how: by(s.replayCommand(group, plan.Topic), replayRequests...)}
	if req.Confirm != "" {
		if err := s.beginReplay(r, plan); err != nil {
			return err
		}
		answer.Started = true
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) beginReplay(r *http.Request, plan inspect.ReplayPlan) error {
	v := &s.replays
	v.mu.Lock()
	if v.running {
		v.mu.Unlock()
		return &statusError{http.StatusConflict, fmt.Errorf("group %s is being replayed: wait for its end", v.plan.Group)}
	}
	v.running, v.plan, v.left, v.result, v.err, v.started = true, &plan, 0, nil, "", time.Now()
	for _, p := range plan.Partitions {
		v.left += p.Until - p.From
	}
	v.wg.Add(1)
	v.mu.Unlock()
	end := func(c *inspect.Comparison, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.running, v.result, v.ended = false, c, time.Now()
		if err != nil {
			v.err = err.Error()
		}
	}
	if err := plan.Begin(r.Context()); err != nil {
		end(nil, err)
		v.wg.Done()
		return err
	}
	ctx := serverContext(r) // it outlives the request, and ends with the server
	go func() {
		defer v.wg.Done()
		c, err := s.cfg.Replay(ctx, plan, func(left int64) {
			v.mu.Lock()
			v.left = left
			v.mu.Unlock()
		})
		if err != nil {
			end(nil, err)
			return
		}
		end(&c, nil)
	}()
	return nil
}

// replayState says how the last replay of a group stands: both counts by kind, as
// they are now, and the comparison when it has ended.
func (s *Server) replayState(w http.ResponseWriter, r *http.Request) error {
	group := groupName(r)
	a := replayStateAnswer{Kinds: []replayKind{}, how: by(s.replayCommand(group, ""), replayRequests...)}
	v := &s.replays
	v.mu.Lock()
	plan := v.plan
	if plan == nil || plan.Group != group {
		v.mu.Unlock()
		writeJSON(w, http.StatusOK, a)
		return nil
	}
	a.Running, a.Left, a.Result, a.Error = v.running, v.left, v.result, v.err
	a.Started = v.started.UnixMilli()
	if !v.running {
		a.Ended = v.ended.UnixMilli()
	}
	v.mu.Unlock()
	a.Into, a.Topic, a.Command = plan.Into, plan.Topic, s.replayCommand(group, plan.Topic)
	for _, p := range plan.Partitions {
		a.Total += p.Until - p.From
	}
	var err error
	a.Kinds, err = s.replayKinds(r.Context(), *plan)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a)
	return nil
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
		if a.Counted != b.Counted {
			return int(min(1, max(-1, b.Counted-a.Counted)))
		}
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	})
	return out, nil
}

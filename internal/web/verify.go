package web

import (
	"net/http"
	"sync"
	"time"
)

// verifier runs one verification at a time, and keeps what the last one found.
type verifier struct {
	mu       sync.Mutex
	running  bool
	progress any
	report   any
	err      string
	started  time.Time
	ended    time.Time
}

func (s *Server) verifyState(w http.ResponseWriter, _ *http.Request) error {
	v := &s.verify
	v.mu.Lock()
	a := verifyAnswer{Running: v.running, Progress: v.progress, Report: v.report, Error: v.err, how: by(command{words: "verify"}.shown(s.cfg.Where.Redis), "ListOffsets", "Fetch", "OffsetFetch")}
	if !v.started.IsZero() {
		a.Started = v.started.UnixMilli()
	}
	if !v.ended.IsZero() && !v.running {
		a.Ended = v.ended.UnixMilli()
	}
	v.mu.Unlock()
	return reply(w, a)
}

func (s *Server) verifyRun(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Verify == nil {
		return conflict("verification needs the counts in Redis, and no Redis is known: give --redis")
	}
	v := &s.verify
	v.mu.Lock()
	if v.running {
		v.mu.Unlock()
		return conflict("a verification is already running: wait until it has ended")
	}
	v.running, v.progress, v.report, v.err, v.started = true, nil, nil, "", time.Now()
	v.mu.Unlock()
	s.work.wg.Go(func() { // it outlives the request that asked for it, and ends with the server
		report, err := s.cfg.Verify(s.work.ctx, func(p any) {
			v.mu.Lock()
			v.progress = p
			v.mu.Unlock()
		})
		v.mu.Lock()
		defer v.mu.Unlock()
		v.running, v.report, v.ended = false, report, time.Now()
		if err != nil {
			v.err = err.Error()
		}
	})
	return s.verifyState(w, r)
}

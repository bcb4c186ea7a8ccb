package web

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// verifier runs one proof at a time, and keeps what the last one found.
type verifier struct {
	mu       sync.Mutex
	wg       sync.WaitGroup
	running  bool
	progress any
	report   any
	err      string
	started  time.Time
	ended    time.Time
}

func (v *verifier) wait() { v.wg.Wait() }

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
	writeJSON(w, http.StatusOK, a)
	return nil
}

func (s *Server) verifyRun(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Verify == nil {
		return &statusError{http.StatusConflict, errors.New("the proof needs the counts, and there is no Redis: give --redis")}
	}
	v := &s.verify
	v.mu.Lock()
	if v.running {
		v.mu.Unlock()
		return &statusError{http.StatusConflict, errors.New("the proof is already running: wait for its end")}
	}
	v.running, v.progress, v.report, v.err, v.started = true, nil, nil, "", time.Now()
	v.wg.Add(1)
	v.mu.Unlock()
	// It outlives the request that asked for it, and ends with the server.
	ctx := serverContext(r)
	go func() {
		defer v.wg.Done()
		report, err := s.cfg.Verify(ctx, func(p any) {
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
	}()
	return s.verifyState(w, r)
}

// serverContext is the context of the server that a request came to.
func serverContext(r *http.Request) context.Context {
	if ctx, ok := r.Context().Value(serveKey{}).(context.Context); ok {
		return ctx
	}
	return context.WithoutCancel(r.Context())
}

// serveKey is where Serve leaves its own context for what outlives a request.
type serveKey struct{}

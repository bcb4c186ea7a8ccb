package web

import (
	"net/http"
	"sync"
	"time"
)

// job is work that runs in the background, once at a time, and the state of its last
// run. P is its progress, R its result. It is safe for concurrent use.
type job[P, R any] struct {
	mu   sync.Mutex
	last jobState[P, R]
}

// jobState is the state of a job. Times are in Unix milliseconds, 0 for not yet.
type jobState[P, R any] struct {
	running        bool
	progress       P
	result         R
	err            string
	started, ended int64
}

// start begins a job with a progress. If one runs already, it returns false and that one's.
func (j *job[P, R]) start(first P) (now P, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last.running {
		return j.last.progress, false
	}
	j.last = jobState[P, R]{running: true, progress: first, started: time.Now().UnixMilli()}
	return first, true
}

func (j *job[P, R]) report(change func(*P)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.last.progress)
}

func (j *job[P, R]) end(result R, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last.running, j.last.result, j.last.ended = false, result, time.Now().UnixMilli()
	if err != nil {
		j.last.err = err.Error()
	}
}

func (j *job[P, R]) look() jobState[P, R] {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// verifyAnswer is the state of the last verification.
type verifyAnswer struct {
	Running  bool           `json:"running"`
	Progress any            `json:"progress"`
	Report   verifyReported `json:"report"`
	Error    string         `json:"error"`
	Started  int64          `json:"started"` // Unix milliseconds, 0 for never
	Ended    int64          `json:"ended"`
	how
}

// verifyReported is the report of internal/verify, which encodes itself.
type verifyReported any

func (s *Server) verifyState(*http.Request) (verifyAnswer, error) {
	v := s.verify.look()
	return verifyAnswer{v.running, v.progress, v.result, v.err, v.started, v.ended,
		by(weir("verify", s.cfg.Where.Redis), "ListOffsets", "Fetch", "OffsetFetch")}, nil
}

func (s *Server) verifyRun(r *http.Request) (verifyAnswer, error) {
	if s.cfg.Verify == nil {
		return verifyAnswer{}, conflict("verification needs the counts in Redis, and no Redis is known: give --redis")
	}
	if _, ok := s.verify.start(nil); !ok {
		return verifyAnswer{}, conflict("a verification is already running: wait until it has ended")
	}
	s.work.wg.Go(func() { // it outlives the request that asked for it, and ends with the server
		s.verify.end(s.cfg.Verify(s.work.ctx, func(p any) { s.verify.report(func(at *any) { *at = p }) }))
	})
	return s.verifyState(r)
}

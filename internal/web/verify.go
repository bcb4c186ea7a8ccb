package web

import "net/http"

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

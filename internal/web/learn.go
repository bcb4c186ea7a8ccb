package web

import (
	"errors"
	"net/http"

	"github.com/weir-project/weir/internal/learn"
)

// LearnAnswerRequest is an answer to the question of a station: one of its choices, or a number.
type LearnAnswerRequest struct {
	Answer string `json:"answer"`
}

// LearnResetRequest says which station starts over; 0 for all.
type LearnResetRequest struct {
	Station int `json:"station"`
}

var errNoLearn = conflict("this weir has no stations to learn with: start weir up, weir cluster or weir ui")

// course returns the stations.
func (s *Server) course() (*learn.Course, error) {
	if s.cfg.Learn == nil {
		return nil, errNoLearn
	}
	return s.cfg.Learn, nil
}

func (s *Server) learnList(r *http.Request) (learn.List, error) {
	c, err := s.course()
	if err != nil {
		return learn.List{}, err
	}
	return c.List(r.Context())
}

func (s *Server) learnStation(r *http.Request) (learn.Detail, error) {
	c, err := s.course()
	if err != nil {
		return learn.Detail{}, err
	}
	d, err := c.Get(r.Context(), r.PathValue("station"))
	return d, learnError(err)
}

func (s *Server) learnAnswer(r *http.Request, req LearnAnswerRequest) (learn.Answered, error) {
	c, err := s.course()
	if err != nil {
		return learn.Answered{}, err
	}
	a, err := c.Answer(r.Context(), r.PathValue("station"), req.Answer)
	return a, learnError(err)
}

func (s *Server) learnCheck(r *http.Request) (learn.Check, error) {
	c, err := s.course()
	if err != nil {
		return learn.Check{}, err
	}
	result, err := c.Check(r.Context(), r.PathValue("station"))
	return result, learnError(err)
}

func (s *Server) learnReset(r *http.Request, req LearnResetRequest) (learn.List, error) {
	c, err := s.course()
	if err != nil {
		return learn.List{}, err
	}
	if err := c.Reset(req.Station); err != nil {
		return learn.List{}, learnError(err)
	}
	return c.List(r.Context())
}

// learnError gives an error of the stations its status.
func learnError(err error) error {
	for known, status := range map[error]int{
		learn.ErrNoStation: http.StatusNotFound, learn.ErrAnswer: http.StatusBadRequest, learn.ErrNotNow: http.StatusConflict,
	} {
		if errors.Is(err, known) {
			return &statusError{status, err}
		}
	}
	return err
}

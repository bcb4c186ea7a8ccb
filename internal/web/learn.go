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

// onCourse asks the stations.
func onCourse[T any](s *Server, ask func(*learn.Course) (T, error)) (answer T, err error) {
	if s.cfg.Learn == nil {
		return answer, errNoLearn
	}
	answer, err = ask(s.cfg.Learn)
	return answer, learnError(err)
}

func (s *Server) learnList(r *http.Request) (learn.List, error) {
	return onCourse(s, func(c *learn.Course) (learn.List, error) { return c.List(r.Context()) })
}

func (s *Server) learnStation(r *http.Request) (learn.Detail, error) {
	return onCourse(s, func(c *learn.Course) (learn.Detail, error) { return c.Get(r.Context(), r.PathValue("station")) })
}

func (s *Server) learnAnswer(r *http.Request, req LearnAnswerRequest) (learn.Answered, error) {
	return onCourse(s, func(c *learn.Course) (learn.Answered, error) {
		return c.Answer(r.Context(), r.PathValue("station"), req.Answer)
	})
}

func (s *Server) learnCheck(r *http.Request) (learn.Check, error) {
	return onCourse(s, func(c *learn.Course) (learn.Check, error) { return c.Check(r.Context(), r.PathValue("station")) })
}

func (s *Server) learnReset(r *http.Request, req LearnResetRequest) (learn.List, error) {
	return onCourse(s, func(c *learn.Course) (learn.List, error) {
		if err := c.Reset(req.Station); err != nil {
			return learn.List{}, err
		}
		return c.List(r.Context())
	})
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

package web

import (
	"cmp"
	"net/http"
	"strconv"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/markdown"
)

type (
	exercisesAnswer struct {
		Exercises []exercise.Listed `json:"exercises"`
		how
	}
	exerciseAnswer struct {
		exercise.Info
		Text []markdown.Node  `json:"text"`
		Last *exercise.Report `json:"last"` // null where it was never checked
		how
	}
)

func (s *Server) exercises(*http.Request) (exercisesAnswer, error) {
	return exercisesAnswer{exercise.Listing(s.cfg.Exercises), by(weir("exercise list", s.cfg.Where.Data), fromFiles)}, nil
}

func (s *Server) exercise(r *http.Request) (exerciseAnswer, error) {
	e, err := exercise.Find(r.PathValue("name"))
	if err != nil {
		return exerciseAnswer{}, notFound("%v", err)
	}
	last, err := exercise.Kept(s.cfg.Exercises, e.Name)
	return exerciseAnswer{e, exercise.Nodes(e.Name), last, by(weir("exercise show "+e.Name, s.cfg.Where.Data), fromFiles)}, err
}

func (s *Server) starter(w http.ResponseWriter, r *http.Request) error {
	name, lang := r.PathValue("name"), cmp.Or(r.URL.Query().Get("lang"), exercise.Languages[0])
	starter, err := exercise.Starter(name, lang)
	if err != nil {
		return notFound("%v", err)
	}
	b, err := exercise.Zip(name, starter)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+"-"+lang+`.zip"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(b) //nolint:gosec // an archive, made of embedded files
	return err
}

package web

import (
	"net/http"

	"github.com/weir-project/weir/docs"
)

// maxSearch bounds a query, in bytes.
const maxSearch = 200

type (
	docsAnswer struct {
		Pages []docs.Page `json:"pages"`
	}
	searchAnswer struct {
		Hits []docs.Hit `json:"hits"`
	}
	termsAnswer struct {
		Terms []docs.Term `json:"terms"`
	}
)

func (s *Server) docsPages(*http.Request) (docsAnswer, error) { return docsAnswer{docs.Pages()}, nil }

func (s *Server) docsPage(r *http.Request) (docs.Document, error) {
	d, err := docs.Read(r.URL.Query().Get("path"))
	if err != nil {
		return d, notFound("%w: see /docs for the list", err)
	}
	return d, nil
}

func (s *Server) docsSearch(r *http.Request) (searchAnswer, error) {
	q := r.URL.Query().Get("q")
	if len(q) > maxSearch {
		return searchAnswer{}, badRequest("the query has %d bytes: search for at most %d", len(q), maxSearch)
	}
	return searchAnswer{docs.Search(q)}, nil
}

func (s *Server) terms(*http.Request) (termsAnswer, error) { return termsAnswer{docs.Terms()}, nil }

// docsPictures serves the pictures of the documents, where the documents' own links lead.
func docsPictures() http.Handler {
	files := http.FileServerFS(docs.Files)
	return http.StripPrefix("/docs", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	}))
}

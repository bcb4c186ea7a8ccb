package web

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDocuments: the documents, their pictures, the search and the terms are served without a network.
func TestDocuments(t *testing.T) {
	srv, _ := newServer(t, nil)
	ask := func(path string, want int) (answer struct {
		Title string
		Pages []struct{ Path, Title string }
		Body  []struct{ Tag string }
		Hits  []struct{ Path, Heading, ID string }
		Terms []struct {
			Term, Text string
			Station    int
		}
		Error string
	},
	) {
		t.Helper()
		status, _, body := request(t, "GET", srv.URL+"/api/v1"+path, "", nil)
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != want {
			t.Fatalf("%s: %d, %v: %.300s", path, status, err, body)
		}
		return answer
	}
	if a := ask("/docs", 200); len(a.Pages) < 8 || a.Pages[0].Path != "README" {
		t.Errorf("the list: %+v", a.Pages)
	}
	if a := ask("/docs/page?path=labs/replay", 200); a.Title != "Lab: replay" || len(a.Body) < 10 || a.Body[0].Tag != "h1" {
		t.Errorf("a page: %q, %d nodes", a.Title, len(a.Body))
	}
	for _, path := range []string{"nothing", "../README", "labs", "docs.go"} {
		if a := ask("/docs/page?path="+path, 404); !strings.Contains(a.Error, "/docs") {
			t.Errorf("%s: %s", path, a.Error)
		}
	}
	if a := ask("/docs/search?q=high%20watermark", 200); len(a.Hits) == 0 || a.Hits[0].ID != "high-watermark" {
		t.Errorf("the search: %+v", a.Hits)
	}
	ask("/docs/search?q="+strings.Repeat("x", maxSearch+1), 400)
	lag := ""
	for _, x := range ask("/terms", 200).Terms {
		if x.Term == "Lag" && x.Station == 5 {
			lag = x.Text
		}
	}
	if !strings.Contains(lag, "committed offset") {
		t.Errorf("lag is explained as %q", lag)
	}
	for path, want := range map[string]int{
		"/docs/screenshots/overview-light.png": 200, "/docs/screenshots/lab-replay.svg": 200, "/docs/screenshots/none.png": 404, "/docs/screenshots/..%2fdocs.go": 404,
		"/docs/reference/glossary": 200, "/docs/labs/backpressure.md": 200,
	} {
		status, h, _ := request(t, "GET", srv.URL+path, "", nil)
		kind := "text/html; charset=utf-8"
		switch {
		case strings.HasSuffix(path, "light.png"):
			kind = "image/png"
		case strings.HasSuffix(path, ".svg"):
			kind = "image/svg+xml"
		}
		if status != want || status == 200 && h.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, status, h.Get("Content-Type"))
		}
	}
}

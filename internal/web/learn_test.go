package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/learn"
)

// TestLearn: the stations over HTTP, with the status that each error has.
func TestLearn(t *testing.T) {
	srv, _ := newServer(t, func(cfg *Config) {
		var err error
		if cfg.Learn, err = learn.New(learn.Config{Inspector: cfg.Inspector, Own: "test"}); err != nil {
			t.Fatal(err)
		}
	})
	ask := func(method, path, body string, status int, into any) {
		t.Helper()
		got, _, text := request(t, method, srv.URL+"/api/v1/learn"+path, body, nil)
		if got != status {
			t.Fatalf("%s %s: status %d, want %d: %s", method, path, got, status, text)
		}
		if into != nil {
			dec := json.NewDecoder(strings.NewReader(text))
			dec.DisallowUnknownFields()
			if err := dec.Decode(into); err != nil {
				t.Fatalf("%s %s: %v: %s", method, path, err, text)
			}
		}
	}
	var list learn.List
	ask(http.MethodGet, "", "", http.StatusOK, &list)
	if list.Next != 1 || len(list.Stations) < 7 || list.Stations[1].Name != "topic" {
		t.Errorf("%+v", list)
	}
	// The cluster has a topic with three partitions that is not weir's, so station 2 is done.
	var check learn.Check
	ask(http.MethodPost, "/topic/check", "", http.StatusOK, &check)
	if !check.Done || len(check.Seen) != 1 {
		t.Errorf("%+v", check)
	}
	var d learn.Detail
	ask(http.MethodGet, "/2", "", http.StatusOK, &d)
	if !d.Done || d.Name != "topic" || len(d.Text) == 0 || d.Question.Kind != learn.Number || d.Question.Right != nil {
		t.Errorf("%+v", d)
	}
	var answer learn.Answered
	ask(http.MethodPost, "/2/answer", `{"answer":"8"}`, http.StatusOK, &answer)
	if answer.Right || answer.Answer != "9" || len(answer.Explanation) == 0 {
		t.Errorf("%+v", answer)
	}
	ask(http.MethodPost, "/2/answer", `{"answer":"eight"}`, http.StatusBadRequest, nil)
	ask(http.MethodPost, "/2/answer", `{"reply":"8"}`, http.StatusBadRequest, nil)
	ask(http.MethodPost, "/1/answer", `{"answer":"k"}`, http.StatusConflict, nil) // no record to ask about
	ask(http.MethodGet, "/nothing", "", http.StatusNotFound, nil)
	ask(http.MethodPost, "/reset", `{"station":99}`, http.StatusNotFound, nil)
	ask(http.MethodPost, "/reset", `{"station":0}`, http.StatusOK, &list)
	if list.Stations[1].Done || list.Stations[1].Answered {
		t.Errorf("%+v", list.Stations[1])
	}
}

// A server without stations says how to get them.
func TestNoLearn(t *testing.T) {
	srv, _ := newServer(t, nil)
	if status, _, text := request(t, http.MethodGet, srv.URL+"/api/v1/learn", "", nil); status != http.StatusConflict ||
		!strings.Contains(text, "weir up") {
		t.Errorf("status %d: %s", status, text)
	}
}

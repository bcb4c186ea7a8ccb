package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/learn"
)

// TestReadOnly: whatever changes something is refused with the reason, from the page and from
// a terminal, whether it is only planned or confirmed; what looks is answered.
func TestReadOnly(t *testing.T) {
	brokers := &fakeBrokers{}
	srv, cl := newServer(t, func(c *Config) { c.ReadOnly, c.Brokers, c.Members = true, brokers, fakeMembers{} })
	s := srv.Config.Handler.(*Server)
	defer s.Close()
	offsets := kadm.Offsets{}
	offsets.AddOffset("events", 0, 0, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), "mine", offsets); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, r := range s.routes {
		if r.method == http.MethodGet || strings.HasSuffix(r.path, "/learn/{station}/answer") ||
			strings.HasSuffix(r.path, "/learn/{station}/check") {
			continue
		}
		refused++
		path := strings.NewReplacer("{topic}", "events", "{group}", "mine", "{broker}", "1", "{lab}", "batching").Replace(r.path)
		for _, body := range []string{"", "{}", `{"confirm":"mine"}`, "not JSON"} {
			status, _, text := request(t, r.method, srv.URL+path, body, nil)
			var answer errorAnswer
			if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusForbidden || answer.Code != "read_only" || !strings.Contains(answer.Error, "--read-only") {
				t.Errorf("%s %s %q: %d %s", r.method, path, body, status, text)
			}
		}
		err := terminal(t, s).Ask(t.Context(), r.method, path, map[string]string{"confirm": "mine"}, nil)
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Status != http.StatusForbidden || !strings.Contains(e.Reason, "WEIR_READ_ONLY") {
			t.Errorf("a terminal, %s: %v", path, err)
		}
	}
	if refused < 10 || len(brokers.killed) > 0 {
		t.Errorf("%d operations were refused; killed were %v", refused, brokers.killed)
	}
	if got := get(t, srv.URL+"/api/v1/groups/mine", 200)["group"]; got != "mine" {
		t.Errorf("the group is %v", got)
	}
	status, _, text := request(t, "POST", srv.URL+"/api/v1/brokers/1/kill", "{}", map[string]string{"Sec-Fetch-Site": "cross-site"})
	if status != http.StatusForbidden || strings.Contains(text, "read_only") {
		t.Errorf("another site learns that this weir is read-only: %d %s", status, text)
	}
}

// TestLearnReadOnly: answers and checks change nothing in Kafka, so a learner can go on where weir only looks.
// Starting over is refused: a visitor cannot delete the progress of another one.
func TestLearnReadOnly(t *testing.T) {
	srv, _ := newServer(t, func(c *Config) {
		var err error
		c.ReadOnly = true
		if c.Learn, err = learn.New(learn.Config{Inspector: c.Inspector, Own: "test"}); err != nil {
			t.Fatal(err)
		}
	})
	for _, r := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/topic/check", "", http.StatusOK, `"done":true`},
		{"/topic/answer", `{"answer":"9"}`, http.StatusOK, `"right":true`},
		{"/topic/answer", `{"answer":"nine"}`, http.StatusBadRequest, "whole number"},
		{"/reset", `{"station":0}`, http.StatusForbidden, "--read-only"},
	} {
		status, _, text := request(t, http.MethodPost, srv.URL+"/api/v1/learn"+r.path, r.body, nil)
		if status != r.status || !strings.Contains(text, r.want) {
			t.Errorf("%s: %d %s", r.path, status, text)
		}
	}
	if list := get(t, srv.URL+"/api/v1/learn", 200)["stations"].([]any)[1].(map[string]any); list["done"] != true || list["answered"] != true {
		t.Errorf("not kept: %v", list)
	}
}

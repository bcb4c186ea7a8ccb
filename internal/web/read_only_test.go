package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
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
		if r.method == http.MethodGet {
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

package web

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestOpenAPINamesEveryOperation: what is served is described, and nothing else is.
func TestOpenAPINamesEveryOperation(t *testing.T) {
	srv, _ := newServer(t, nil)
	served := map[string]bool{}
	for _, r := range srv.Config.Handler.(*Server).routes {
		served[r.method+" "+r.path] = true
		if r.answer == nil && r.content == "" {
			t.Errorf("%s %s has no contract: name its answer in api.go", r.method, r.path)
		}
	}
	paths := get(t, srv.URL+"/api/v1/openapi.json", 200)["paths"].(map[string]any)
	n := 0
	for path, ops := range paths {
		for method := range ops.(map[string]any) {
			n++
			if !served[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is described and not served", method, path)
			}
		}
	}
	if n != len(served) {
		t.Errorf("%d operations are described, %d served", n, len(served))
	}
}

// TestNewestGoesPastItsLimit: what lies behind more messages than one answer looks
// at is found all the same, page by page, and so is what was found on the way.
func TestNewestGoesPastItsLimit(t *testing.T) {
	srv, cl := newServer(t, nil)
	write := func(key string, n int) {
		for i := range n {
			cl.Produce(t.Context(), &kgo.Record{Key: []byte(key), Value: []byte("-"), Partition: int32(i % 3), Timestamp: time.UnixMilli(int64(1000 + i))}, nil)
		}
		if err := cl.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write("first", 2)
	write("other", scanBudget/2)
	write("middle", 3)
	write("other", scanBudget)
	keys, pages, scanned := map[string]int{}, 0, int64(0)
	for cursor := ""; ; pages++ {
		a := get(t, srv.URL+"/api/v1/topics/events/messages?n=4&regexp="+url.QueryEscape("^(first|middle)$")+"&cursor="+cursor, 200)
		for _, m := range a["messages"].([]any) {
			keys[m.(map[string]any)["key"].(string)]++
		}
		n, _ := a["scanned"].(json.Number).Int64()
		scanned += n
		if cursor = a["cursor"].(string); cursor == "" || pages > 20 {
			break
		}
	}
	if keys["first"] != 2 || keys["middle"] != 3 || pages == 0 {
		t.Errorf("%d pages found %v", pages+1, keys)
	}
	if want := int64(scanBudget/2 + scanBudget + 5); scanned < want || scanned > want+1000 {
		t.Errorf("%d messages were scanned, %d are there: only what was held back is looked at twice", scanned, want)
	}
}

// TestNamesThatAPathCannotCarry: HTTP clients resolve . and .. in a path, so the
// groups of these names are asked for in the query.
func TestNamesThatAPathCannotCarry(t *testing.T) {
	srv, cl := newServer(t, nil)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "..", "a/b"} {
		at := srv.URL + "/api/v1/groups/_"
		group := "?group=" + url.QueryEscape(name)
		status, _, text := request(t, "POST", at+"/reset"+group, `{"to":"earliest","topics":["events"],"confirm":"`+name+`"}`, nil)
		if status != 200 || !strings.Contains(text, `"applied":true`) {
			t.Fatalf("reset %q: %d %s", name, status, text)
		}
		if got := get(t, at+group, 200)["group"]; got != name {
			t.Errorf("described %v, want %q", got, name)
		}
		get(t, at+"/replay"+group, 200)
	}
}

// TestUnknownChoicesAreRefused: a value that is not known is an error that names
// the known ones; it is never taken for the default.
func TestUnknownChoicesAreRefused(t *testing.T) {
	srv, _ := newServer(t, nil)
	for path, want := range map[string]string{
		"/messages?isolation=read_uncommitted":  "committed or uncommitted",
		"/messages.jsonl?isolation=Uncommitted": "committed or uncommitted",
		"/tail?isolation=none":                  "committed or uncommitted",
		"?groups=some":                          "none",
		"/messages?from=latest":                 "newest, oldest, offset or time",
	} {
		got, _ := get(t, srv.URL+"/api/v1/topics/events"+path, 400)["error"].(string)
		if !strings.Contains(got, want) {
			t.Errorf("%s: error %q, want one that names %q", path, got, want)
		}
	}
	for _, known := range []string{"", "?isolation=committed", "?isolation=uncommitted"} {
		get(t, srv.URL+"/api/v1/topics/events/messages"+known, 200)
	}
}

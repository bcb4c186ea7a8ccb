package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// outcome is what must have become of recorded events, by encoding/json.
type outcome struct {
	messages map[string]map[string]int   // topic -> key + "\t" + value -> times
	counts   map[string]map[string]int64 // source -> kind -> events
	accounts map[string]int64            // kind -> events
	dead     int
}

// TestRecorded takes events as the production hosts sent them from the socket to
// the counts. They are no part of this repository: they are other people's.
func TestRecorded(t *testing.T) {
	dir := os.Getenv("WEIR_TEST_RECORDED")
	if dir == "" {
		t.Skip("needs recorded events, bluesky.jsonl and wikipedia.sse: WEIR_TEST_RECORDED=DIR go -C interop test -run Recorded ./...")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Fatal("kcat is needed to read the topics: install the package kcat")
	}
	p := &playback{
		bluesky:   loadBluesky(t, filepath.Join(dir, "bluesky.jsonl")),
		wikipedia: loadWikipedia(t, filepath.Join(dir, "wikipedia.sse")),
	}
	want := expect(t, p)
	mux := http.NewServeMux()
	mux.HandleFunc("/subscribe", p.subscribe)
	mux.HandleFunc("/v2/stream/recentchange", p.recentchange)
	server := httptest.NewServer(mux)
	t.Cleanup(server.CloseClientConnections)

	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	w := weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}
	up := start(t, "weir up", nil, w.bin, "up", "--data", w.data, "--source", "live", "--ports", "0", "--collections", "*",
		"--bluesky-url", "ws"+strings.TrimPrefix(server.URL, "http")+"/subscribe",
		"--wikipedia-url", server.URL+"/v2/stream/recentchange")
	waitFor(t, "weir", func() bool {
		_, err := w.run("counts", "-o", "json")
		return err == nil
	})
	waitFor(t, "all events to be counted", func() bool { return w.reaches(want.counts) })

	for topic, messages := range want.messages {
		got := w.messages(topic)
		for m, n := range messages {
			if got[m] != n {
				t.Errorf("%s holds %d times, and not %d: %.300q", topic, got[m], n, m)
			}
		}
		for m, n := range got {
			if messages[m] == 0 {
				t.Errorf("%s holds %d times what nobody sent: %.300q", topic, n, m)
			}
		}
	}
	dead := 0
	for m, n := range w.messages("weir.dead-letters") {
		dead += n
		t.Logf("dead letter: %.300q", m)
	}
	if dead != want.dead {
		t.Errorf("%d dead letters, and not %d", dead, want.dead)
	}
	counts, err := w.byStream()
	if err != nil {
		t.Fatal(err)
	}
	for source := range want.counts {
		if !maps.Equal(counts[source], want.counts[source]) {
			t.Errorf("%s: weir counts %v, sent were %v", source, counts[source], want.counts[source])
		}
	}
	w.verify()
	up.stop(t, syscall.SIGINT)
	if p.repeated.Load() == 0 {
		t.Error("nothing was sent twice: the resumes were not tested")
	}
	t.Logf("%d frames of Bluesky, %d events of Wikipedia, %d of them sent again after %d resumes %q; counted %v, accounts %v, %d dead letters",
		len(p.bluesky), len(p.wikipedia), p.repeated.Load(), len(p.cursors), p.cursors, counts, want.accounts, want.dead)
}

// expect says what must become of the events.
func expect(t *testing.T, p *playback) outcome {
	t.Helper()
	want := outcome{messages: map[string]map[string]int{}, counts: map[string]map[string]int64{}, accounts: map[string]int64{}}
	add := func(topic, key string, value []byte) {
		if want.messages[topic] == nil {
			want.messages[topic] = map[string]int{}
		}
		want.messages[topic][key+"\t"+string(value)]++
	}
	count := func(source, kind string) {
		if want.counts[source] == nil {
			want.counts[source] = map[string]int64{}
		}
		want.counts[source][kind]++
	}
	for _, e := range p.bluesky {
		var f frame
		if err := json.Unmarshal(e.value, &f); err != nil {
			t.Fatal(err)
		}
		switch f.Kind {
		case "commit":
			add("bluesky-events", f.DID, e.value)
			count("bluesky", f.Commit.Operation)
		case "account", "identity":
			add("bluesky-accounts", f.DID, e.value)
			want.accounts[f.Kind]++
		default:
			want.dead++
		}
	}
	for _, e := range p.wikipedia {
		var f struct {
			Type  string `json:"type"`
			Wiki  string `json:"wiki"`
			Title string `json:"title"`
			Meta  struct {
				Domain string `json:"domain"`
			} `json:"meta"`
		}
		if err := json.Unmarshal(e.value, &f); err != nil {
			t.Fatal(err)
		}
		if f.Meta.Domain != "canary" {
			add("wikipedia-edits", f.Wiki+"|"+f.Title, e.value)
			count("wikipedia", f.Type)
		}
	}
	return want
}

// byStream returns what weir counts, by source and kind. Accounts are verify's.
func (w *weir) byStream() (map[string]map[string]int64, error) {
	out, err := w.run("counts", "-o", "json")
	if err != nil {
		return nil, err
	}
	var all map[string]map[string]int64
	return all, json.Unmarshal(out, &all)
}

// reaches reports whether at least as many events were counted as expected.
func (w *weir) reaches(want map[string]map[string]int64) bool {
	w.t.Helper()
	got, err := w.byStream()
	if err != nil {
		w.t.Fatal(err)
	}
	for source, kinds := range want {
		if sum(got[source]) < sum(kinds) {
			return false
		}
	}
	return true
}

func sum(kinds map[string]int64) (n int64) {
	for _, k := range kinds {
		n += k
	}
	return n
}

// messages reads a whole topic with kcat: how often each key and value is there.
func (w *weir) messages(topic string) map[string]int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kcat", "-b", w.brokers(), "-C", "-t", topic, "-o", "beginning", "-e", "-q",
		"-X", "isolation.level=read_committed", "-f", `%k\t%s\n`).Output()
	if err != nil {
		w.t.Fatalf("kcat: %v", err)
	}
	all := map[string]int{}
	for line := range bytes.Lines(out) {
		all[string(bytes.TrimSuffix(line, []byte("\n")))]++
	}
	return all
}

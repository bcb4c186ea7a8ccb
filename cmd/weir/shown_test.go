package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// shownCommand asks the API and returns its answer and the command that it shows, as
// a shell splits it, without the program's name.
func shownCommand(t *testing.T, s http.Handler, method, path, body string) (answer string, args []string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1/api/v1"+path, strings.NewReader(body))
	s.ServeHTTP(w, r)
	var a struct{ Command string }
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || a.Command == "" {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `weir() { printf '%s\0' "$@"; }; `+a.Command).Output()
	if err != nil {
		t.Fatalf("a shell cannot read %s: %v", a.Command, err)
	}
	return w.Body.String(), strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// TestShownCommandsDoTheSame runs the commands that the API shows: they find the same
// cluster, print the same messages and move the same partitions.
func TestShownCommandsDoTheSame(t *testing.T) {
	const topic, group = "events", "-a group"
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	data, redis := t.TempDir(), "redis://"+miniredis.RunT(t).Addr()+"/1"
	a := newApp([]string{"HOME=" + data}, strings.NewReader(""), newOutput(), newOutput())
	a.dataDir, a.kafka, a.redis = data, c.ListenAddrs(), redis
	a.given = map[string]string{"data": "--data", "kafka": "--kafka", "redis": "--redis"}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i, v := range []string{"/a|b/", "a", "b", ".dot", "xdot", "key=k", "header:h", "-dash", "plain"} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i % 3), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	i, err := inspect.New(inspect.Config{Client: cl})
	if err != nil {
		t.Fatal(err)
	}
	w, err := watch.New(watch.Config{Inspector: i})
	if err != nil {
		t.Fatal(err)
	}
	s, err := web.New(web.Config{Watch: w, Inspector: i, Where: a.where()})
	if err != nil {
		t.Fatal(err)
	}
	terminal := func(args []string) string {
		t.Helper()
		out := newOutput()
		if err := run(context.WithoutCancel(t.Context()), args, []string{"HOME=" + t.TempDir()}, strings.NewReader(""), out, newOutput()); err != nil {
			t.Fatalf("weir %s: %v", strings.Join(args, " "), err)
		}
		return out.String()
	}
	// What each filter must find, by hand.
	for filter, want := range map[string][]string{
		"text=" + url.QueryEscape("/a|b/"):     {"/a|b/"},
		"text=.dot":                            {".dot"},
		"text=key%3D":                          {"key=k"},
		"text=header%3A":                       {"header:h"},
		"text=-dash":                           {"-dash"},
		"regexp=" + url.QueryEscape("^(a|b)$"): {"a", "b"},
		"partition=0&isolation=uncommitted":    {"/a|b/", ".dot", "header:h"},
		"from=time&time=-1&partition=2":        {"b", "key=k", "plain"},
	} {
		answer, args := shownCommand(t, s, "GET", "/topics/events/messages?"+filter, "")
		slices.Sort(want)
		for what, text := range map[string]string{"the API": answer, "the command": terminal(append(args, "-o", "json"))} {
			if what == "the command" {
				text = `{"messages":` + text + `}`
			}
			var got struct{ Messages []struct{ Value string } }
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%s: %v: %s", what, err, text)
			}
			values := []string{}
			for _, m := range got.Messages {
				values = append(values, m.Value)
			}
			slices.Sort(values)
			if !slices.Equal(values, want) {
				t.Errorf("%s: %s finds %q, want %q (%q)", filter, what, values, want, args)
			}
		}
	}
	testShownReset(t, s, kadm.NewClient(cl), terminal, topic, group)
}

func testShownReset(t *testing.T, s http.Handler, admin *kadm.Client, terminal func([]string) string, topic, group string) {
	offsets := kadm.Offsets{}
	for p := range int32(3) {
		offsets.AddOffset(topic, p, 3, -1)
	}
	if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
	_, args := shownCommand(t, s, "POST", "/groups/"+url.PathEscape(group)+"/reset", `{"to":"-2","topics":["events"],"partitions":[0,2]}`)
	at := slices.Index(args, "--")
	terminal(slices.Insert(args, at, "--yes"))
	after, err := admin.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[int32]int64{0: 1, 1: 3, 2: 1} {
		if got, _ := after.Lookup(topic, p); got.At != want {
			t.Errorf("partition %d is at %d after %q, want %d", p, got.At, args, want)
		}
	}
	_, args = shownCommand(t, s, "GET", "/groups/"+url.PathEscape(group), "")
	if out := terminal(args); !strings.Contains(out, group) && !strings.Contains(out, topic) {
		t.Errorf("%q prints %s", args, out)
	}
}

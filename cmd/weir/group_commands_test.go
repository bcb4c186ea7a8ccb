package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/web"
)

// groupShell runs commands on a cluster that weir does not run, in this process.
type groupShell struct {
	t     *testing.T
	env   []string
	admin *kadm.Client
}

func newGroupShell(t *testing.T) *groupShell {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders", "a-topic-with-more-than-24-letters"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	for i := range 6 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// A Redis of its own: one at the default address is somebody else's.
	redis := "redis://" + miniredis.RunT(t).Addr() + "/1"
	return &groupShell{t, []string{"HOME=" + t.TempDir(), "WEIR_KAFKA=" + c.ListenAddrs()[0], "WEIR_REDIS=" + redis}, kadm.NewClient(cl)}
}

func (s *groupShell) commit(group, topic string, partition int32, offset int64) {
	s.t.Helper()
	o := kadm.Offsets{}
	o.AddOffset(topic, partition, offset, -1)
	if err := s.admin.CommitAllOffsets(s.t.Context(), group, o); err != nil {
		s.t.Fatal(err)
	}
}

// run returns what a command prints, and its exit code.
func (s *groupShell) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	out, err := newOutput(), newOutput()
	code = cli.Report(run(context.WithoutCancel(s.t.Context()), args, s.env, strings.NewReader(stdin), out, err), err)
	return out.String(), err.String(), code
}

func (s *groupShell) must(stdin string, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.run(stdin, args...)
	if code != cli.ExitOK {
		s.t.Fatalf("weir %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// fails checks a command that changes nothing: its exit code and what it says.
func (s *groupShell) fails(code int, stdin string, args []string, want ...string) {
	s.t.Helper()
	_, stderr, got := s.run(stdin, args...)
	for _, w := range want {
		if got != code || !strings.Contains(stderr, w) {
			s.t.Errorf("weir %s: exit code %d, want %d with %q: %s", strings.Join(args, " "), got, code, w, stderr)
		}
	}
}

// TestGroupOffsetsTravel: exported offsets are what kafka-consumer-groups.sh exports, and bring
// the same or another group to the same place.
func TestGroupOffsetsTravel(t *testing.T) {
	s := newGroupShell(t)
	s.commit("my group", "orders", 0, 2)
	s.commit("my group", "orders", 1, 3)
	s.commit("other", "a-topic-with-more-than-24-letters", 0, 0)
	one := s.must("", "groups", "export", "my group")
	if one != "orders,0,2\norders,1,3\n" {
		t.Errorf("of one group:\n%s", one)
	}
	both := s.must("", "groups", "export", "other", "my group", "other")
	if both != "other,\"a-topic-with-more-than-24-letters\",0,0\n\"my group\",orders,0,2\n\"my group\",orders,1,3\n" {
		t.Errorf("of two groups:\n%s", both)
	}
	var list []struct {
		Group, Topic      string
		Partition, Offset int64
	}
	if err := json.Unmarshal([]byte(s.must("", "groups", "export", "my group", "-o", "json")), &list); err != nil || len(list) != 2 || list[1].Offset != 3 || list[1].Group != "my group" {
		t.Errorf("as JSON: %+v %v", list, err)
	}
	if text := s.must("", "groups", "export", "my group", "-o", "jsonl"); strings.Count(text, "\n") != 2 || !strings.HasPrefix(text, `{"group":"my group","topic":"orders","partition":0,"offset":2}`) {
		t.Errorf("as JSON lines: %s", text)
	}
	s.must(one, "groups", "import", "-", "--group", "its copy", "--yes")
	if got := s.must("", "groups", "export", "its copy"); got != one {
		t.Errorf("the copy stands at\n%s", got)
	}
	file := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(both, ",2\n", ",99\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := s.run("", "groups", "import", file, "--yes")
	if code != cli.ExitOK || !strings.Contains(stderr, "1 of the file's offsets are outside") || !strings.Contains(stderr, "imported my group") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if got := s.must("", "groups", "export", "my group"); got != "orders,0,3\norders,1,3\n" {
		t.Errorf("after the import:\n%s", got)
	}
	// --group takes one group of a file of several.
	if err := os.WriteFile(file, []byte("my group,orders,0,0\nother,orders,0,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var answers []struct{ Applied bool }
	if err := json.Unmarshal([]byte(s.must("", "groups", "import", file, "--group", "other", "--yes", "-o", "json")), &answers); err != nil || len(answers) != 1 || !answers[0].Applied {
		t.Errorf("%+v %v", answers, err)
	}
	if got := s.must("", "groups", "export", "my group", "other"); !strings.Contains(got, "other,orders,0,1\n") || !strings.Contains(got, "\"my group\",orders,0,3\n") {
		t.Errorf("after one of two was imported:\n%s", got)
	}
	for _, c := range []struct {
		code  int
		stdin string
		args  string
		want  string
	}{
		{cli.ExitUsage, "orders,0,0\n", "import -", "add --group GROUP"},
		{cli.ExitUsage, "orders,0,0\n", "import - --group my", "add --yes"},
		{cli.ExitUsage, "", "import - --group my --yes", "standard input has no offsets"},
		{cli.ExitUsage, "orders,0\n", "import - --group my --yes", "line 1"},
		{cli.ExitUsage, "g,orders,0,0\n", "import - --group my --yes", `no offsets of group "my"`},
		{cli.ExitUsage, "", "import /no/such/file --yes", "/no/such/file"},
		{cli.ExitRuntime, "orders,7,0\n", "import - --group my --yes", "partition 7"},
		{cli.ExitRuntime, "", "export other none", "no such group"},
		{cli.ExitUsage, "", "export other -o xml", "csv, json, jsonl"},
		{cli.ExitUsage, "", "export", "arg"},
	} {
		s.fails(c.code, c.stdin, append([]string{"groups"}, strings.Fields(c.args)...), c.want)
	}
	if got := s.must("", "groups", "list", "-o", "json"); strings.Contains(got, `"my"`) {
		t.Errorf("a refused import has made a group: %s", got)
	}
}

// TestGroupsAreDeleted: nothing is deleted where one of several cannot be.
func TestGroupsAreDeleted(t *testing.T) {
	s := newGroupShell(t)
	for _, g := range []string{"one", "-two", "three"} {
		s.commit(g, "orders", 0, 1)
		s.commit(g, "orders", 1, 2)
	}
	s.fails(cli.ExitRuntime, "", []string{"groups", "delete", "one", "none", "three", "--yes"}, "no such group", "weir groups")
	s.fails(cli.ExitUsage, "", []string{"groups", "delete", "one"}, "add --yes", "COMMITTED OFFSETS")
	s.fails(cli.ExitUsage, "", []string{"groups", "delete"}, "arg")
	s.fails(cli.ExitUsage, "", []string{"groups", "delete-offsets", "one"}, "the topic is missing")
	s.fails(cli.ExitRuntime, "", []string{"groups", "delete-offsets", "one", "--topic", "none", "--yes"}, "no committed offset")
	var d web.DeleteOffsetsAnswer
	if err := json.Unmarshal([]byte(s.must("", "groups", "delete-offsets", "one", "--topic", "orders", "--partition", "1", "--yes", "-o", "json")), &d); err != nil ||
		!d.Applied || len(d.Plan.Offsets) != 1 || d.Plan.Offsets[0].Committed != 2 {
		t.Errorf("%+v %v", d, err)
	}
	if got := s.must("", "groups", "export", "one"); got != "orders,0,1\n" {
		t.Errorf("left are\n%s", got)
	}
	_, stderr, code := s.run("", "groups", "delete", "--yes", "--", "one", "-two", "one")
	if code != cli.ExitOK || strings.Count(stderr, "deleted one") != 1 || !strings.Contains(stderr, "deleted -two") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	var left []struct{ Group string }
	if err := json.Unmarshal([]byte(s.must("", "groups", "-o", "json")), &left); err != nil || len(left) != 1 || left[0].Group != "three" {
		t.Errorf("left are %+v %v", left, err)
	}
	if out := s.must("", "__complete", "groups", "delete", ""); !strings.HasPrefix(out, "three\n") {
		t.Errorf("completion suggests %s", out)
	}
	if out := s.must("", "__complete", "groups", "delete", "three", ""); strings.Contains(out, "three") {
		t.Errorf("completion suggests again %s", out)
	}
}

// TestReadOnlyWeir: a running weir that is read-only refuses changes from every side, says so
// in its banner and in its state, and still answers questions.
func TestReadOnlyWeir(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_READ_ONLY=true")
	up := start(t, env, "", "cluster", "--listen", "127.0.0.1:0")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	if !strings.Contains(up.stderr.String(), "read-only") {
		t.Errorf("the banner says\n%s", up.stderr)
	}
	api := openAPI(t, link.FindString(up.stderr.String()))
	if state := api.call(t, http.MethodGet, "/api/v1/state", "/api/v1/state", ""); dig(state, "read_only") != true {
		t.Errorf("the state says %v", dig(state, "read_only"))
	}
	status, _, text := api.ask(t, http.MethodPost, "/api/v1/groups/g/delete", `{"confirm":"g"}`)
	if status != http.StatusForbidden || dig(decoded(t, text), "code") != "read_only" {
		t.Errorf("from the page: %d %s", status, text)
	}
	for _, args := range [][]string{{"brokers", "kill", "1"}, {"groups", "delete", "g", "--yes"}, {"groups", "reset", "g", "--to", "oldest", "--yes"}} {
		if _, stderr, code := weir(t, env, args...); code != cli.ExitRuntime || !strings.Contains(stderr, "read-only") || !strings.Contains(stderr, "--read-only") {
			t.Errorf("weir %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
		}
	}
	if stdout, stderr, code := weir(t, env, "topics"); code != cli.ExitOK || !strings.Contains(stdout, "bluesky-events") {
		t.Errorf("weir topics: exit code %d: %s", code, stderr)
	}
	if code := up.stop(t); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, up.stderr)
	}
}

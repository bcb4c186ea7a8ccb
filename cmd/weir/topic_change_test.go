package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// TestTopicCommands goes with a topic from its creation to its end, on a running weir, which
// logs it, and on a cluster that --kafka names.
func TestTopicCommands(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	cluster := start(t, env, "", "cluster", "--listen", "off")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	found := node.Running(dataOf(env))
	if len(found) != 1 {
		t.Fatalf("found %d running weirs", len(found))
	}
	kafka := found[0].Kafka
	t.Run("running", func(t *testing.T) { topicLife(t, env, kafka) })
	t.Run("named", func(t *testing.T) {
		topicLife(t, testEnv(t, "WEIR_KAFKA="+strings.Join(kafka, ",")), kafka) // another data directory, and no Redis
	})
	t.Run("refused", func(t *testing.T) { topicsRefused(t, env) })
	t.Run("completion", func(t *testing.T) { topicsCompleted(t, env) })

	var log struct{ Entries []watch.Entry }
	if err := actionsOf(found[0]).ask(t.Context(), http.MethodGet, "/log?limit=500", nil, &log); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, e := range log.Entries {
		text.WriteString(e.Text + "\n")
	}
	for _, want := range []string{"topic orders was created with 2 partitions from a terminal\n", "topic orders was altered, with retention.ms=70000 now, from a terminal\n",
		"topic orders was given 5 partitions instead of 2 from a terminal\n", "topic orders was deleted, with 2 messages, from a terminal\n"} {
		if strings.Count(text.String(), want) != 1 { // what another process did is not noted
			t.Errorf("the log does not say %q once:\n%s", want, text.String())
		}
	}
}

func topicLife(t *testing.T, env, kafka []string) {
	const topic = "orders"
	must := func(args ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := weir(t, env, args...)
		if code != cli.ExitOK {
			t.Fatalf("weir %s: exit code %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
		}
		return stdout, stderr
	}
	if out, _ := must("topics", "create", topic, "--partitions", "2", "--replicas", "3", "--config", "retention.ms=60000", "--config", "cleanup.policy=compact,delete"); out != "created topic orders: 2 partitions, 3 replicas of each\n" {
		t.Errorf("create prints %q", out)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for n := range 10 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(n % 2), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if out, _ := must("topics", "alter", topic, "--config", "retention.ms=70000", "--unset", "segment.ms", "-o", "jsonl"); !strings.Contains(out, `"before":"60000","after":"70000"`) {
		t.Errorf("alter prints %s", out)
	}
	if _, text := must("topics", "alter", topic, "--config", "retention.ms=70000"); !strings.Contains(text, "nothing to change") {
		t.Errorf("alter says %q", text)
	}
	described, err := admin.DescribeTopicConfigs(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{}
	for _, c := range described[0].Configs {
		if c.Key == "retention.ms" || c.Key == "cleanup.policy" {
			own[c.Key] = c.MaybeValue()
		}
	}
	if fmt.Sprint(own) != "map[cleanup.policy:compact,delete retention.ms:70000]" {
		t.Errorf("the brokers have the settings %v", own)
	}
	out, text := must("topics", "add-partitions", topic, "3", "--yes")
	if out != "orders has 5 partitions now\n" || !strings.Contains(text, "keys move") {
		t.Errorf("add-partitions prints %q and says %q", out, text)
	}
	firsts := func() (low []int64) {
		t.Helper()
		offsets, err := admin.ListStartOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(5) {
			o, _ := offsets.Lookup(topic, p)
			low = append(low, o.Offset)
		}
		return low
	}
	if out, _ := must("topics", "truncate", topic, "--before", "-2", "--partition", "1", "--yes"); out != "deleted 3 messages of orders\n" || !slices.Equal(firsts(), []int64{0, 3, 0, 0, 0}) {
		t.Errorf("truncate prints %q, the first offsets are %v", out, firsts())
	}
	// The embedded brokers keep the last message of a partition, and weir says so.
	if out, text := must("topics", "truncate", topic, "--yes"); out != "deleted 5 messages of orders\n" || !strings.Contains(text, "keep 2 of them") || !slices.Equal(firsts(), []int64{4, 4, 0, 0, 0}) {
		t.Errorf("truncate prints %q and says %q, the first offsets are %v", out, text, firsts())
	}
	must("topics", "create", "payments")
	out, text = must("topics", "delete", topic, "payments", "--yes", "-o", "json")
	var done []web.DeleteTopicAnswer
	if err := json.Unmarshal([]byte(out), &done); err != nil || len(done) != 2 || !done[0].Applied || done[0].Plan.Messages != 2 || done[1].Plan.Topic != "payments" {
		t.Errorf("delete prints %s and says %q: %v", out, text, err)
	}
	if out, _ := must("topics", "list"); strings.Contains(out, topic) || strings.Contains(out, "payments") || !strings.Contains(out, "bluesky-events") {
		t.Errorf("the topics are\n%s", out)
	}
}

func topicsRefused(t *testing.T, env []string) {
	if _, stderr, code := weir(t, env, "topics", "create", "stays"); code != cli.ExitOK {
		t.Fatal(stderr)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"topics create stays", cli.ExitRuntime, "weir topics describe"},
		{"topics create a/b", cli.ExitUsage, "letters, digits"},
		{"topics create", cli.ExitUsage, "1 arg"},
		{"topics create x --replicas 9", cli.ExitRuntime, "INVALID_REPLICATION_FACTOR"},
		{"topics create x --config retention.m=1", cli.ExitRuntime, "weir topics settings"},
		{"topics create x --config retention.ms", cli.ExitUsage, "NAME=VALUE"},
		{"topics create x --config retention.ms=1 --config retention.ms=2", cli.ExitUsage, "twice"},
		{"topics create x --config retention.ms=1h", cli.ExitRuntime, "Not a number"},
		{"topics alter stays", cli.ExitUsage, "--unset NAME"},
		{"topics alter stays --unset retention.m", cli.ExitRuntime, `no setting "retention.m"`},
		{"topics alter nope --unset retention.ms", cli.ExitRuntime, "list the topics"},
		{"topics add-partitions stays none --yes", cli.ExitUsage, "how many"},
		{"topics add-partitions stays 0 --yes", cli.ExitUsage, "1 or more"},
		{"topics add-partitions stays", cli.ExitUsage, "2 arg"},
		{"topics truncate stays --before sideways --yes", cli.ExitUsage, "sideways"},
		{"topics truncate stays --before oldest --yes", cli.ExitRuntime, "say before what"},
		{"topics truncate stays --partition 99 --yes", cli.ExitRuntime, "99"},
		{"topics truncate bluesky-events --yes", cli.ExitRuntime, "empty --data directory"},
		{"topics add-partitions weir.cursors 1 --yes", cli.ExitRuntime, "weir does not change this topic"},
		{"topics delete wikipedia-edits --yes", cli.ExitRuntime, "stop weir up"},
		{"topics delete stays weir.dead-letters --yes", cli.ExitRuntime, "weir.dead-letters"},
		{"topics delete stays", cli.ExitUsage, "--yes"},
		{"topics stays other", cli.ExitUsage, "unknown command"},
		{"topics create stays --kafka 127.0.0.1:1", cli.ExitConnect, "127.0.0.1:1"},
	} {
		if stdout, stderr, code := weir(t, env, strings.Fields(c.args)...); code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("weir %s: exit code %d, want %d and %q: %s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	for _, args := range []string{"topics stays", "topics describe stays"} { // nothing has happened to it
		if stdout, stderr, code := weir(t, env, strings.Fields(args)...); code != cli.ExitOK || !strings.Contains(stdout, "stays: 0 messages") {
			t.Errorf("weir %s: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
	// A topic that is called like a command is described in the longer way.
	if _, stderr, code := weir(t, env, "topics", "create", "create"); code != cli.ExitOK {
		t.Fatal(stderr)
	}
	if stdout, stderr, code := weir(t, env, "topics", "describe", "create"); code != cli.ExitOK || !strings.Contains(stdout, "create: 0 messages") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, code := weir(t, env, "topics", "settings"); code != cli.ExitOK || !strings.Contains(stdout, "retention.ms") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func topicsCompleted(t *testing.T, env []string) {
	if _, stderr, code := weir(t, env, "topics", "alter", "stays", "--config", "retention.ms=5000"); code != cli.ExitOK {
		t.Fatal(stderr)
	}
	for _, c := range []struct{ args, word, want, not string }{
		{"topics", "", "stays", ""}, {"topics", "", "create\t", ""}, {"topics describe", "", "stays", ""}, {"topics alter", "", "stays", ""},
		{"topics delete stays", "", "bluesky-events", "stays"}, {"topics add-partitions stays", "", ":4", "stays"}, {"topics create", "", ":4", "stays"},
		{"topics create x --config", "", "retention.ms=\t", ""}, {"topics create x --config", "cleanup.policy=", "cleanup.policy=compact", "retention"},
		{"topics alter stays --config", "retention.ms=", "retention.ms=604800000\t", ""},
		{"topics alter stays --unset", "", "retention.ms\t5000", "segment.ms"},
	} {
		stdout, _, _ := weir(t, env, append(append([]string{"__complete"}, strings.Fields(c.args)...), c.word)...)
		if !strings.Contains("\n"+stdout, "\n"+c.want) || c.not != "" && strings.Contains(stdout, c.not) {
			t.Errorf("completing weir %s %q: want %q and not %q in %q", c.args, c.word, c.want, c.not, stdout)
		}
	}
}

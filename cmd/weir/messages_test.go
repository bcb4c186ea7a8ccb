package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
)

// messageTopics is a broker with the topics a (two partitions) and b (one), and their messages.
func messageTopics(t *testing.T) (brokers string, write func(...*kgo.Record)) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "a"), kfake.SeedTopics(1, "b"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	write = func(records ...*kgo.Record) {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	at := func(topic string, partition int32, value string, second int) *kgo.Record {
		return &kgo.Record{Topic: topic, Partition: partition, Key: []byte("k" + value), Value: []byte(value), Timestamp: time.Unix(1700000000+int64(second), 0),
			Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(value)}, {Key: "none"}}}
	}
	write(at("a", 0, "1", 1), at("a", 1, "2", 2), at("b", 0, "3", 3), at("a", 0, "4", 4), at("b", 0, "5", 5),
		&kgo.Record{Topic: "a", Partition: 1, Timestamp: time.Unix(1700000006, 0)})
	return c.ListenAddrs()[0], write
}

// TestMessagesOfTopics: several topics are one list, by time, and --until ends it.
func TestMessagesOfTopics(t *testing.T) {
	brokers, _ := messageTopics(t)
	env := testEnv(t, "WEIR_KAFKA="+brokers)
	for _, c := range []struct{ args, want string }{
		{"a b --offset oldest --format %t%p:%o=%v\\n", "a0:0=1\na1:0=2\nb0:0=3\na0:1=4\nb0:1=5\na1:1=\n"},
		{"b a b --offset oldest --format %v,", "1,2,3,4,5,,"},
		{"a b -n 3 --format %v,", "4,5,,"},
		{"a b --offset oldest -n 3 --format %v,", "1,2,3,"},
		{"a b --offset oldest --until 1 --format %v,", "1,2,3,"},
		{"a --offset oldest --until -1 --format %v,", "1,2,"},
		{"a b --until 2023-11-14T22:13:23Z --format %v,", "1,2,"},
		{"a b --since 2023-11-14T22:13:22Z --until 2023-11-14T22:13:25Z --format %v,", "2,3,4,"},
		{"a --until end --partition 0 --format %v,", "1,4,"},
		{"b --format %k|%h|%T|%K|%S|%%\\x41\\t\\\\\\n", "k3|n=3,none=NULL|1700000003000|2|1|%A\t\\\nk5|n=5,none=NULL|1700000005000|2|1|%A\t\\\n"},
		{"a --partition 1 --offset 1 --format %K/%S", "-1/-1"},
		{"a b --filter /[35]/ -o raw", "3\n5\n"},
		{"b -o text", "[message] k3: 3\n[message] k5: 5\n"},
	} {
		stdout, stderr, code := weir(t, env, append([]string{"messages"}, strings.Fields(c.args)...)...)
		if stdout != c.want || code != cli.ExitOK {
			t.Errorf("messages %s: %q, want %q; exit code %d: %s", c.args, stdout, c.want, code, stderr)
		}
	}
	stdout, _, _ := weir(t, env, "messages", "a", "b", "-n", "2")
	if lines := strings.Split(stdout, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "b 0:1 ") || !strings.HasPrefix(lines[1], "a 1:1 ") {
		t.Errorf("the table does not name the topics: %q", stdout)
	}
	if _, stderr, code := weir(t, env, "messages", "a", "nope"); code != cli.ExitRuntime || !strings.Contains(stderr, `"nope"`) || !strings.Contains(stderr, "weir topics") {
		t.Errorf("an unknown topic: exit code %d: %s", code, stderr)
	}
	if _, stderr, _ := weir(t, env, "messages", "a", "b", "--until", "0"); strings.Count(stderr, "in that range") != 2 || !strings.Contains(stderr, "0 at offset 0") {
		t.Errorf("an empty range is not explained: %s", stderr)
	}
	for words, want := range map[string][]string{"messages": {"a", "b"}, "messages a": {"b"}, "messages a --until": {"end"}, "messages a --offset": {"oldest", "end"}} {
		stdout, _, _ := weir(t, env, append(append([]string{"__complete"}, strings.Fields(words)...), "")...)
		if got := strings.Fields(strings.Split(stdout, "\n:")[0]); !slices.Equal(got, want) {
			t.Errorf("completing %s: %q, want %q", words, got, want)
		}
	}
}

// TestMessagesUsage: what contradicts itself is rejected before anything is read.
func TestMessagesUsage(t *testing.T) {
	for args, want := range map[string]string{
		"a --follow --until end":         "--follow has no end",
		"a --until soon":                 "not a place to end",
		"a --until oldest":               "not a place to end",
		"a --format %v -o raw":           "both say how to print",
		"a --format %q":                  "%q is unknown",
		"a --format %":                   "ends after %",
		"a --format \\xg0":               "two hexadecimal digits",
		"a --format \\y":                 `\y is unknown`,
		"a --group g --partition 1":      "Kafka assign the partitions",
		"a --group g --offset 5":         "weir groups reset g",
		"a --group g --since 1h":         "weir groups reset g",
		"a --group g --offset end":       "add --follow",
		"a --group weir-bluesky-counter": "weir consume",
		"a b --follow -o json":           "use -o jsonl",
	} {
		_, stderr, code := weir(t, testEnv(t), append([]string{"messages"}, strings.Fields(args)...)...)
		if code != cli.ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("messages %s: exit code %d: %s", args, code, stderr)
		}
	}
	if _, stderr, code := weir(t, testEnv(t), "messages"); code != cli.ExitUsage {
		t.Errorf("no topic: exit code %d: %s", code, stderr)
	}
}

// TestMessagesOfAGroup: each run goes on where the group stands.
func TestMessagesOfAGroup(t *testing.T) {
	brokers, write := messageTopics(t)
	env := testEnv(t, "WEIR_KAFKA="+brokers)
	read := func(args ...string) (values []string, stderr string) {
		t.Helper()
		stdout, stderr, code := weir(t, env, append([]string{"messages", "a", "b", "--group", "g", "--format", "%v\\n"}, args...)...)
		if code != cli.ExitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		values = strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
		slices.Sort(values)
		return values, stderr
	}
	first, _ := read("-n", "2")
	rest, stderr := read()
	all := slices.Sorted(slices.Values(append(first, rest...)))
	if len(first) != 2 || !slices.Equal(all, []string{"", "1", "2", "3", "4", "5"}) || !strings.Contains(stderr, "printed 4 of 4 messages as a member of group g") {
		t.Errorf("%q and then %q: %s", first, rest, stderr)
	}
	write(&kgo.Record{Topic: "b", Value: []byte("new")})
	if values, _ := read(); !slices.Equal(values, []string{"new"}) {
		t.Errorf("after that: %q", values)
	}
	c := start(t, env, "", "messages", "b", "--group", "g", "--follow", "-o", "raw")
	write(&kgo.Record{Topic: "b", Value: []byte("live")})
	c.stdout.waitFor(t, "live\n", startPatience)
	if code := c.stop(t); code != cli.ExitOK {
		t.Errorf("Ctrl-C: exit code %d: %s", code, c.stderr)
	}
	if _, stderr := read(); !strings.Contains(stderr, "printed 0 of 0 messages") {
		t.Errorf("what was followed came again: %s", stderr)
	}
}

// TestFormatLikeKcat prints the same bytes as kcat for the words that both know.
func TestFormatLikeKcat(t *testing.T) {
	if os.Getenv("WEIR_TEST_KCAT") == "" {
		t.Skip("needs kcat: WEIR_TEST_KCAT=1 go test -run Kcat ./cmd/weir")
	}
	brokers, _ := messageTopics(t)
	const format = `%t %p %o %k %K %s %S %h %T%%\n`
	want, err := exec.CommandContext(t.Context(), "kcat", "-b", brokers, "-C", "-t", "b", "-e", "-q", "-f", format).Output()
	if err != nil {
		t.Fatal(err)
	}
	got, stderr, _ := weir(t, testEnv(t), "messages", "b", "--kafka", brokers, "--offset", "oldest", "--format", format)
	if got != string(want) || strings.Count(got, "\n") != 2 {
		t.Errorf("%q, kcat prints %q: %s", got, want, stderr)
	}
}

// TestEventLine: one line for each type of event of both streams, harmless on a terminal.
func TestEventLine(t *testing.T) {
	kind := func(k string) []kgo.RecordHeader { return []kgo.RecordHeader{{Key: "kind", Value: []byte(k)}} }
	for want, m := range map[string]inspect.Message{
		`[edit] Otter1124 edited "Weir" on enwiki`:           {Value: []byte(`{"type":"edit","title":"Weir","user":"Otter1124","wiki":"enwiki"}`), Headers: kind("edit")},
		`[new] O created "Weir" on dewiki`:                   {Value: []byte(`{"type":"new","title":"Weir","user":"O","wiki":"dewiki"}`)},
		`[log] O logged move/move_redir on "Weir" on dewiki`: {Value: []byte(`{"type":"log","title":"Weir","user":"O","wiki":"dewiki","log_type":"move","log_action":"move_redir"}`)},
		`[categorize] O changed "Category:Dams" on dewiki`:   {Value: []byte(`{"type":"categorize","title":"Category:Dams","user":"O","wiki":"dewiki"}`)},
		`[create] post: two\nlines \x1b[2J`:                  {Value: []byte(`{"did":"did:plc:a","kind":"commit","commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"3k","record":{"text":"two\nlines \u001b[2J"}}}`)},
		`[delete] post 3k by did:plc:a`:                      {Value: []byte(`{"did":"did:plc:a","kind":"commit","commit":{"operation":"delete","collection":"app.bsky.feed.post","rkey":"3k"}}`)},
		`[create] like 3k by did:plc:a`:                      {Value: []byte(`{"did":"did:plc:a","commit":{"operation":"create","collection":"app.bsky.feed.like","rkey":"3k","record":{"subject":{"uri":"x"}}}}`)},
		`[account] did:plc:a is deactivated`:                 {Value: []byte(`{"did":"did:plc:a","kind":"account","account":{"active":false,"status":"deactivated"}}`)},
		`[account] did:plc:a is active`:                      {Value: []byte(`{"did":"did:plc:a","kind":"account","account":{"active":true}}`)},
		`[identity] did:plc:a is now weir.example`:           {Value: []byte(`{"did":"did:plc:a","kind":"identity","identity":{"handle":"weir.example"}}`)},
		`[malformed] abc: {"did"`:                            {Key: []byte("abc"), Value: []byte(`{"did"`), Headers: kind("malformed")},
		`[message] k: null`:                                  {Key: []byte("k")},
		`[message] {"title":5}`:                              {Value: []byte(`{"title":5}`)},
		`[x\x1b] {}`:                                         {Value: []byte(`{}`), Headers: kind("x\x1b")},
	} {
		if got := eventLine(m); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// TestLayoutOnATerminal: bytes that could steer the terminal are escapes there, and only there.
func TestLayoutOnATerminal(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		l, err := parseLayout(`%t %k %v %h\n`, terminal)
		if err != nil {
			t.Fatal(err)
		}
		if line := string(l.line(hostileRecord())); steers(line) != !terminal {
			t.Errorf("terminal %v: %q", terminal, line)
		}
	}
}

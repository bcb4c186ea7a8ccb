package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/send"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// sending is a cluster with two empty topics of three partitions, and weir as a user starts it.
type sending struct {
	t  *testing.T
	cl *kgo.Client
	at []string // environment
}

func newSending(t *testing.T) *sending {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders", "copy", "weir.cursors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &sending{t, cl, []string{"HOME=" + t.TempDir(), "WEIR_KAFKA=" + c.ListenAddrs()[0]}}
}

// run runs a command with an input, and returns what it prints and its error.
func (s *sending) run(stdin string, args ...string) (stdout, stderr string, err error) {
	out, errs := newOutput(), newOutput()
	err = run(context.WithoutCancel(s.t.Context()), args, s.at, strings.NewReader(stdin), out, errs)
	return out.String(), errs.String(), err
}

func (s *sending) must(stdin string, args ...string) string {
	s.t.Helper()
	stdout, stderr, err := s.run(stdin, args...)
	if err != nil {
		s.t.Fatalf("weir %q: %v\n%s%s", args, err, stdout, stderr)
	}
	return stdout
}

// stored are n records of a topic as a plain client reads them, by partition and offset.
func (s *sending) stored(topic string, n int) (list []*kgo.Record) {
	s.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimPrefix(s.at[1], "WEIR_KAFKA=")), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for len(list) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("%d records of %s: %v", len(list), topic, err)
		}
		list = append(list, fetches.Records()...)
	}
	slices.SortFunc(list, func(a, b *kgo.Record) int { return int(1000*(a.Partition-b.Partition)) + int(a.Offset-b.Offset) })
	if len(list) != n {
		s.t.Fatalf("%s has %d records, want %d", topic, len(list), n)
	}
	return list
}

// shape is what a copy must keep.
func shape(r *kgo.Record) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %q %t %q %t", r.Timestamp.UnixMilli(), r.Key, r.Key == nil, r.Value, r.Value == nil)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %q %q %t", h.Key, h.Value, h.Value == nil)
	}
	return b.String()
}

// TestSendCopiesATopic: what weir messages prints, weir send writes again: keys, values, headers
// and times, also those that are null or no text.
func TestSendCopiesATopic(t *testing.T) {
	t.Parallel()
	s := newSending(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	at := time.UnixMilli(1730176462123)
	records := []*kgo.Record{
		{Key: []byte("k"), Value: hostileRecord().Value, Timestamp: at, Headers: hostileRecord().Headers},
		{Key: nil, Value: nil, Timestamp: at.Add(time.Hour)},
		{Key: []byte{}, Value: []byte{}, Timestamp: time.UnixMilli(0)},
		{Key: all, Value: all, Timestamp: at, Headers: []kgo.RecordHeader{{Key: "a", Value: all}, {Key: "a"}, {Key: "b\xff", Value: []byte{}}}},
		{Value: []byte("before 1970"), Timestamp: time.UnixMilli(-1_000_000_000_000)},
		{Value: bytes.Repeat([]byte("large "), 100_000), Timestamp: at},
	}
	for i, r := range records {
		r.Topic, r.Partition = "orders", int32(i%3)
		if err := s.cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	lines := s.must("", "messages", "orders", "--offset", "oldest", "-o", "jsonl")
	s.must(lines, "send", "copy", "--input", "jsonl", "--keep-partitions", "-q")
	from, to := s.stored("orders", len(records)), s.stored("copy", len(records))
	for i, want := range from {
		if got := to[i]; got.Partition != want.Partition || shape(got) != shape(want) {
			t.Errorf("copied as %d: %.300s\nwant %d: %.300s", got.Partition, shape(got), want.Partition, shape(want))
		}
	}
}

// TestSend: records of arguments, of a file, of standard input and of templates are where
// the output says.
func TestSend(t *testing.T) {
	t.Parallel()
	s := newSending(t)
	file := filepath.Join(t.TempDir(), "orders.txt")
	if err := os.WriteFile(file, []byte("anna=1\nben=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type place struct {
		Line      int
		Topic     string
		Partition int32
		Offset    *int64
	}
	var got []string
	for _, c := range []struct {
		stdin string
		args  []string
		n     int
	}{
		{"", []string{"a {n}", "-b", "--partition", "1", "--header", "h=1", "--header", "nil"}, 2},
		{"c\nd\n", []string{"--key", "anna", "--partition", "2"}, 2},
		{"", []string{"--file", file, "--key-separator", "=", "--null", "--partition", "0"}, 2},
		{"not read", []string{"--key", "anna", "--null", "--partition", "0"}, 1},
		{"", []string{"e{n}", "f{{n}", "--count", "3", "--key", "k{n}", "--header", "h=v{n}", "--partition", "0", "--transactional"}, 3},
	} {
		args := append([]string{"send", "orders", "-o", "jsonl"}, c.args...)
		if i := slices.Index(args, "-b"); i >= 0 { // a record that looks like a flag stands behind --
			args = append(slices.Delete(args, i, i+1), "--", "-b")
		}
		out := s.must(c.stdin, args...)
		n := 0
		for line := range strings.Lines(out) {
			var p place
			if err := json.Unmarshal([]byte(line), &p); err != nil || p.Offset == nil || p.Topic != "orders" {
				t.Fatalf("%q prints %q: %v", args, line, err)
			}
			if n++; p.Line != n {
				t.Errorf("%q: record %d has number %d", args, n, p.Line)
			}
			got = append(got, fmt.Sprintf("%d:%d", p.Partition, *p.Offset))
		}
		if n != c.n {
			t.Errorf("%q prints %d records, want %d", args, n, c.n)
		}
	}
	var places, shapes []string
	for _, r := range s.stored("orders", 10) {
		r.Timestamp = time.UnixMilli(0)
		places, shapes = append(places, fmt.Sprintf("%d:%d", r.Partition, r.Offset)), append(shapes, shape(r)[2:])
	}
	slices.Sort(got)
	slices.Sort(places)
	// A transaction's marker stands behind the last record, so it moves no offset.
	if !slices.Equal(got, places) {
		t.Errorf("printed %q, stored %q", got, places)
	}
	want := []string{
		`"anna" false "1" false`, `"ben" false "" true`, `"anna" false "" true`,
		`"k1" false "e1" false "h" "v1" false`, `"k2" false "f{n}" false "h" "v2" false`, `"k3" false "e3" false "h" "v3" false`,
		`"" true "a {n}" false "h" "1" false "nil" "" true`, `"" true "-b" false "h" "1" false "nil" "" true`,
		`"anna" false "c" false`, `"anna" false "d" false`,
	}
	if !reflect.DeepEqual(shapes, want) {
		t.Errorf("stored\n%s\nwant\n%s", strings.Join(shapes, "\n"), strings.Join(want, "\n"))
	}
}

// TestSendSaysWhatWasNotWritten: exit code, reason, and the line to go on with.
func TestSendSaysWhatWasNotWritten(t *testing.T) {
	t.Parallel()
	s := newSending(t)
	stdout, _, err := s.run("a:1\nb:2\nwrong\nc:3\n", "send", "orders", "--key-separator", ":", "--partition", "0")
	e, ok := errors.AsType[*cli.Error](err)
	if !ok || e.Code != cli.ExitRuntime || !strings.Contains(err.Error(), `line 3: the separator ":" between key and value is missing; everything up to line 2 was written`) ||
		!strings.Contains(e.Hint, "tail -n +3") || stdout != "partition 0, offset 0\npartition 0, offset 1\n" {
		t.Errorf("%v, hint %q, printed %q", err, e.Hint, stdout)
	}
	s.stored("orders", 2)
	for want, args := range map[string][]string{
		"no such topic":                        {"send", "none", "x"},
		"weir.cursors holds the offsets":       {"send", "weir.cursors", "x"},
		"orders has no partition 9, but 0 to ": {"send", "orders", "x", "--partition", "9"},
	} {
		if _, _, err := s.run("", args...); cli.ExitCode(err) != cli.ExitRuntime || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	for _, args := range [][]string{
		{"x", "--key", "a", "--key-separator", ":"}, {"x", "--file", "y"}, {"--count", "3"}, {"x", "--count", "0"}, {"x", "--count", "-1"}, {"{typo}", "--count", "2"},
		{"x", "--header", "=v"}, {"x", "--partition", "-2"}, {"x", "--input", "xml"}, {"x", "--acks", "2"}, {"x", "--compression", "zip"}, {"--input", "jsonl", "--key", "k"},
		{"x", "--keep-partitions"}, {"x", "--transactional", "--acks", "1"}, {"--file", "/none/such"}, {"x", "--input", "jsonl"}, {"x", "--rate", "-1"},
	} {
		if _, _, err := s.run("", append([]string{"send", "orders"}, args...)...); cli.ExitCode(err) != cli.ExitUsage {
			t.Errorf("%q: exit code %d: %v", args, cli.ExitCode(err), err)
		}
	}
	s.stored("orders", 2) // nothing more
}

// byHand writes records for the API, as the program does.
type byHand struct{ cl *kgo.Client }

func (b byHand) Produce(ctx context.Context, topic string, in send.Input, placed bool, written func(*kgo.Record)) (send.Result, error) {
	found, err := send.LookUp(ctx, b.cl, topic)
	if err != nil {
		return send.Result{}, err
	}
	opts := send.Options{Placed: placed}
	cl, err := kgo.NewClient(append(opts.Client(found), kgo.SeedBrokers(b.cl.OptValue(kgo.SeedBrokers).([]string)...))...)
	if err != nil {
		return send.Result{}, err
	}
	defer cl.Close()
	w := send.Writer{Client: cl, Topic: found, Options: opts, Written: func(_ int64, r *kgo.Record) error { written(r); return nil }}
	return w.Write(ctx, in)
}

func (byHand) PartitionOf(context.Context, string, []byte) (uint32, int32, error) { return 0, 0, nil }

// server is the API on the cluster.
func (s *sending) server() *web.Server {
	s.t.Helper()
	i, err := inspect.New(inspect.Config{Client: s.cl})
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := watch.New(watch.Config{Inspector: i})
	if err != nil {
		s.t.Fatal(err)
	}
	kafka := strings.TrimPrefix(s.at[1], "WEIR_KAFKA=")
	server, err := web.New(web.Config{Watch: w, Inspector: i, Producer: byHand{s.cl}, Where: web.Where{Kafka: []string{"--kafka", kafka}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Close)
	return server
}

// TestProduceAndItsCommands: the API writes what it is asked for, and the commands that it
// shows write the same: that of weir, and with WEIR_TEST_KCAT=1 that of kcat.
func TestProduceAndItsCommands(t *testing.T) {
	t.Parallel()
	s := newSending(t)
	server := s.server()
	binary := base64.StdEncoding.EncodeToString([]byte{0xff, 0, 1})
	n := 0 // of records in the topic
	for _, c := range []struct {
		body string
		want string // the record, by hand
		kcat bool
	}{
		{`{"key":"k","value":"-v","headers":[["a","b=c"],["d",null]],"partition":null}`, `"k" false "-v" false "a" "b=c" false "d" "" true`, true},
		{`{"key":null,"value":"two\nlines' \"quoted\" {n}","headers":[],"partition":2}`, `"" true "two\nlines' \"quoted\" {n}" false`, true},
		{`{"key":"k","value":null,"headers":[],"partition":null}`, `"k" false "" true`, true},
		{`{"key":"","value":"","headers":[["e",""]],"partition":1}`, `"" false "" false "e" "" false`, false},
		{`{"key":"k","value_base64":"` + binary + `","headers":[["a","b"]],"partition":0}`, `"k" false "\xff\x00\x01" false "a" "b" false`, false},
		{`{"key":"k","value":"` + strings.Repeat("x", 5000) + `","partition":null}`, `"k" false "` + strings.Repeat("x", 5000) + `" false`, false},
		{`{"again":{"partition":0,"offset":0}}`, "", false}, // of the binary one
	} {
		if c.want == "" {
			c.want = `"k" false "\xff\x00\x01" false "a" "b" false`
		}
		answer := posted(t, server, "/topics/orders/messages", c.body)
		var a struct {
			Command   string
			Partition int32
			Offset    int64
			Others    []struct{ Tool, Command string }
		}
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			t.Fatal(err)
		}
		more, stdin, command := 2, "", a.Command
		if left, right, piped := strings.Cut(a.Command, " | weir"); piped { // as a shell would run it
			stdin, command = s.must("", words(t, left)...), "weir"+right
		}
		s.must(stdin, words(t, command)...)
		kcat := slices.IndexFunc(a.Others, func(o struct{ Tool, Command string }) bool { return o.Tool == "kcat" })
		if (kcat >= 0) != c.kcat {
			t.Errorf("%.80s: other commands are %+v", c.body, a.Others)
		}
		if kcat >= 0 && os.Getenv("WEIR_TEST_KCAT") != "" {
			if out, err := exec.CommandContext(t.Context(), "bash", "-c", a.Others[kcat].Command).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", a.Others[kcat].Command, err, out)
			}
			more++
		}
		n += more
		found := 0
		for _, r := range s.stored("orders", n) {
			if r.Timestamp = time.UnixMilli(0); r.Partition == a.Partition && r.Offset >= a.Offset {
				if got := shape(r)[2:]; got != c.want {
					t.Errorf("%.80s: %s wrote %.200s, want %.200s", c.body, a.Command, got, c.want)
				}
				found++
			}
		}
		// A record without a key can be written to any partition.
		if found < more && !strings.Contains(c.body, `"key":null,"partition":null`) {
			t.Errorf("%.80s: %d records at %d:%d, want %d", c.body, found, a.Partition, a.Offset, more)
		}
	}
}

// TestGenerate: the API generates records of a template, and so does its command.
func TestGenerate(t *testing.T) {
	t.Parallel()
	s := newSending(t)
	server := s.server()
	answer := posted(t, server, "/topics/copy/messages", `{"key":"k{n}","value":"v{n}","headers":[["h","{n}"]],"partition":1,"count":3,"first":5,"rate":1000}`)
	if want := `"records":3,"landed":[{"partition":1,"records":3,"first":0,"last":2}]`; !strings.Contains(answer, want) {
		t.Errorf("the answer has no %s: %s", want, answer)
	}
	var generated struct{ Command string }
	if err := json.Unmarshal([]byte(answer), &generated); err != nil {
		t.Fatal(err)
	}
	s.must("", words(t, generated.Command)...)
	var got []string
	for _, r := range s.stored("copy", 6) {
		got = append(got, fmt.Sprintf("%s=%s %s", r.Key, r.Value, r.Headers[0].Value))
	}
	if want := []string{"k5=v5 5", "k6=v6 6", "k7=v7 7", "k1=v1 1", "k2=v2 2", "k3=v3 3"}; !slices.Equal(got, want) {
		t.Errorf("generated %q, want %q", got, want)
	}
	for body, want := range map[string]string{
		`{"value":"x","rate":1}`: "give count, too", `{"value":"x","count":100001}`: "give 1 to 100000", `{"value":"x","count":100,"rate":1}`: "longer than 20s",
		`{"value":"{typo}","count":1}`: "{typo} is unknown", `{"value":"x","headers":[[null,"b"]]}`: "no name", `{"value":"x","partition":-1}`: "from 0",
		`{"again":{"partition":0,"offset":-1}}`: "from 0", `{"again":{"partition":0,"offset":0},"value":"x"}`: "leave out", `{"value_base64":"?"}`: "not base64",
	} {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/api/v1/topics/copy/messages", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	s.stored("copy", 6) // nothing more
}

// posted is the answer of a change.
func posted(t *testing.T, server http.Handler, path, body string) string {
	t.Helper()
	w := httptest.NewRecorder()
	server.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/api/v1"+path, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %.100s: %d %s", path, body, w.Code, w.Body)
	}
	return w.Body.String()
}

// words splits a command as a shell does, without the program's name.
func words(t *testing.T, command string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", `weir() { printf '%s\0' "$@"; }; `+command).Output()
	if err != nil {
		t.Fatalf("a shell cannot read %s: %v", command, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

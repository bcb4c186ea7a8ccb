package learn

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	stream  = "bluesky-events"
	counter = "weir-bluesky-counter"
	orders  = "orders"
)

// bench is a cluster, as a learner's own program sees it, and the stations beside it.
type bench struct {
	*testing.T
	addrs []string
	cl    *kgo.Client // writes to the partitions that records name
	admin *kadm.Client
	insp  *inspect.Inspector
	cfg   Config
	*Course
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(2, stream))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := &bench{T: t, addrs: cluster.ListenAddrs()}
	b.cl = b.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	b.admin = kadm.NewClient(b.cl)
	if b.insp, err = inspect.New(inspect.Config{Client: b.cl, Reserved: []string{stream}}); err != nil {
		t.Fatal(err)
	}
	b.cfg = Config{Inspector: b.insp, Own: "test", Path: filepath.Join(t.TempDir(), "learn.json"),
		Streams: []watch.StreamConfig{{Name: "bluesky", Topic: stream, Group: counter}}}
	if change != nil {
		change(&b.cfg)
	}
	b.restart()
	return b
}

// restart opens the stations again, as the next start of weir does.
func (b *bench) restart() {
	b.Helper()
	var err error
	if b.Course, err = New(b.cfg); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) client(opts ...kgo.Opt) *kgo.Client {
	b.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.addrs...), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.Close)
	return cl
}

func (b *bench) create(topic string, partitions int32) {
	b.Helper()
	if _, err := b.admin.CreateTopic(b.Context(), partitions, 3, nil, topic); err != nil {
		b.Fatal(err)
	}
}

// write writes n records to a partition; an empty key is none.
func (b *bench) write(topic string, partition int32, key string, n int) {
	b.Helper()
	for i := range n {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: strconv.AppendInt(nil, int64(i+1), 10)}
		if key != "" {
			r.Key = []byte(key)
		}
		if err := b.cl.ProduceSync(b.Context(), r).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}
}

// member is a consumer in a group, with its own client.
func (b *bench) member(group, topic string) *kgo.Client {
	return b.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(20*time.Millisecond), kgo.FetchMaxWait(20*time.Millisecond))
}

const patience = time.Minute

// read reads n records as a member of a group. It does not commit.
func (b *bench) read(cl *kgo.Client, n int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for n > 0 {
		got := cl.PollFetches(ctx)
		if err := got.Err(); err != nil {
			b.Fatal(err)
		}
		n -= got.NumRecords()
	}
}

func (b *bench) commit(cl *kgo.Client) {
	b.Helper()
	if err := cl.CommitUncommittedOffsets(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// open checks that a station is not done, and that its reason has the words.
func (b *bench) open(station string, words ...string) {
	b.Helper()
	got, err := b.Check(b.Context(), station)
	if err != nil {
		b.Fatal(err)
	}
	if got.Done || got.Reason == "" {
		b.Fatalf("station %s is done: %+v", station, got)
	}
	for _, w := range words {
		if !strings.Contains(got.Reason, w) {
			b.Fatalf("station %s: the reason %q does not say %q", station, got.Reason, w)
		}
	}
}

// done checks that a station is done, that weir says what it saw, and that the next start knows it.
func (b *bench) done(station string, seen ...string) {
	b.Helper()
	got, err := b.Check(b.Context(), station)
	if err != nil {
		b.Fatal(err)
	}
	if !got.Done || got.Reason != "" {
		b.Fatalf("station %s is not done: %+v", station, got)
	}
	b.restart()
	d, err := b.Get(b.Context(), station)
	if err != nil {
		b.Fatal(err)
	}
	if !d.Done || d.DoneAt == 0 || !d.Check.Done {
		b.Fatalf("station %s is not done after a restart: %+v", station, d.Summary)
	}
	for _, w := range seen {
		if !strings.Contains(strings.Join(d.Check.Seen, "; "), w) {
			b.Fatalf("station %s: %q does not say %q", station, d.Check.Seen, w)
		}
	}
}

// until waits until ok, with a limit for what hangs.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			b.Fatalf("%s: not within %s", what, patience)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *bench) get(station string) Detail {
	b.Helper()
	d, err := b.Get(b.Context(), station)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// answer answers a question, and checks the verdict and that the explanation has the words.
func (b *bench) answer(station, answer string, right bool, words ...string) {
	b.Helper()
	got, err := b.Answer(b.Context(), station, answer)
	if err != nil {
		b.Fatal(err)
	}
	text := fmt.Sprint(got.Explanation)
	if got.Right != right {
		b.Fatalf("station %s: %q is judged right=%v; the answer is %q: %s", station, answer, got.Right, got.Answer, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			b.Fatalf("station %s: the explanation %q does not say %q", station, text, w)
		}
	}
	if d := b.get(station); !d.Answered || d.Question.Given != answer || d.Question.Right == nil || *d.Question.Right != right {
		b.Fatalf("station %s: the answer is not kept: %+v", station, d.Question)
	}
}

package send_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/send"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a cluster to write to.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	cl      *kgo.Client
}

const (
	topic     = "tape"      // three partitions, records of 2,000 bytes
	compacted = "compacted" // one partition
)

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := &bench{t: t, cluster: cluster}
	b.cl = b.client()
	admin := kadm.NewClient(b.cl)
	for name, config := range map[string]map[string]*string{
		topic: {"max.message.bytes": new("2000")}, compacted: {"cleanup.policy": new("compact")},
	} {
		partitions := map[string]int32{topic: 3, compacted: 1}[name]
		if _, err := admin.CreateTopic(t.Context(), partitions, 3, config, name); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.cluster.ListenAddrs()...))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

// writer returns a writer to a topic, with a list of what it reports.
func (b *bench) writer(name string, o send.Options) (*send.Writer, *[]string) {
	b.t.Helper()
	found, err := send.LookUp(b.t.Context(), b.cl, name)
	if err != nil {
		b.t.Fatal(err)
	}
	var reported []string
	return &send.Writer{Client: b.client(o.Client(found)...), Topic: found, Options: o, Written: func(n int64, r *kgo.Record) error {
		reported = append(reported, fmt.Sprintf("%d %s %d:%d", n, r.Value, r.Partition, r.Offset))
		return nil
	}}, &reported
}

// until waits until a topic has n records, or more.
func (b *bench) until(name string, n int64) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); ; {
		ends, err := kadm.NewClient(b.cl).ListEndOffsets(b.t.Context(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		has := int64(0)
		ends.Each(func(o kadm.ListedOffset) { has += o.Offset })
		if has >= n {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatalf("%s has %d records, want %d", name, has, n)
		}
	}
}

// stored reads a topic to its end, as a consumer of committed records: VALUE PARTITION:OFFSET.
func (b *bench) stored(name string) (list []string, records []*kgo.Record) {
	b.t.Helper()
	ends, err := kadm.NewClient(b.cl).ListCommittedOffsets(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl := b.client(kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords())
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(b.t.Context())
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				list, records = append(list, fmt.Sprintf("%s %d:%d", r.Value, r.Partition, r.Offset)), append(records, r)
			}
		})
	}
	return list, records
}

// lines is an input of lines whose text is the value; a key stands before a colon.
func lines(text string, partition int32) send.Input {
	how := send.Text{Partition: partition}
	if strings.Contains(text, ":") {
		how.Separator = []byte(":")
	}
	return send.NewLines(strings.NewReader(text), func(line []byte, r *kgo.Record) (bool, error) { return false, how.Record(line, r) })
}

// next reads an input to its end: the first number and the values of each record.
func next(ctx context.Context, in send.Input) (values []string, err error) {
	for {
		b, err := in.Next(ctx)
		if err != nil {
			return values, err
		}
		for i := range b.Records {
			values = append(values, fmt.Sprintf("%d %s=%s", b.First+int64(i), b.Records[i].Key, b.Records[i].Value))
		}
	}
}

package inspect_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a cluster to look into.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	cfg     kafka.Config
	cl      *kgo.Client
	admin   *kadm.Client
	*inspect.Inspector
}

const (
	topic = "tape"
	parts = 3
)

func newBench(t *testing.T) *bench {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(parts, topic), kfake.SeedTopics(1, "other"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := &bench{t: t, cluster: cluster, cfg: kafka.Config{Brokers: cluster.ListenAddrs()}}
	b.cl = b.client()
	b.admin = kadm.NewClient(b.cl)
	b.Inspector, err = inspect.New(inspect.Config{Client: b.cl})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := b.cfg.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

func (b *bench) store() *tally.Store {
	b.t.Helper()
	store, err := tally.Open(b.t.Context(), "redis://"+miniredis.RunT(b.t).Addr()+"/1")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = store.Close() })
	return store
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a record whose value is its time in ms after the epoch, and its place.
func at(partition int32, ms int) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "k%d", ms%3),
		Value: strconv.AppendInt(nil, int64(ms), 10), Timestamp: epoch.Add(time.Duration(ms) * time.Millisecond)}
}

func (b *bench) write(records ...*kgo.Record) {
	b.t.Helper()
	if err := b.cl.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Error(err) // not Fatal: goroutines write, too
	}
}

// transaction writes records and commits or aborts them.
func (b *bench) transaction(commit bool, records ...*kgo.Record) {
	b.t.Helper()
	cl := b.client(kgo.TransactionalID("test"))
	err := cl.BeginTransaction()
	if err == nil {
		err = cl.ProduceSync(b.t.Context(), records...).FirstErr()
	}
	if err == nil {
		err = cl.EndTransaction(b.t.Context(), kgo.TransactionEndTry(commit))
	}
	if err != nil {
		b.t.Error(err)
	}
}

// read collects the values of a query.
func (b *bench) read(q inspect.Query) ([]string, inspect.Progress) {
	b.t.Helper()
	if q.Topic == "" {
		q.Topic = topic
	}
	var got []string
	p, err := b.Read(b.t.Context(), q, func(m inspect.Message) error {
		got = append(got, string(m.Value))
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return got, p
}

func (b *bench) trim(partition int32, before int64) {
	b.t.Helper()
	o := kadm.Offsets{}
	o.AddOffset(topic, partition, before, -1)
	resp, err := b.admin.DeleteRecords(b.t.Context(), o)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) commit(group string, partition int32, offset int64) {
	b.t.Helper()
	o := kadm.Offsets{}
	o.AddOffset(topic, partition, offset, -1)
	if err := b.admin.CommitAllOffsets(b.t.Context(), group, o); err != nil {
		b.t.Fatal(err)
	}
}

// join makes a member of a group and returns it once it has partitions.
func (b *bench) join(ctx context.Context, group string, opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	assigned := make(chan struct{}, 10)
	cl := b.client(append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got) > 0 {
				assigned <- struct{}{}
			}
		}))...)
	select {
	case <-assigned:
	case <-ctx.Done():
		b.t.Fatal("no partitions assigned")
	}
	return cl
}

func big(n int) []byte { return bytes.Repeat([]byte("x"), n) }

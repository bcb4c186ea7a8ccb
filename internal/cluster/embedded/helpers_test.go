package embedded

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func testCtx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	return tuned(t, config{Config: cfg})
}

// tuned opens a cluster with what only tests set.
func tuned(t *testing.T, cfg config) *Cluster {
	t.Helper()
	c, err := newCluster(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// networks are the virtual networks of clusters in bubbles of testing/synctest, by address.
var (
	networks    sync.Map
	networkPort atomic.Int32
)

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n, ok := networks.Load(addr); ok {
		return n.(*kfake.VirtualNetwork).DialContext(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// virtual is tuned on a virtual network, for tests in a bubble.
func virtual(t *testing.T, cfg config) *Cluster {
	t.Helper()
	network := new(kfake.VirtualNetwork)
	cfg.listen = network.Listen
	cfg.Addrs = nil
	for range Size {
		addr := fmt.Sprint("127.0.0.1:", networkPort.Add(1))
		networks.Store(addr, network)
		t.Cleanup(func() { networks.Delete(addr) })
		cfg.Addrs = append(cfg.Addrs, addr)
	}
	return tuned(t, cfg)
}

// logOf lists the log of a data directory.
func logOf(t *testing.T, dir string) []partitionFiles {
	t.Helper()
	log, err := scanLog(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func client(t *testing.T, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addrs...),
		kgo.Dialer(dial),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.WithDecompressor(decompressor),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, addrs []string, topic string, partitions int32, configs map[string]*string) {
	t.Helper()
	adm := kadm.NewClient(client(t, addrs))
	r, err := adm.CreateTopic(testCtx(t), partitions, -1, configs, topic)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

// produce writes values to a partition and waits for the acknowledgement of each.
func produce(t *testing.T, cl *kgo.Client, topic string, part int32, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Partition: part, Value: []byte(v)}
		if err := cl.ProduceSync(testCtx(t), r).FirstErr(); err != nil {
			t.Fatalf("produce %q: %v", v, err)
		}
	}
}

func manual() kgo.Opt { return kgo.RecordPartitioner(kgo.ManualPartitioner()) }

// consume reads a partition from its start to its end as a read_committed
// consumer does, and returns the values.
func consume(t *testing.T, addrs []string, topic string, part int32) []string {
	t.Helper()
	ctx := testCtx(t)
	adm := kadm.NewClient(client(t, addrs))
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil || ends.Error() != nil {
		t.Fatal(err, ends.Error())
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil || starts.Error() != nil {
		t.Fatal(err, starts.Error())
	}
	e, _ := ends.Lookup(topic, part)
	s, _ := starts.Lookup(topic, part)
	cl := client(t, addrs, kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {part: kgo.NewOffset().At(s.Offset)}}))
	defer cl.Close()
	var values []string
	// Aborted records at the end are not delivered, but the marker behind them is.
	for next := s.Offset; next < e.Offset; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatalf("consume %s/%d at %d of %d: %v", topic, part, next, e.Offset, err)
		}
		fs.EachError(func(topic string, p int32, err error) { t.Fatalf("consume %s/%d: %v", topic, p, err) })
		fs.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
	return values
}

// lines collects what Progress said.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

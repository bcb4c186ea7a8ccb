package count

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they mostly wait; -parallel overrides it
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

const (
	topic = "events"
	group = "counter"
	parts = 4
)

// rig is a cluster, a Redis and a producer. What is expected is kept by the rig
// itself as it produces.
type rig struct {
	t       testing.TB
	cluster *kfake.Cluster
	txn     *kgo.Client // transactional
	adm     *kadm.Client
	redis   *redisd.Server
	raw     *redis.Client
	gate    *gate
	serial  int

	mu   sync.Mutex
	want map[string]int64
}

func newRig(t testing.TB) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(parts, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	srv, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	r := &rig{t: t, cluster: cluster, redis: srv, want: map[string]int64{}, gate: newGate()}
	r.raw = redis.NewClient(&redis.Options{Addr: srv.Addr(), DB: 1, Protocol: 2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = r.raw.Close() })
	r.connect()
	return r
}

// connect makes the producer.
func (r *rig) connect() {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.TransactionalID("producer"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(100<<20), kgo.BrokerMaxWriteBytes(200<<20))
	if err != nil {
		r.t.Fatal(err)
	}
	r.txn, r.adm = cl, kadm.NewClient(cl)
	r.t.Cleanup(cl.Close)
}

// kindOf is what record i is counted as.
func kindOf(i int) string { return []string{"create", "delete", "update", "create"}[i%4] }

// produce writes n records over all partitions in one transaction.
// store opens the counts until the test ends.
func (r *rig) store() *tally.Store {
	r.t.Helper()
	store, err := tally.Open(ctx, r.redis.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = store.Close() })
	return store
}

func (r *rig) produce(n int) { r.transaction(n, true) }

func (r *rig) transaction(n int, commit bool) {
	r.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Partition: int32(r.serial % parts), Value: []byte(`{}`),
			Headers: []kgo.RecordHeader{{Key: "seq", Value: []byte("1")}, {Key: "kind", Value: []byte(kindOf(r.serial))}}}
		if commit {
			r.mu.Lock()
			r.want[kindOf(r.serial)]++
			r.mu.Unlock()
		}
		r.serial++
	}
	r.write(commit, recs...)
}

// write produces records in one transaction.
func (r *rig) write(commit bool, recs ...*kgo.Record) {
	r.t.Helper()
	if err := r.txn.BeginTransaction(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.txn.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.txn.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		r.t.Fatal(err)
	}
}

// member is a running Counter.
type running struct {
	*Counter
	stop func()
	log  *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a Counter. through is the address of Redis; empty is the rig's own.
func (r *rig) start(through string, opts ...kgo.Opt) *running {
	r.t.Helper()
	if through == "" {
		through = r.redis.Addr()
	}
	store, err := tally.Open(ctx, "redis://"+through+"/1")
	if err != nil {
		r.t.Fatal(err)
	}
	log := &logBuffer{}
	c, err := New(Config{
		Kafka: kafka.Config{Brokers: r.cluster.ListenAddrs(), Opts: append([]kgo.Opt{kgo.Dialer(r.gate.dial)}, opts...)},
		Store: store, Topic: topic, Group: group, Classify: classify, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	c.pace = quick
	rctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(rctx) }()
	var once sync.Once
	m := &running{Counter: c, log: log}
	m.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Errorf("run: %v", err)
			}
			_ = store.Close()
			if r.t.Failed() {
				r.t.Logf("log of a counter:\n%s", log)
			}
		})
	}
	r.t.Cleanup(m.stop)
	return m
}

// classify knows {"op":...} only.
func classify(v []byte) string {
	s := string(v)
	if s, ok := strings.CutPrefix(s, `{"op":"`); ok {
		if s, ok := strings.CutSuffix(s, `"}`); ok {
			return s
		}
	}
	return event.MalformedKind
}

// stored reads the counts from Redis, without the package under test.
func (r *rig) stored() map[string]int64 {
	out := map[string]int64{}
	for p := range parts {
		h, err := r.raw.HGetAll(ctx, fmt.Sprintf("weir:tally:%s:%s:%d", group, topic, p)).Result()
		if err != nil {
			return map[string]int64{"error: " + err.Error(): 1}
		}
		for f, v := range h {
			if k, ok := strings.CutPrefix(f, "k:"); ok {
				var n int64
				_, _ = fmt.Sscan(v, &n)
				out[k] += n
			}
		}
	}
	return out
}

// quick is the pace of tests.
var quick = pace{check: 150 * time.Millisecond, commit: 50 * time.Millisecond, answer: time.Second}

const patience = time.Minute

// eventually waits until a condition holds.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s; stored %v, want %v", what, r.stored(), r.want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (r *rig) counted(what string) {
	r.t.Helper()
	r.eventually(what, func() bool { return maps.Equal(r.stored(), r.want) })
}

// settled checks that the counts are right and stay so.
func (r *rig) settled(m *running) {
	r.t.Helper()
	r.eventually("no lag", func() bool { s := m.Stats(); return s.Lag == 0 && len(s.Partitions) > 0 })
	<-time.After(3 * quick.check)
	if got := r.stored(); !maps.Equal(got, r.want) {
		r.t.Fatalf("counted %v, want %v", got, r.want)
	}
}

// gate lets connections through, or cuts them.
type gate struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

func newGate() *gate { return &gate{conns: map[net.Conn]struct{}{}} }

var errShut = errors.New("the gate is shut")

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut {
		return nil, errShut
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		g.mu.Lock()
		g.conns[c] = struct{}{}
		g.mu.Unlock()
	}
	return c, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for c := range g.conns {
			_ = c.Close()
		}
		clear(g.conns)
	}
}

// relay forwards to Redis, and can hold requests back or lose replies.
type relay struct {
	l        net.Listener
	target   string
	held     atomic.Bool
	lose     atomic.Int32 // how many replies to lose, with their connection
	lost     atomic.Int32
	stuck    atomic.Int32
	released chan struct{}
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	wg       sync.WaitGroup
}

func newRelay(t testing.TB, target string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &relay{l: l, target: target, conns: map[net.Conn]struct{}{}, released: make(chan struct{})}
	y.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			y.wg.Go(func() { y.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		y.hold(false)
		y.mu.Lock()
		for c := range y.conns {
			_ = c.Close()
		}
		y.mu.Unlock()
		y.wg.Wait()
	})
	return y
}

func (y *relay) addr() string { return y.l.Addr().String() }

func (y *relay) waiting() int { return int(y.stuck.Load()) }

func (y *relay) hold(on bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if was := y.held.Swap(on); was && !on {
		close(y.released)
		y.released = make(chan struct{})
	}
}

func (y *relay) serve(c net.Conn) {
	s, err := net.Dial("tcp", y.target)
	if err != nil {
		_ = c.Close()
		return
	}
	y.mu.Lock()
	y.conns[c], y.conns[s] = struct{}{}, struct{}{}
	y.mu.Unlock()
	y.wg.Go(func() { // replies
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			if err != nil {
				break
			}
			if y.lose.Load() > 0 && strings.Contains(string(buf[:n]), "applied") {
				y.lose.Add(-1)
				y.lost.Add(1)
				break
			}
			if _, err := c.Write(buf[:n]); err != nil {
				break
			}
		}
		_ = c.Close()
		_ = s.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		if y.held.Load() {
			y.mu.Lock()
			released := y.released
			y.mu.Unlock()
			y.stuck.Add(1)
			<-released
			y.stuck.Add(-1)
		}
		if _, err := s.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = s.Close()
	_ = c.Close()
}

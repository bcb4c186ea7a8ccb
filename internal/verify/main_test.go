package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	dataTopic = "bluesky-events"
	dataParts = 3
	group     = "weir-bluesky-counter"
)

// house is a cluster, a Redis and an ingester that does as it is told, right or
// wrong. It shares nothing with what verify checks but the formats.
type house struct {
	t     *testing.T
	cfg   kafka.Config
	admin *kadm.Client
	store *tally.Store
	redis *miniredis.Miniredis

	producer *kgo.Client
	mu       sync.Mutex
	seqs     map[string]int64
	counts   map[string]map[string]int64
	gaps     int64
	events   int64 // number of the next event, of which everything else follows
	written  []*kgo.Record
}

func newHouse(t *testing.T) *house {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(dataParts, dataTopic), kfake.SeedTopics(2, "bluesky-accounts", "weir.dead-letters", "weir.cursors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return newHouseOn(t, cluster.ListenAddrs())
}

// newHouseOn is newHouse on brokers that have the topics.
func newHouseOn(t *testing.T, brokers []string) *house {
	t.Helper()
	redis := miniredis.RunT(t)
	store, err := tally.Open(t.Context(), "redis://"+redis.Addr()+"/1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h := &house{t: t, cfg: kafka.Config{Brokers: brokers}, store: store, redis: redis,
		seqs: map[string]int64{}, counts: map[string]map[string]int64{}}
	h.producer = h.client(kgo.TransactionalID("weir-ingest-bluesky"))
	h.admin = kadm.NewClient(h.producer)
	redis.Select(1)
	return h
}

func (h *house) client(opts ...kgo.Opt) *kgo.Client {
	h.t.Helper()
	cl, err := h.cfg.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(cl.Close)
	return cl
}

// item is one record to write. The zero value is an event of the data topic.
type item struct {
	topic     string // default dataTopic
	partition int32
	kind      string // default create
	header    string // the kind that the header says, default kind
	id        int64  // identity, default a new one
	at        time.Time
	seq       *int64 // instead of the next number
	lost      bool   // numbered and counted, not written
	silent    bool   // written, neither numbered nor counted by the cursor
	foreign   bool   // without any header
	source    string // of dead letters
}

func num(n int64) *int64 { return &n }

type value struct {
	ID     int64  `json:"id"`
	Kind   string `json:"kind"`
	TimeUS int64  `json:"time_us"`
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func classify(b []byte) string {
	var v value
	if json.Unmarshal(b, &v) != nil || v.Kind == "" {
		return event.MalformedKind
	}
	return v.Kind
}

func examine(batch *event.Batch, b []byte) (kind string, id []byte) {
	var v value
	if json.Unmarshal(b, &v) == nil {
		id = batch.CopyString(strconv.FormatInt(v.ID, 10))
	}
	return classify(b), id
}

// commit writes items and the cursor in one transaction.
func (h *house) commit(items ...item) {
	h.t.Helper()
	if err := h.transaction(h.t.Context(), true, true, items...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) transaction(ctx context.Context, cursor, commit bool, items ...item) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.producer.BeginTransaction(); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, it := range items {
		if r := h.record(it); r != nil {
			records = append(records, r)
		}
	}
	if cursor {
		rec := kafka.CursorRecord{Version: 1, Source: "bluesky", Seqs: h.seqs, Counts: h.counts, Gaps: h.gaps}
		v, err := rec.Encode()
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Topic: "weir.cursors", Key: []byte("bluesky"), Value: v})
	}
	if err := h.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	if commit {
		h.written = append(h.written, records...)
	}
	return h.producer.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}

// record makes the record of an item; nil if it is not to be written.
func (h *house) record(it item) *kgo.Record {
	if it.topic == "" {
		it.topic = dataTopic
	}
	if it.kind == "" {
		it.kind = "create"
	}
	if it.header == "" {
		it.header = it.kind
	}
	if it.id == 0 {
		h.events++
		it.id = h.events
	}
	if it.at.IsZero() {
		it.at = epoch.Add(time.Duration(h.events) * time.Millisecond)
	}
	seq := h.seqs[it.topic]
	if it.seq != nil {
		seq = *it.seq
	}
	if !it.silent && !it.foreign {
		h.seqs[it.topic]++
		if h.counts[it.topic] == nil {
			h.counts[it.topic] = map[string]int64{}
		}
		h.counts[it.topic][it.kind]++
	}
	if it.lost {
		return nil
	}
	v, err := json.Marshal(value{it.id, it.kind, it.at.UnixMicro()})
	if err != nil {
		h.t.Error(err)
	}
	r := &kgo.Record{Topic: it.topic, Partition: it.partition, Value: v, Timestamp: it.at}
	if !it.foreign {
		r.Headers = []kgo.RecordHeader{{Key: "kind", Value: []byte(it.header)}, {Key: "seq", Value: strconv.AppendInt(nil, seq, 10)}, {Key: "host", Value: []byte("h:1")}}
	}
	if it.topic == "weir.dead-letters" {
		source := it.source
		if source == "" {
			source = "bluesky"
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "source", Value: []byte(source)})
	}
	return r
}

// fill writes n events over all partitions and kinds, a few in each transaction.
func (h *house) fill(n int) {
	h.t.Helper()
	kinds := []string{"create", "create", "create", "update", "delete"}
	var items []item
	for i := range n {
		items = append(items, item{partition: int32(i % dataParts), kind: kinds[i%len(kinds)]})
		if len(items) == 7 || i == n-1 {
			h.commit(items...)
			items = nil
		}
	}
}

// count makes tallies of everything that was written so far.
func (h *house) count() {
	h.t.Helper()
	type stand struct {
		next   int64
		counts map[string]int64
	}
	parts := map[int32]*stand{}
	for _, r := range h.written {
		if r.Topic != dataTopic {
			continue
		}
		p := parts[r.Partition]
		if p == nil {
			p = &stand{counts: map[string]int64{}}
			parts[r.Partition] = p
		}
		kind := classify(r.Value)
		for _, header := range r.Headers {
			if header.Key == "kind" {
				kind = string(header.Value)
			}
		}
		p.counts[kind]++
		p.next = max(p.next, r.Offset+1)
	}
	id := h.topicID(dataTopic)
	for n, p := range parts {
		h.tally(group, n, id, 0, p.next, p.counts)
	}
}

func (h *house) tally(group string, partition int32, id string, from, next int64, counts map[string]int64) {
	h.t.Helper()
	if err := h.store.Reset(h.t.Context(), group, dataTopic, partition, id, from); err != nil {
		h.t.Fatal(err)
	}
	if next == from {
		return
	}
	results, err := h.store.Apply(h.t.Context(), []tally.Batch{{Group: group, Topic: dataTopic, Partition: partition, TopicID: id, From: from, Next: next, Counts: maps.Clone(counts)}})
	if err != nil {
		h.t.Fatal(err)
	}
	if results[0].Err != nil {
		h.t.Fatal(results[0].Err)
	}
}

func (h *house) topicID(topic string) string {
	h.t.Helper()
	meta, err := h.admin.Metadata(h.t.Context(), topic)
	if err != nil {
		h.t.Fatal(err)
	}
	id := meta.Topics[topic].ID
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// key is the tally's key as the convention names it.
func key(partition int32) string {
	return fmt.Sprintf("weir:tally:%s:%s:%d", group, dataTopic, partition)
}

func (h *house) config() verify.Config {
	return verify.Config{
		Kafka: h.cfg, Tallies: h.store, Patience: 10 * time.Second,
		Sources: []verify.Source{{Name: "bluesky", Topics: []verify.Topic{
			{Name: dataTopic, Group: group, Classify: classify, NewExamine: func() verify.Examine { return examine }},
			{Name: "bluesky-accounts", Classify: classify, NewExamine: func() verify.Examine { return examine }},
		}}},
	}
}

func (h *house) verify() verify.SourceReport {
	h.t.Helper()
	return h.run(h.config()).Sources[0]
}

func (h *house) run(cfg verify.Config) verify.Report {
	h.t.Helper()
	report, err := verify.Run(h.t.Context(), cfg, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return report
}

// trim deletes the records of a partition before an offset.
func (h *house) trim(topic string, partition int32, before int64) {
	h.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, before, -1)
	resp, err := h.admin.DeleteRecords(h.t.Context(), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

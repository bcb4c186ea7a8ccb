package conformance

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/weir-project/weir/internal/cluster"
)

// patience bounds every wait: what is waited for takes milliseconds on a quiet
// machine, and a loaded one is no reason to fail.
const patience = 2 * time.Minute

// differs reports whether the engine is the one that behaves as the named entry
// of cluster.Differences says; on Apache Kafka, Kafka's own behaviour is asserted.
func differs(t *testing.T, id string) bool {
	t.Helper()
	if _, ok := cluster.DifferenceOf(id); !ok {
		t.Fatalf("cluster.Differences has no %q", id)
	}
	return kafka.Name() == cluster.Embedded
}

func testCtx(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok returns "", and fails with what it returned last.
func eventually(t *testing.T, ok func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := testCtx(t); ; {
		why := ok()
		if why == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %v: %s", patience, why)
		}
	}
}

// client returns a client that does not wait where it does not have to.
func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := newClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(kafka.Addrs()...),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)...)
}

// Clients for what every test asks.
var (
	plain *kgo.Client  // with the newest versions
	adm   *kadm.Client // on plain
	raw   *kgo.Client  // whose requests name topics instead of their ids
	old   *kgo.Client  // from before the second version of transactions
)

// rawVersions are those with which requests can be written as tests want them.
func rawVersions() *kversion.Versions {
	named := kversion.Tip() // which leaves out what is behind a feature of the cluster
	named.SetMaxKeyVersion(int16(kmsg.EndTxn), 5)
	named.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5)
	named.SetMaxKeyVersion(int16(kmsg.Produce), 12)
	named.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	named.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	named.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	return named
}

func openClients() (err error) {
	for _, c := range []struct {
		to      **kgo.Client
		version *kversion.Versions
	}{{&plain, nil}, {&raw, rawVersions()}, {&old, kversion.V3_6_0()}} {
		if *c.to, err = newClient(kgo.MaxVersions(c.version)); err != nil {
			return err
		}
	}
	adm = kadm.NewClient(plain)
	return nil
}

func closeClients() {
	for _, c := range []*kgo.Client{plain, raw, old} {
		if c != nil {
			c.Close()
		}
	}
}

// reopenClients is for tests that run alone.
func reopenClients(t *testing.T) {
	t.Helper()
	closeClients()
	if err := openClients(); err != nil {
		t.Fatal(err)
	}
}

// poll keeps a consumer polling until the test ends.
func poll(t *testing.T, cl *kgo.Client) {
	t.Helper()
	ctx := t.Context() // ends before the cleanup that closes the client
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cl.PollFetches(ctx)
		}
	}()
	t.Cleanup(func() { <-done })
}

var names atomic.Int64

// name returns a name that no other test uses.
func name(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()), names.Add(1))
}

// topic creates a topic of three replicas with configs (name, value, name, ...)
// and returns once every broker knows it.
func topic(t *testing.T, partitions int32, configs ...string) string {
	t.Helper()
	set := make(map[string]*string)
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	n := name(t)
	if _, err := adm.CreateTopic(testCtx(t), partitions, 3, set, n); err != nil {
		t.Fatalf("create topic: %v", err)
	}
	known(t, n, int(partitions))
	return n
}

// known waits until the leaders of a topic's partitions answer for them and every
// broker tells of them. -1 is the number of partitions that topics have by default.
func known(t *testing.T, topic string, partitions int) {
	t.Helper()
	eventually(t, func() string {
		ends, err := adm.ListEndOffsets(testCtx(t), topic)
		want := partitions
		if want == -1 {
			want = max(1, len(ends[topic])) // of which the brokers may not tell yet
		}
		if err = errors.Join(err, ends.Error()); err != nil || len(ends[topic]) != want {
			return fmt.Sprintf("topic %s has %d partitions, want %d (%v)", topic, len(ends[topic]), want, err)
		}
		for _, b := range plain.DiscoveredBrokers() {
			req := kmsg.NewPtrMetadataRequest()
			rt := kmsg.NewMetadataRequestTopic()
			rt.Topic = &topic
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(testCtx(t), b)
			if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != want {
				return fmt.Sprintf("a broker does not know topic %s (%v)", topic, err)
			}
		}
		return ""
	})
}

// produce writes values to a partition, one batch for each, and waits for each.
func produce(t *testing.T, topic string, part int32, values ...string) {
	t.Helper()
	cl := client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, v := range values {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: topic, Partition: part, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatalf("produce %q: %v", v, err)
		}
	}
}

// leader returns the broker that leads a partition.
func leader(t *testing.T, topic string, part int32) int32 {
	t.Helper()
	return detail(t, topic, part).Leader
}

func detail(t *testing.T, topic string, part int32) kadm.PartitionDetail {
	t.Helper()
	list, err := adm.ListTopics(testCtx(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := list[topic].Partitions[part]
	if !ok {
		t.Fatalf("%s has no partition %d (%v)", topic, part, list[topic].Err)
	}
	return p
}

// offsets returns where a partition's log begins, and its high watermark.
func offsets(t *testing.T, topic string, part int32) (start, end int64) {
	t.Helper()
	archive(t)
	eventually(t, func() string { // a leader that has just moved does not know yet
		s, err := adm.ListStartOffsets(testCtx(t), topic)
		if err = errors.Join(err, s.Error()); err != nil {
			return err.Error()
		}
		e, err := adm.ListEndOffsets(testCtx(t), topic)
		if err = errors.Join(err, e.Error()); err != nil {
			return err.Error()
		}
		start, end = s[topic][part].Offset, e[topic][part].Offset
		return ""
	})
	return start, end
}

// stable returns a partition's last stable offset.
func stable(t *testing.T, topic string, part int32) int64 {
	t.Helper()
	e, err := adm.ListCommittedOffsets(testCtx(t), topic)
	if err = errors.Join(err, e.Error()); err != nil {
		t.Fatal(err)
	}
	return e[topic][part].Offset
}

// isolation is how a consumer reads.
type isolation int8

const (
	uncommitted isolation = 0
	committed   isolation = 1
)

// enforce lets embedded brokers archive now.
func enforce(t *testing.T) {
	t.Helper()
	if e, ok := kafka.(interface{ Enforce(context.Context) error }); ok {
		if err := e.Enforce(testCtx(t)); err != nil {
			t.Errorf("archive: %v", err)
		}
	}
}

// archive lets brokers archive before something is read, where they archive everything.
func archive(t *testing.T) {
	t.Helper()
	if archives() {
		enforce(t)
	}
}

// consume polls a consumer until it has so many records, or an error. A broker may answer with
// fewer records than there are.
func consume(t *testing.T, cl *kgo.Client, n int) (all []*kgo.Record, err error) {
	t.Helper()
	for ctx := testCtx(t); len(all) < n && err == nil; {
		fs := cl.PollFetches(ctx)
		all, err = append(all, fs.Records()...), fs.Err()
	}
	return all, err
}

// fetch asks a broker once for records of a partition.
func fetch(t *testing.T, broker int32, topic string, part int32, from int64, iso isolation, change ...func(*kmsg.FetchRequest)) kmsg.FetchResponseTopicPartition {
	t.Helper()
	archive(t)
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 0, 16<<20
	req.IsolationLevel, req.SessionEpoch = int8(iso), -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = part, from, 16<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for _, f := range change {
		f(req)
	}
	resp, err := req.RequestWith(testCtx(t), raw.Broker(int(broker)))
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("fetch answered %d with %d topics", resp.ErrorCode, len(resp.Topics))
	}
	return resp.Topics[0].Partitions[0]
}

// read returns what a consumer gets of a partition from its start to the high
// watermark or, with committed, to the last stable offset. Control records are left out.
func read(t *testing.T, topic string, part int32, iso isolation) []*kgo.Record {
	t.Helper()
	start, end := offsets(t, topic, part)
	if iso == committed {
		end = stable(t, topic, part)
	}
	opts := kgo.ProcessFetchPartitionOpts{Topic: topic, Partition: part}
	if iso == committed {
		opts.IsolationLevel = kgo.ReadCommitted()
	}
	var all []*kgo.Record
	lead := leader(t, topic, part)
	for next := start; next < end; {
		rp := fetch(t, lead, topic, part, next, iso)
		if rp.ErrorCode == kerr.OffsetOutOfRange.Code {
			return read(t, topic, part, iso) // the log was trimmed meanwhile
		}
		opts.Offset = next
		got, to := kgo.ProcessFetchPartition(opts, &rp, kgo.DefaultDecompressor(), nil)
		if got.Err != nil {
			t.Fatalf("read %s/%d at %d: %v", topic, part, next, got.Err)
		}
		if to <= next {
			t.Fatalf("read %s/%d: nothing at %d, before the end at %d", topic, part, next, end)
		}
		for _, r := range got.Records {
			if r.Offset < end {
				all = append(all, r)
			}
		}
		next = to
	}
	return all
}

// show writes records as offset=value.
func show(rs []*kgo.Record) string {
	var b []string
	for _, r := range rs {
		b = append(b, fmt.Sprintf("%d=%s", r.Offset, r.Value))
	}
	return strings.Join(b, " ")
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// code checks an error code of an answer; nil wants none.
func code(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	if want == nil {
		want = &kerr.Error{}
	}
	if got != want.Code {
		t.Fatalf("%s: got %v, want %v", what, kerr.ErrorForCode(got), kerr.ErrorForCode(want.Code))
	}
}

// failed checks the error of a client.
func failed(t *testing.T, what string, got error, want *kerr.Error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// answered checks the error of a client; nil wants none.
func answered(t *testing.T, what string, got error, want *kerr.Error) {
	t.Helper()
	if want != nil {
		failed(t, what, got, want)
	} else if got != nil {
		t.Fatalf("%s: got %v, want none", what, got)
	}
}

// settled repeats a request while the answer is that an earlier one is still
// being worked on, or that a broker has just taken over: clients do the same.
func settled(t *testing.T, ask func() int16) int16 {
	t.Helper()
	var c int16
	eventually(t, func() string {
		switch c = ask(); kerr.ErrorForCode(c) {
		case kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition:
			return fmt.Sprint("still ", kerr.ErrorForCode(c))
		}
		return ""
	})
	return c
}

// batch is a record batch as producers send it.
type batch struct {
	id            int64 // producer id; -1 is none
	epoch         int16
	sequence      int32
	transactional bool
	timestamp     time.Time
	values        []string
	key           string
}

func (b batch) bytes() []byte {
	if b.timestamp.IsZero() {
		b.timestamp = time.Now()
	}
	var records []byte
	for i, v := range b.values {
		r := kmsg.NewRecord()
		r.OffsetDelta = int32(i)
		r.Value = []byte(v)
		if b.key != "" {
			r.Key = []byte(b.key)
		}
		// The length of what follows is a varint of its own.
		body := r.AppendTo(nil)[1:]
		r.Length = int32(len(body))
		records = r.AppendTo(records)
	}
	rb := kmsg.NewRecordBatch()
	rb.PartitionLeaderEpoch, rb.Magic = -1, 2
	rb.LastOffsetDelta = int32(len(b.values) - 1)
	rb.FirstTimestamp, rb.MaxTimestamp = b.timestamp.UnixMilli(), b.timestamp.UnixMilli()
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = b.id, b.epoch, b.sequence
	rb.NumRecords, rb.Records = int32(len(b.values)), records
	if b.transactional {
		rb.Attributes |= 1 << 4
	}
	out := rb.AppendTo(nil)
	rb.Length = int32(len(out) - 12)
	out = rb.AppendTo(nil)
	rb.CRC = int32(crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return rb.AppendTo(nil)
}

func produceRequest(topic string, part int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 15000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = part, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// send asks a partition's leader once to store a batch.
func send(t *testing.T, topic string, part int32, records []byte, change ...func(*kmsg.ProduceRequest)) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	req := produceRequest(topic, part, records)
	for _, f := range change {
		f(req)
	}
	resp, err := req.RequestWith(testCtx(t), raw.Broker(int(leader(t, topic, part))))
	if err != nil {
		t.Fatalf("produce: %v", err)
	}
	return resp.Topics[0].Partitions[0]
}

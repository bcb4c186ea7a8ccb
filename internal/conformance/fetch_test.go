package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A batch larger than all limits of a fetch is delivered nonetheless, or the
// consumer would stand still for ever; the limits hold for what follows (KIP-74).
func TestFetchLimits(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	cl := client(t, kgo.DefaultProduceTopic(top), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 3 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: make([]byte, 100_000)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		max  int32
		want int // batches that are whole
	}{{1, 1}, {100_000, 1}, {250_000, 2}, {1 << 20, 3}} {
		f := fetch(t, leader(t, top, 0), top, 0, 0, uncommitted, func(r *kmsg.FetchRequest) {
			r.MaxBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = c.max, c.max
		})
		code(t, "fetch", f.ErrorCode, nil)
		got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: top}, &f, kgo.DefaultDecompressor(), nil)
		if archives() { // in batches that are compressed: these records are smaller than every limit but the first
			if len(got.Records) < 1 || len(f.RecordBatches) > int(max(c.max, 100_200)) {
				t.Errorf("%d records in %d bytes, within %d", len(got.Records), len(f.RecordBatches), c.max)
			}
			continue
		}
		equal(t, fmt.Sprintf("records within %d bytes", c.max), len(got.Records), c.want)
	}
}

// A fetch waits for fetch.min.bytes, at most fetch.max.wait.ms, and is answered
// when something comes (consumer config).
func TestFetchWaits(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	lead := leader(t, top, 0)
	quick := time.Now()
	f := fetch(t, lead, top, 0, 0, uncommitted, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1, 300 })
	code(t, "an empty fetch", f.ErrorCode, nil)
	if took := time.Since(quick); took < 300*time.Millisecond {
		t.Errorf("answered after %v with nothing, want after 300ms", took)
	}
	answered := make(chan kmsg.FetchResponseTopicPartition, 1)
	go func() {
		answered <- fetch(t, lead, top, 0, 0, uncommitted, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 1, int32(patience.Milliseconds()) })
	}()
	produce(t, top, 0, "a")
	if f := <-answered; len(f.RecordBatches) == 0 {
		t.Error("the fetch that waited brought nothing")
	}
}

// Brokers that do not lead a partition, and topics that there are not, are told so.
func TestFetchElsewhere(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	lead := leader(t, top, 0)
	for _, b := range brokers(t) {
		if b != lead {
			// A consumer may fetch from a follower that is in sync (KIP-392), at the offset
			// that it knows; but offsets are the leader's to list.
			req := kmsg.NewPtrListOffsetsRequest()
			req.ReplicaID = -1
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = top
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Timestamp = -1
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(testCtx(t), raw.Broker(int(b)))
			if err != nil {
				t.Fatal(err)
			}
			code(t, "list offsets of a follower", resp.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
		}
	}
	code(t, "fetch of an unknown topic", fetch(t, lead, name(t), 0, 0, uncommitted).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "fetch of an unknown partition", fetch(t, lead, top, 7, 0, uncommitted).ErrorCode, kerr.UnknownTopicOrPartition)
}

// Sessions: the second fetch names nothing again, and brings only partitions in
// which something is new (KIP-227).
func TestFetchSession(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a")
	lead := raw.Broker(int(leader(t, top, 0)))
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, 0
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = top
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes = 1 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	ask := func() *kmsg.FetchResponse {
		t.Helper()
		resp, err := req.RequestWith(testCtx(t), lead)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	first := ask()
	code(t, "full fetch", first.ErrorCode, nil)
	if first.SessionID == 0 || len(first.Topics) != 1 {
		t.Fatalf("session %d with %d topics", first.SessionID, len(first.Topics))
	}
	req.SessionID, req.SessionEpoch = first.SessionID, 1
	req.Topics[0].Partitions[0].FetchOffset = 1
	moved := ask()
	code(t, "fetch of the end", moved.ErrorCode, nil)
	req.Topics, req.SessionEpoch = nil, 2
	equal(t, "topics in which nothing is new", len(ask().Topics), 0)
	produce(t, top, 0, "b")
	req.SessionEpoch = 3
	news := ask()
	if len(news.Topics) != 1 || len(news.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("what is new was not delivered: %d topics", len(news.Topics))
	}
	req.SessionEpoch = 9
	code(t, "a wrong epoch of the session", ask().ErrorCode, kerr.InvalidFetchSessionEpoch)
	req.SessionID, req.SessionEpoch = first.SessionID+12345, 1
	code(t, "a session that there is not", ask().ErrorCode, kerr.FetchSessionIDNotFound)
}

// listed returns what ListOffsets says of a timestamp, or of one of its special values.
func listed(t *testing.T, topic string, at int64) (offset, timestamp int64) {
	t.Helper()
	archive(t)
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp = at
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(testCtx(t), raw.Broker(int(leader(t, topic, 0))))
	if err != nil {
		t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	code(t, "ListOffsets", p.ErrorCode, nil)
	return p.Offset, p.Timestamp
}

// Timestamps are the producer's unless the topic says otherwise. The offset for a
// time is that of the first record at or after it (KIP-32, KIP-33, KIP-79), and
// -3 asks for the record with the latest one (KIP-734).
func TestTimestamps(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	base := time.UnixMilli(time.Now().Add(-time.Minute).UnixMilli())
	cl := client(t, kgo.DefaultProduceTopic(top))
	for _, ms := range []int64{1000, 3000, 2000, 9000, 4000} {
		r := &kgo.Record{Value: []byte(fmt.Sprint(ms)), Timestamp: base.Add(time.Duration(ms) * time.Millisecond)}
		if err := cl.ProduceSync(testCtx(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range read(t, top, 0, uncommitted) {
		if want := fmt.Sprint(r.Timestamp.Sub(base).Milliseconds()); string(r.Value) != want {
			t.Errorf("record %d came back with the timestamp of %s ms", i, want)
		}
		equal(t, "timestamp type", r.Attrs.TimestampType(), 0)
	}
	for _, c := range []struct{ at, offset, timestamp int64 }{
		{0, 0, 1000}, {1000, 0, 1000}, {1001, 1, 3000}, {3000, 1, 3000}, {3001, 3, 9000}, {9000, 3, 9000},
	} {
		offset, timestamp := listed(t, top, base.UnixMilli()+c.at)
		equal(t, fmt.Sprintf("offset at %d ms", c.at), offset, c.offset)
		equal(t, fmt.Sprintf("timestamp at %d ms", c.at), timestamp-base.UnixMilli(), c.timestamp)
	}
	offset, _ := listed(t, top, base.UnixMilli()+9001)
	equal(t, "offset beyond all", offset, -1)
	offset, timestamp := listed(t, top, -3)
	equal(t, "offset of the latest", offset, 3)
	equal(t, "timestamp of the latest", timestamp-base.UnixMilli(), 9000)
	first, _ := listed(t, top, -2)
	last, _ := listed(t, top, -1)
	equal(t, "first offset", first, 0)
	equal(t, "end offset", last, 5)
}

// With LogAppendTime the broker's clock counts, and the answer tells it (topic
// config message.timestamp.type).
func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now()
	resp := send(t, top, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{"a"}, timestamp: before.Add(-40 * time.Minute)}.bytes())
	code(t, "produce", resp.ErrorCode, nil)
	got := read(t, top, 0, uncommitted)[0]
	if differs(t, "log-append-time") {
		equal(t, "age of the record's timestamp", before.Sub(got.Timestamp).Round(time.Minute), 40*time.Minute)
		equal(t, "timestamp type", got.Attrs.TimestampType(), 0)
		return
	}
	if d := got.Timestamp.Sub(before); d < -time.Second || d > patience {
		t.Errorf("the record has the timestamp %v, %v from the time of its writing", got.Timestamp, d)
	}
	equal(t, "timestamp in the answer", resp.LogAppendTime, got.Timestamp.UnixMilli())
	equal(t, "timestamp type", got.Attrs.TimestampType(), 1)
}

// A topic's compression.type, where it is not producer, is that of the stored
// batches (topic config compression.type).
func TestTopicCompression(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "compression.type", "gzip")
	cl := client(t, kgo.DefaultProduceTopic(top), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte("value "), 1000)
	if err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := read(t, top, 0, uncommitted)[0]
	if !bytes.Equal(got.Value, value) {
		t.Error("the value came back changed")
	}
	want := uint8(1) // gzip
	if differs(t, "topic-compression") {
		want = 0
	}
	equal(t, "codec of the batch", got.Attrs.CompressionType(), want)
}

// brokers returns the ids of the live brokers.
func brokers(t *testing.T) []int32 {
	t.Helper()
	list, err := adm.ListBrokers(testCtx(t))
	if err != nil {
		t.Fatal(errors.Join(err))
	}
	return list.NodeIDs()
}

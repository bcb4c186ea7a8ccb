package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// trimAt asks the broker that leads a partition to delete the records before an offset, and
// returns the answer for the partition.
func trimAt(t *testing.T, broker int32, topic string, part int32, to int64) kmsg.DeleteRecordsResponseTopicPartition {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 15000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: part, Offset: to})
	req.Topics = append(req.Topics, rt)
	resp, err := plain.Broker(int(broker)).Request(testCtx(t), req)
	if err != nil {
		t.Fatal(err)
	}
	answer := resp.(*kmsg.DeleteRecordsResponse)
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		t.Fatalf("DeleteRecords answered %+v", answer)
	}
	return answer.Topics[0].Partitions[0]
}

// DeleteRecords names what it cannot delete, and reports where the log begins now (KIP-107).
func TestDeleteRecordsAnswers(t *testing.T) {
	t.Parallel()
	top := topic(t, 2)
	lead := leader(t, top, 0)
	produce(t, top, 0, "a", "b", "c")
	for _, c := range []struct {
		what string
		part int32
		to   int64
		low  int64
		want *kerr.Error
	}{
		{"a negative offset that is not -1", 0, -2, -1, kerr.OffsetOutOfRange},
		{"beyond the high watermark", 0, 4, -1, kerr.OffsetOutOfRange},
		{"a partition that does not exist", 9, 0, -1, kerr.UnknownTopicOrPartition},
		{"nothing", 0, 0, 0, nil},
		{"two records", 0, 2, 2, nil},
		{"fewer than are deleted", 0, 1, 2, nil},
	} {
		got := trimAt(t, lead, top, c.part, c.to)
		code(t, c.what, got.ErrorCode, c.want)
		if c.want == nil {
			equal(t, "log start after "+c.what, got.LowWatermark, c.low)
		}
	}
	empty := trimAt(t, leader(t, top, 1), top, 1, -1)
	code(t, "everything of an empty partition", empty.ErrorCode, nil)
	equal(t, "log start of an empty partition", empty.LowWatermark, 0)
	code(t, "a topic that does not exist", trimAt(t, lead, name(t), 0, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	for _, b := range brokers(t) {
		if b != lead {
			code(t, "a broker that does not lead the partition", trimAt(t, b, top, 0, 3).ErrorCode, kerr.NotLeaderForPartition)
		}
	}
	equal(t, "log", show(read(t, top, 0, uncommitted)), "2=c")
}

// Kafka deletes records before an offset only where the cleanup policy has delete: compaction
// decides alone in the other topics.
func TestDeleteRecordsOfACompactedTopic(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "cleanup.policy", "compact")
	both := topic(t, 1, "cleanup.policy", "compact,delete")
	cl := client(t)
	for _, n := range []string{top, both} {
		for _, key := range []string{"a", "b"} { // such topics take no record without a key
			if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: n, Key: []byte(key), Value: []byte(key)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	failed(t, "compact", trim(t, top, 1), kerr.PolicyViolation)
	answered(t, "compact,delete", trim(t, both, 1), nil)
	equal(t, "log", show(read(t, both, 0, uncommitted)), "1=b")
}

// The new log start may lie inside a batch: consumers do not see the records before it, and
// offsets by time do not name them.
func TestDeleteRecordsInsideABatch(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	code(t, "produce", send(t, top, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{"a", "b", "c", "d"}}.bytes()).ErrorCode, nil)
	answered(t, "delete two of four", trim(t, top, 2), nil)
	rs, err := consume(t, client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{top: {0: kgo.NewOffset().AtStart()}})), 2)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "consumed", show(rs), "2=c 3=d")
	if at, _ := listed(t, top, 0); at < 2 {
		t.Errorf("the first offset from the beginning of time on is %d, want 2 or later", at)
	}
	code(t, "fetch of a deleted record", fetch(t, leader(t, top, 0), top, 0, 1, uncommitted).ErrorCode, kerr.OffsetOutOfRange)
}

// Records of an open transaction can be deleted, and the transaction still ends. Records that
// follow are read as they were written.
func TestDeleteRecordsOfAnOpenTransaction(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "a", "b", "c")
	answered(t, "delete two of three", trim(t, top, 2), nil)
	p.abort()
	p.must(top, "d")
	p.commit()
	eventually(t, func() string {
		if got := show(read(t, top, 0, committed)); got != "4=d" { // 3 and 5 are the markers
			return fmt.Sprintf("the log is %q, want 4=d", got)
		}
		return ""
	})
}

// A consumer whose next record is deleted while it is attached goes on where its reset policy
// says, and its group's committed offset stays below the log's start until it commits again.
func TestTruncatedUnderAConsumer(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, group, l := topic(t, 1), name(t), newLedger()
			produce(t, top, 0, "a", "b")
			consumed := func(want int) {
				t.Helper()
				eventually(t, func() string {
					if n, twice := l.consumed(); n != want || twice != 0 {
						return fmt.Sprintf("%d records consumed, %d twice, want %d and 0", n, twice, want)
					}
					return ""
				})
			}
			a := l.join(t, "a", group, top, p.opts...)
			consumed(2)
			a.stop()
			produce(t, top, 0, "c", "d", "e")
			answered(t, "delete what is read and one more", trim(t, top, 3), nil)
			at, _ := position(t, group, top, false)
			equal(t, "committed offset", at, 2)
			b := l.join(t, "b", group, top, p.opts...)
			consumed(4) // a, b, and behind the log's start d, e
			answered(t, "delete under the member", trim(t, top, 4), nil)
			produce(t, top, 0, "f")
			consumed(5)
			equal(t, "the deleted record", l.times(0, 2), 0)
			b.stop()
			at, _ = position(t, group, top, false)
			equal(t, "committed offset", at, 6)
		})
	}
}

// A time behind every record has no offset; clients take the end of the log instead. A committed
// offset may lie beyond the end: consumers then meet OFFSET_OUT_OF_RANGE (consumer config
// auto.offset.reset).
func TestResetBeyondTheEnd(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	produce(t, top, 0, "a", "b", "c")
	at, stamp := listed(t, top, time.Now().Add(time.Hour).UnixMilli())
	equal(t, "offset of a time that is to come", at, -1)
	equal(t, "its timestamp", stamp, -1)
	ends, err := adm.ListOffsetsAfterMilli(testCtx(t), time.Now().Add(time.Hour).UnixMilli(), top)
	if err = errors.Join(err, ends.Error()); err != nil {
		t.Fatal(err)
	}
	equal(t, "where a client goes", ends[top][0].Offset, 3)
	answered(t, "commit beyond the end", commitAt(t, group, top, 100, ""), nil)
	got, _ := position(t, group, top, false)
	equal(t, "committed offset", got, 100)
	poll := func(reset kgo.Offset) ([]*kgo.Record, error) {
		t.Helper()
		cl := client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(top), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(reset))
		defer cl.Close()
		return consume(t, cl, 3)
	}
	_, err = poll(kgo.NoResetOffset())
	failed(t, "without a reset policy", err, kerr.OffsetOutOfRange)
	rs, err := poll(kgo.NewOffset().AtStart())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "reset to the earliest", show(rs), "0=a 1=b 2=c")
	got, _ = position(t, group, top, false)
	equal(t, "committed offset after reads without a commit", got, 100)
}

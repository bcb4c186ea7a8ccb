package inspect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// writeStamps stores one batch of records whose timestamps are these numbers. The
// client cannot: its own times end in the year 2262.
func (b *bench) writeStamps(partition int32, zipped bool, stamps ...int64) {
	b.t.Helper()
	rb := kmsg.NewRecordBatch()
	rb.PartitionLeaderEpoch, rb.Magic, rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = -1, 2, -1, -1, -1
	rb.FirstTimestamp, rb.MaxTimestamp = stamps[0], slices.Max(stamps)
	rb.LastOffsetDelta, rb.NumRecords = int32(len(stamps)-1), int32(len(stamps))
	for k, ms := range stamps {
		r := kmsg.NewRecord()
		r.TimestampDelta64, r.OffsetDelta, r.Value = ms-stamps[0], int32(k), fmt.Append(nil, ms)
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length itself is one byte while it is 0
		rb.Records = r.AppendTo(rb.Records)
	}
	if zipped {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(rb.Records)
		_ = z.Close()
		rb.Records, rb.Attributes = out.Bytes(), 1
	}
	rb.Length = int32(len(rb.AppendTo(nil)) - 12)
	rb.CRC = int32(crc32.Checksum(rb.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))

	meta, err := b.Metadata(b.t.Context(), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 15000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, rb.AppendTo(nil)
	rt.Topic, rt.TopicID, rt.Partitions = topic, meta.Topics[topic].ID, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	raw, err := b.cl.Broker(int(meta.Topics[topic].Partitions[partition].Leader)).Request(b.t.Context(), req)
	if err == nil {
		err = kerr.ErrorForCode(raw.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

const (
	micros = 1730176462000000    // the client's own arithmetic shows the year 1849
	nanos  = 1730176462000000000 // and for this 1736
	far    = 253402300800000     // the year 10000
)

// TestTimesOutOfRange: numbers that are not milliseconds are read exactly, and
// sorted as the numbers that they are.
func TestTimesOutOfRange(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip=%v", zipped), func(t *testing.T) {
			b := newBench(t)
			now := epoch.UnixMilli()
			b.writeStamps(0, zipped, now, now+30, micros, nanos) // times of every size in one batch
			b.writeStamps(1, zipped, now+10, far)
			b.writeStamps(2, zipped, now+20)
			b.writeStamps(2, zipped, micros+1, micros+2)
			want := []int64{now, now + 10, now + 20, now + 30, far, micros, micros + 1, micros + 2, nanos}
			for name, from := range map[string]inspect.Target{"oldest": inspect.Oldest(), "newest": inspect.Newest(9)} {
				var got []int64
				_, err := b.Read(t.Context(), inspect.Query{Topic: topic, From: from}, func(m inspect.Message) error {
					got = append(got, m.Timestamp.UnixMilli())
					return nil
				})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v: %v", name, got, want, err)
				}
			}
			if got, _ := b.read(inspect.Query{From: inspect.Newest(2)}); !slices.Equal(got, []string{fmt.Sprint(micros + 2), fmt.Sprint(int64(nanos))}) {
				t.Errorf("the newest two are %v", got)
			}
		})
	}
}

// TestFollowTimesOutOfRange is the same for messages that are written while they
// are followed.
func TestFollowTimesOutOfRange(t *testing.T) {
	b := newBench(t)
	now := time.Now().UnixMilli()
	b.writeStamps(0, false, now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []int64
	_, err := b.Read(ctx, inspect.Query{Topic: topic, Follow: true}, func(m inspect.Message) error {
		if len(got) == 0 {
			b.writeStamps(0, true, now+1, micros, nanos, now+2)
		}
		if got = append(got, m.Timestamp.UnixMilli()); len(got) == 5 {
			return inspect.ErrStop
		}
		return nil
	})
	if want := []int64{now, now + 1, micros, nanos, now + 2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, want %v: %v", got, want, err)
	}
}

// TestWireTime: what is not a time is its number, as text.
func TestWireTime(t *testing.T) {
	for ms, want := range map[int64]string{
		0: `"time":"1970-01-01T00:00:00Z"`, far - 1: `"time":"9999-12-31T23:59:59.999Z"`,
		-1: `"time":null,"timestamp":"-1"`, far: `"time":null,"timestamp":"253402300800000"`,
		micros: `"time":null,"timestamp":"1730176462000000"`, nanos: `"time":null,"timestamp":"1730176462000000000"`,
	} {
		m := inspect.Message{Timestamp: time.UnixMilli(ms)}
		if got, err := json.Marshal(m.Wire(0)); err != nil || !bytes.Contains(got, []byte(want+",")) {
			t.Errorf("%d: %s, want %s: %v", ms, got, want, err)
		}
	}
}

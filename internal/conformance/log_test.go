package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// trim deletes what lies before an offset; -1 is the high watermark.
func trim(t *testing.T, topic string, to int64) error {
	t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, At: to})
	rs, err := adm.DeleteRecords(testCtx(t), os)
	return errors.Join(err, rs.Error())
}

// A fetch outside the log is OFFSET_OUT_OF_RANGE, at the high watermark it is
// empty (protocol guide, error 1).
func TestFetchOutOfRange(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a", "b", "c", "d")
	if err := trim(t, top, 2); err != nil {
		t.Fatal(err)
	}
	lead := leader(t, top, 0)
	for _, c := range []struct {
		at   int64
		want *kerr.Error
	}{{0, kerr.OffsetOutOfRange}, {1, kerr.OffsetOutOfRange}, {2, nil}, {4, nil}, {5, kerr.OffsetOutOfRange}, {1 << 40, kerr.OffsetOutOfRange}} {
		f := fetch(t, lead, top, 0, c.at, uncommitted)
		code(t, fmt.Sprint("fetch at ", c.at), f.ErrorCode, c.want)
		if c.want == nil {
			equal(t, "log start offset", f.LogStartOffset, 2)
			equal(t, "high watermark", f.HighWatermark, 4)
		}
	}
	if f := fetch(t, lead, top, 0, 4, uncommitted); len(f.RecordBatches) != 0 {
		t.Errorf("%d bytes at the high watermark", len(f.RecordBatches))
	}
	equal(t, "log", show(read(t, top, 0, uncommitted)), "2=c 3=d")
}

// A consumer whose position is gone goes where its reset policy says, or is told
// (consumer config auto.offset.reset).
func TestConsumerOutOfRange(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a", "b", "c")
	if err := trim(t, top, 1); err != nil {
		t.Fatal(err)
	}
	at := func(opts ...kgo.Opt) ([]*kgo.Record, error) {
		return consume(t, client(t, append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{top: {0: kgo.NewOffset().At(0)}}))...), 2)
	}
	rs, err := at(kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "records after a reset to the start", show(rs), "1=b 2=c")
	_, err = at(kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	failed(t, "without a policy", err, kerr.OffsetOutOfRange)
}

// DeleteRecords moves the log start offset, up to the high watermark, never back
// (KIP-107).
func TestDeleteRecords(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a", "b", "c")
	failed(t, "beyond the high watermark", trim(t, top, 4), kerr.OffsetOutOfRange)
	if err := trim(t, top, 2); err != nil {
		t.Fatal(err)
	}
	if err := trim(t, top, 1); err != nil {
		t.Fatalf("below the log start: %v", err)
	}
	start, end := offsets(t, top, 0)
	equal(t, "log start offset", start, 2)
	equal(t, "high watermark", end, 3)
	if err := trim(t, top, -1); err != nil {
		t.Fatal(err)
	}
	start, end = offsets(t, top, 0)
	if differs(t, "last-record") {
		equal(t, "log start offset when all is deleted", start, 2)
	} else {
		equal(t, "log start offset when all is deleted", start, 3)
	}
	equal(t, "high watermark", end, 3)
	produce(t, top, 0, "d")
	if _, end := offsets(t, top, 0); end != 4 {
		t.Errorf("high watermark %d, want 4: offsets are not given again", end)
	}
}

// long is a time ago that every retention of these tests is over at.
func long() time.Time { return time.Now().Add(-2 * time.Hour) }

// Records older than retention.ms go, by their own timestamps, and the log start
// offset moves behind them; newer ones stay (topic config retention.ms).
func TestRetentionByTime(t *testing.T) {
	t.Parallel()
	// Apache Kafka deletes whole segments; those of a second are short enough.
	top := topic(t, 1, "retention.ms", "3600000", "segment.ms", "500", "message.timestamp.before.max.ms", fmt.Sprint(24*time.Hour.Milliseconds()))
	cl := client(t, kgo.DefaultProduceTopic(top))
	put := func(value string, at time.Time) {
		t.Helper()
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: []byte(value), Timestamp: at}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		put(fmt.Sprint("old", i), long())
	}
	eventually(t, func() string {
		// A record of now ends the old ones' segment and is what stays.
		put("new", time.Now())
		if start, _ := offsets(t, top, 0); start != 10 {
			return fmt.Sprintf("log start offset %d, want 10", start)
		}
		return ""
	})
	for _, r := range read(t, top, 0, uncommitted) {
		if string(r.Value) != "new" {
			t.Errorf("%s is still there", r.Value)
		}
	}
	code(t, "fetch of what is gone", fetch(t, leader(t, top, 0), top, 0, 0, uncommitted).ErrorCode, kerr.OffsetOutOfRange)
}

// A partition whose records are all over is empty, and goes on with the offsets.
func TestRetentionOfEverything(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "retention.ms", "3600000", "segment.ms", "500", "message.timestamp.before.max.ms", fmt.Sprint(24*time.Hour.Milliseconds()))
	cl := client(t, kgo.DefaultProduceTopic(top))
	for range 5 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: []byte("old"), Timestamp: long()}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	want := int64(5)
	if differs(t, "last-record") {
		want = 4
	}
	eventually(t, func() string {
		if start, end := offsets(t, top, 0); start != want || end != 5 {
			return fmt.Sprintf("log from %d to %d, want from %d to 5", start, end, want)
		}
		return ""
	})
}

// Whole segments beyond retention.bytes go, the oldest first (topic config
// retention.bytes).
func TestRetentionBySize(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "retention.bytes", fmt.Sprint(1<<20), "segment.bytes", fmt.Sprint(1<<20))
	cl := client(t, kgo.DefaultProduceTopic(top), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := bytes.Repeat([]byte{'x'}, 300<<10)
	for range 20 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		start, end := offsets(t, top, 0)
		// Two segments of three records each hold more than 1 MiB; one more is being written.
		if end != 20 || start < 10 || start > 19 {
			return fmt.Sprintf("log from %d to %d, want the last few of 20", start, end)
		}
		return ""
	})
}

// Compaction keeps at least the last value of each key, with the offset that it
// had: consumers meet gaps. A key whose last value is null is deleted in the end
// (documentation, "Log Compaction").
func TestCompaction(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "cleanup.policy", "compact", "segment.ms", "300", "min.cleanable.dirty.ratio", "0.01", "max.compaction.lag.ms", "500", "delete.retention.ms", "100")
	cl := client(t, kgo.DefaultProduceTopic(top))
	var rs []*kgo.Record
	const n = 3000
	for i := range n {
		key := fmt.Sprint("k", i%3)
		switch i {
		case 5:
			key = "rare" // stays in the middle of what is superseded
		case 6:
			key = "gone"
		}
		rs = append(rs, &kgo.Record{Key: []byte(key), Value: []byte(fmt.Sprint(i))})
	}
	if err := cl.ProduceSync(testCtx(t), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(testCtx(t), &kgo.Record{Key: []byte("gone")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	head := differs(t, "compaction")
	last := 0
	eventually(t, func() string {
		// Something has to follow for a segment to be closed.
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Key: []byte("tick"), Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		all := read(t, top, 0, uncommitted)
		last = len(all)
		if head {
			if all[0].Offset != 5 {
				return fmt.Sprintf("the first record has offset %d, want 5", all[0].Offset)
			}
			return ""
		}
		if len(all) > 100 {
			return fmt.Sprintf("%d records are left", len(all))
		}
		for _, r := range all {
			if string(r.Key) == "gone" {
				return "a deleted key is still there"
			}
		}
		return ""
	})
	values := make(map[string]string)
	for _, r := range read(t, top, 0, uncommitted) {
		values[string(r.Key)] = fmt.Sprintf("%d=%s", r.Offset, r.Value)
	}
	for key, want := range map[string]string{"rare": "5=5", "k0": "2997=2997", "k1": "2998=2998", "k2": "2999=2999"} {
		equal(t, "last value of "+key, values[key], want)
	}
	if head && last < n-10 {
		t.Errorf("%d records are left: it compacts beyond the head, so the difference is smaller than listed", last)
	}
	if start, _ := offsets(t, top, 0); !head {
		equal(t, "log start offset: compaction does not move it", start, 0)
	}
}

// Records keep all that they are made of, under every codec, alone and in batches
// (message format v2; producer config compression.type).
func TestRecordsAreKept(t *testing.T) {
	t.Parallel()
	for codec, c := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			top := topic(t, 1)
			cl := client(t, kgo.DefaultProduceTopic(top), kgo.ProducerBatchCompression(c), kgo.ProducerLinger(5*time.Millisecond))
			at := time.UnixMilli(time.Now().UnixMilli())
			var rs []*kgo.Record
			for i := range 50 {
				rs = append(rs, &kgo.Record{Key: []byte(fmt.Sprint(i)), Value: bytes.Repeat([]byte{byte(i)}, i*100), Timestamp: at.Add(time.Duration(i) * time.Millisecond),
					Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{0, byte(i)}}, {Key: "h", Value: nil}, {Key: "", Value: []byte("empty key")}}})
			}
			rs = append(rs, &kgo.Record{Key: nil, Value: nil, Timestamp: at}, &kgo.Record{Key: []byte{}, Value: []byte{}, Timestamp: at})
			if err := cl.ProduceSync(testCtx(t), rs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			got := read(t, top, 0, uncommitted)
			if len(got) != len(rs) {
				t.Fatalf("%d records, want %d", len(got), len(rs))
			}
			for i, r := range got {
				w := rs[i]
				same := r.Offset == int64(i) && bytes.Equal(r.Key, w.Key) && bytes.Equal(r.Value, w.Value) && (r.Key == nil) == (w.Key == nil) && (r.Value == nil) == (w.Value == nil) &&
					r.Timestamp.Equal(w.Timestamp) && len(r.Headers) == len(w.Headers)
				for j := range w.Headers {
					same = same && r.Headers[j].Key == w.Headers[j].Key && bytes.Equal(r.Headers[j].Value, w.Headers[j].Value)
				}
				if !same {
					t.Errorf("record %d is %+v, want %+v", i, r, w)
				}
			}
		})
	}
}

// max.message.bytes bounds a batch as it is stored; MESSAGE_TOO_LARGE is above (topic config max.message.bytes).
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	const most = 8 << 20
	top := topic(t, 1, "max.message.bytes", fmt.Sprint(most))
	alone := func(values ...string) []byte { return batch{id: -1, epoch: -1, sequence: -1, values: values}.bytes() }
	overhead := len(alone(strings.Repeat("x", most-200))) - (most - 200)
	for _, c := range []struct {
		name string
		size int
		want *kerr.Error
	}{{"4 MiB", 4 << 20, nil}, {"exactly as much as may be", most - overhead, nil}, {"one byte more", most - overhead + 1, kerr.MessageTooLarge}} {
		code(t, c.name, send(t, top, 0, alone(strings.Repeat("x", c.size))).ErrorCode, c.want)
	}
	got := read(t, top, 0, uncommitted)
	if len(got) != 2 || len(got[0].Value) != 4<<20 || len(got[1].Value) != most-overhead {
		t.Errorf("%d records came back", len(got))
	}
	small := topic(t, 1) // the default is 1 MiB and 12 bytes for the batch
	cl := client(t, kgo.DefaultProduceTopic(small), kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	err := cl.ProduceSync(testCtx(t), &kgo.Record{Value: make([]byte, 9<<20)}).FirstErr()
	failed(t, "9 MiB by the client's own limit", err, kerr.MessageTooLarge)
}

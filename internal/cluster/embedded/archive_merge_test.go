package embedded

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unpacked are the records of batches as they are on the wire.
func unpacked(t *testing.T, from int64, batches ...[]byte) []*kgo.Record {
	t.Helper()
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, Topic: "t"},
		&kmsg.FetchResponseTopicPartition{RecordBatches: bytes.Join(batches, nil)}, decompressor, nil)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	return got.Records
}

// wire is a batch of records with the times that are given, from an offset on.
func wire(first int64, epoch int32, attrs int16, times ...int64) []byte {
	b := batch{kmsg.RecordBatch{
		FirstOffset: first, PartitionLeaderEpoch: epoch, Magic: magic, Attributes: attrs, LastOffsetDelta: int32(len(times) - 1),
		FirstTimestamp: times[0], MaxTimestamp: times[len(times)-1], NumRecords: int32(len(times)),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}}
	for i, at := range times {
		rec := kmsg.Record{TimestampDelta64: at - times[0], OffsetDelta: int32(i), Value: fmt.Append(nil, first+int64(i))}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b.Records = rec.AppendTo(b.Records)
	}
	return b.seal()
}

func merging(t *testing.T, next int64) merger {
	t.Helper()
	compressor, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		t.Fatal(err)
	}
	return merger{compressor: compressor, next: next}
}

// Records keep the epoch of their leader, their time and who set it.
func TestMergedRecordsKeepTheirEpochAndTime(t *testing.T) {
	records := unpacked(t, 10,
		wire(10, 1, 0, 1000, 1005),
		wire(12, 2, 0, 1010),
		wire(13, 2, attrLogAppendTime, 1010),
		wire(14, 2, attrLogAppendTime, 1020),
		wire(15, 2, attrLogAppendTime, 1020, 1020),
		wire(17, 3, attrLogAppendTime, 1020),
		wire(18, 3, 0, 1020, 999),
	)
	m := merging(t, 10)
	for _, r := range records {
		m.add(r)
	}
	m.flush()
	got := unpacked(t, 10, m.done...)
	if len(got) != len(records) || len(records) != 10 {
		t.Fatalf("%d records of %d", len(got), len(records))
	}
	for i, r := range records {
		g := got[i]
		if g.Offset != r.Offset || g.LeaderEpoch != r.LeaderEpoch || !g.Timestamp.Equal(r.Timestamp) ||
			g.Attrs.TimestampType() != r.Attrs.TimestampType() || string(g.Value) != string(r.Value) {
			t.Errorf("record %d of epoch %d, time %v of kind %d, became %d of epoch %d, time %v of kind %d", r.Offset, r.LeaderEpoch,
				r.Timestamp, r.Attrs.TimestampType(), g.Offset, g.LeaderEpoch, g.Timestamp, g.Attrs.TimestampType())
		}
	}
}

// The offsets of markers and of aborted records, which are left out, belong to the batch before them:
// every offset is in a batch, so that a request for any of them finds what follows.
func TestMergedBatchesCoverWhatIsLeftOut(t *testing.T) {
	m := merging(t, 8) // 8 and 9 are left out, too
	for _, r := range unpacked(t, 10, wire(10, 1, 0, 1000, 1005), wire(15, 2, 0, 1010)) {
		m.add(r)
	}
	m.seen = 20
	m.flush()
	var ends []int64
	next := int64(8)
	for _, raw := range m.done {
		b, sound := parseBatch(raw)
		if !sound || b.FirstOffset != next || b.ProducerID != -1 {
			t.Errorf("a batch begins at %d, want %d; sound: %v, producer %d", b.FirstOffset, next, sound, b.ProducerID)
		}
		next = b.end()
		ends = append(ends, next)
	}
	if len(ends) != 2 || ends[0] != 15 || ends[1] != 20 || m.next != 20 {
		t.Errorf("the batches end at %v, the next one begins at %d, want 15 and 20", ends, m.next)
	}
}

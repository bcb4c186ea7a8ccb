package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzDecompress compares the bounded decompressor with the client's own, which has no bound worth the
// name: what fits is the same, and what does not is refused.
func FuzzDecompress(f *testing.F) {
	text := bytes.Repeat([]byte("needle weir "), 40)
	var gz, l4 bytes.Buffer
	g, l := gzip.NewWriter(&gz), lz4.NewWriter(&l4)
	_, _ = g.Write(text)
	_, _ = l.Write(text)
	_, _ = g.Close(), l.Close()
	z, _ := zstd.NewWriter(nil)
	packed := s2.EncodeSnappy(nil, text)
	java := append(binary.BigEndian.AppendUint32([]byte(javaSnappy), uint32(len(packed))), packed...)
	for codec, src := range map[byte][]byte{1: gz.Bytes(), 2: packed, 3: l4.Bytes(), 4: z.EncodeAll(text, nil)} {
		f.Add(codec, src)
	}
	f.Add(byte(2), java)
	f.Add(byte(2), append(java, java[16:]...))
	const limit = 1 << 16
	ours, theirs := NewDecompressor(limit), kgo.DefaultDecompressor()
	f.Fuzz(func(t *testing.T, codec byte, src []byte) {
		got, err := ours.Decompress(src, kgo.CompressionCodecType(codec%6))
		if len(got) > limit {
			t.Fatalf("%d bytes came of it", len(got))
		}
		if errors.Is(err, kgo.ErrMaxDecompress) {
			return // the client's own could take gigabytes
		}
		want, wantErr := theirs.Decompress(src, kgo.CompressionCodecType(codec%6))
		if (err != nil) != (wantErr != nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("codec %d: %d bytes, %v; the client's own: %d bytes, %v", codec%6, len(got), err, len(want), wantErr)
		}
	})
}

// FuzzTimes corrects the times of batches whose every byte may be wrong. Records stay what they were
// otherwise, and where no time overflows nothing changes.
func FuzzTimes(f *testing.F) {
	const micros = 1730176462000000
	for _, first := range []int64{5, micros} {
		rec := kmsg.Record{Value: []byte("v"), TimestampDelta64: 7}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b := kmsg.RecordBatch{Magic: 2, NumRecords: 1, FirstTimestamp: first, MaxTimestamp: first + 7, Records: rec.AppendTo(nil)}
		b.Length = int32(len(b.AppendTo(nil)) - batchPrefix)
		f.Add(b.AppendTo(nil))
		b.Attributes = 8
		f.Add(append(b.AppendTo(nil), b.AppendTo(nil)...))
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	unpack := NewDecompressor(1 << 16)
	f.Fuzz(func(t *testing.T, raw []byte) {
		// The client decodes nothing of a batch whose checksum is wrong.
		for rest := raw; len(rest) >= batchHeader; {
			size := int64(binary.BigEndian.Uint32(rest[batchLength:])) + batchPrefix
			if size < batchHeader || size > int64(len(rest)) {
				break
			}
			binary.BigEndian.PutUint32(rest[17:], crc32.Checksum(rest[batchAttrs:size], table))
			rest = rest[size:]
		}
		decode := func() []*kgo.Record {
			got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t", KeepControlRecords: true},
				&kmsg.FetchResponseTopicPartition{RecordBatches: raw, HighWatermark: 1 << 40, LastStableOffset: 1 << 40}, unpack, nil)
			return got.Records
		}
		before, after := decode(), decode()
		exactTimes(raw, after, unpack)
		for i, r := range after {
			if !bytes.Equal(r.Value, before[i].Value) || !bytes.Equal(r.Key, before[i].Key) || r.Offset != before[i].Offset {
				t.Fatalf("record %d is %+v, and was %+v", i, r, before[i])
			}
		}
	})
}

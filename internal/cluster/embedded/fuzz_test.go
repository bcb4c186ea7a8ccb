package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// archivedFile is a file of the archive with a few batches, as it is written.
func archivedFile(f *testing.F, first int64) (file []byte) {
	f.Helper()
	for i := range int64(3) {
		rec := kmsg.Record{Value: []byte("value")}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b := batch{kmsg.RecordBatch{FirstOffset: first + 2*i, PartitionLeaderEpoch: 1, Magic: magic, LastOffsetDelta: 1, FirstTimestamp: 1, MaxTimestamp: 2,
			ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: rec.AppendTo(nil)}}
		file = append(file, b.seal()...)
	}
	return file
}

// FuzzArchive opens an archive of which a file has any bytes. What it returns are whole batches with a right
// checksum, one behind the other; the rest is reported.
func FuzzArchive(f *testing.F) {
	file := archivedFile(f, 5)
	f.Add(file, int64(5), true)
	f.Add(file[:len(file)-3], int64(5), false)
	f.Add(append(bytes.Clone(file), "behind"...), int64(0), true)
	dir := f.TempDir()
	part := filepath.Join(dir, "t-0")
	f.Fuzz(func(t *testing.T, raw []byte, start int64, last bool) {
		if start < 0 {
			return
		}
		now := map[string][]byte{archiveMeta: fmt.Appendf(nil, `{"topic_id":"01%030d","start":%d}`, 0, start), "5" + archiveExt: raw}
		err := os.MkdirAll(part, 0o700)
		if second := "11" + archiveExt; last {
			_ = os.Remove(filepath.Join(part, second))
		} else { // of a file that is not the last one, headers alone are read
			now[second] = raw
		}
		for name, content := range now {
			err = errors.Join(err, os.WriteFile(filepath.Join(part, name), content, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := openArchive(files{}, dir, 1<<20, slog.New(slog.DiscardHandler), func(truncation) {})
		if err != nil {
			t.Fatal(err)
		}
		p := partition{"t", 0}
		begin, end, ok := a.bounds(p)
		for at := begin; ok && at < end; {
			raw, err := a.read(p, at, 0)
			if err != nil || len(raw) == 0 {
				return // damaged, and a client gets an error
			}
			before := at
			for len(raw) > 0 {
				b, sound := parseBatch(raw)
				if !sound || b.end() <= at {
					t.Fatalf("read %+v behind %d: sound %v", b.RecordBatch, at, sound)
				}
				at, raw = b.end(), raw[b.size():]
			}
			if at <= before {
				t.Fatalf("no progress from %d", before)
			}
		}
	})
}

// FuzzBatch reads a batch of any bytes. What is sound is written as the same bytes, and the client decodes
// it without an end of the process.
func FuzzBatch(f *testing.F) {
	f.Add(archivedFile(f, 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, sound := parseBatch(raw)
		if !sound {
			return
		}
		if again := (&batch{b.RecordBatch}).seal(); !bytes.Equal(again, raw[:b.size()]) {
			t.Errorf("%x is written as %x", raw[:b.size()], again)
		}
		kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &kmsg.FetchResponseTopicPartition{RecordBatches: raw}, decompressor, nil)
	})
}

// FuzzNames writes the directory of a partition and reads it, and reads directories of any name.
func FuzzNames(f *testing.F) {
	f.Add("t", int32(0), "t-0")
	f.Add("a-1", int32(7), "%zz-1")
	f.Add("..", int32(1), "-")
	f.Fuzz(func(t *testing.T, topic string, id int32, other string) {
		if topic != "" && id >= 0 {
			name := filepath.Base(filepath.Dir(segmentPath(topic, id, 0)))
			if p, ok := parsePartitionDir(name); !ok || p != (partition{topic, id}) {
				t.Errorf("%q/%d lies in %q, which is read as %+v, %v", topic, id, name, p, ok)
			}
		}
		if p, ok := parsePartitionDir(other); ok && p.id < 0 {
			t.Errorf("%q is read as %+v", other, p)
		}
		readIntents([]byte(other))
	})
}

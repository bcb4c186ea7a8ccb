package scan

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Where the fields of a record batch (magic 2) lie, in bytes.
const (
	batchLength    = 8
	batchMagic     = 16
	batchAttrs     = 21
	batchFirstTime = 27
	batchMaxTime   = 35
	batchHeader    = 61 // where the records begin
	batchPrefix    = 12 // the offset and the length, which the length leaves out
)

// latestNano is the latest time, in milliseconds, that the client decodes as it is
// stored: it computes nanoseconds in an int64, which overflows in the year 2262.
const latestNano = (1<<63 - 1) / int64(time.Millisecond)

// exactTimes corrects the timestamps of records whose batch has times that the
// client cannot hold: a producer that sends microseconds or nanoseconds stores
// such numbers. Nothing is lost by then but in the record, so the batch is read again.
func exactTimes(raw []byte, records []*kgo.Record, unpack kgo.Decompressor) {
	for len(raw) >= batchHeader && len(records) > 0 {
		size := int64(binary.BigEndian.Uint32(raw[batchLength:])) + batchPrefix
		if size < batchHeader || size > int64(len(raw)) || raw[batchMagic] != 2 {
			return
		}
		batch := raw[:size]
		raw = raw[size:]
		first, latest := stamp(batch[batchFirstTime:]), stamp(batch[batchMaxTime:])
		if overflows(first) || overflows(latest) {
			records = correct(batch, records, unpack)
		}
	}
}

func stamp(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func overflows(ms int64) bool { return ms > latestNano || ms < -latestNano }

// correct sets the timestamps of the records of one batch, and returns the records
// that lie behind it.
func correct(batch []byte, records []*kgo.Record, unpack kgo.Decompressor) []*kgo.Record {
	base, first := int64(binary.BigEndian.Uint64(batch)), stamp(batch[batchFirstTime:])
	attrs := binary.BigEndian.Uint16(batch[batchAttrs:])
	in := batch[batchHeader:]
	if codec := kgo.CompressionCodecType(attrs & 7); codec != 0 {
		var err error
		if in, err = unpack.Decompress(in, codec); err != nil {
			return records // the client has decoded none of it
		}
	}
	for len(in) > 0 {
		size, n := binary.Varint(in)
		if n <= 0 || size < 1 || size > int64(len(in)-n) {
			break
		}
		body := in[n+1 : n+int(size)] // without the attributes of the record
		in = in[n+int(size):]
		ahead, n := binary.Varint(body)
		if n <= 0 {
			break
		}
		offset, k := binary.Varint(body[n:])
		if k <= 0 {
			break
		}
		for len(records) > 0 && records[0].Offset < base+offset {
			records = records[1:]
		}
		if len(records) == 0 {
			break
		}
		if records[0].Offset != base+offset {
			continue // the reader did not want it
		}
		ms := first + ahead
		if attrs&8 != 0 { // the broker's time
			ms = stamp(batch[batchMaxTime:])
		}
		records[0].Timestamp = time.UnixMilli(ms)
	}
	return records
}

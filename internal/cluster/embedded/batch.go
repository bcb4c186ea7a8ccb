package embedded

import (
	"encoding/binary"
	"hash/crc32"
	"os"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Layout of a record batch (message format v2), by Kafka's documentation.
const (
	batchHeader  = 61
	batchPrefix  = 12 // first offset and length, which the length does not count
	magic        = 2  // version of the format
	unchecked    = 17 // bytes at the head that the checksum does not cover
	attrTxn      = 0x10
	attrControl  = 0x20
	indexVersion = 1
	indexInTxn   = 1
)

// batch is a record batch.
type batch struct{ kmsg.RecordBatch }

// parseBatch reads the batch at the head of raw; false if it is not whole or not sound.
func parseBatch(raw []byte) (b batch, sound bool) {
	if b.ReadFrom(raw) != nil || b.size() < batchHeader {
		return b, false
	}
	return b, crc32.Checksum(raw[21:b.size()], castagnoli) == uint32(b.CRC)
}

// parseHeader reads the header of a batch, whatever it says.
func parseHeader(raw []byte) (b batch) {
	_ = b.ReadFrom(raw[:batchHeader]) // fails at the records, which come last
	return b
}

func (b *batch) end() int64         { return b.FirstOffset + int64(b.LastOffsetDelta) + 1 }
func (b *batch) size() int          { return batchPrefix + int(b.Length) }
func (b *batch) producer() producer { return producer{b.ProducerID, b.ProducerEpoch} }
func (b *batch) control() bool      { return b.Attributes&attrControl != 0 }
func (b *batch) txn() bool          { return b.Attributes&attrTxn != 0 && !b.control() }

// seal completes the length and the checksum of a batch, and returns it as it is on the wire.
func (b *batch) seal() []byte {
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - batchPrefix)
	binary.BigEndian.PutUint32(raw[8:], uint32(b.Length))
	b.CRC = int32(crc32.Checksum(raw[21:], castagnoli))
	binary.BigEndian.PutUint32(raw[17:], uint32(b.CRC))
	return raw
}

// entry is what the index of a segment has for a batch.
type entry [indexEntry]byte

func (e entry) epoch() int32 { return int32(binary.LittleEndian.Uint32(e[2:])) }

// soundEntry returns the entry that begins at a byte of an index; false where there is none
// that is whole and sound.
func soundEntry(index []byte, at int) (e entry, ok bool) {
	if at+indexEntry > len(index) {
		return e, false
	}
	e = entry(index[at:])
	return e, e[0] == indexVersion && e[1] == byte(crc32.Checksum(e[2:], castagnoli))
}

// index returns the entry that the module writes for the batch. The time stamp in
// it is not read back.
func (b *batch) index() (e entry) {
	e[0] = indexVersion
	binary.LittleEndian.PutUint32(e[2:], uint32(b.PartitionLeaderEpoch))
	if b.txn() {
		e[14] = indexInTxn
	}
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e
}

// soundHeaders reports whether the headers of all batches fit each other: the offset,
// the leader epoch and the version of a batch are under no checksum, and the module
// believes them. It reads nothing else.
func soundHeaders(log []partitionFiles) (bool, error) {
	for _, p := range log {
		for _, s := range p.segments {
			if sound, err := soundSegment(p.path(s.base), s); err != nil || !sound {
				return false, err
			}
		}
	}
	return true, nil
}

func soundSegment(path string, s segment) (bool, error) {
	index, err := readIfAny(path + ".idx")
	if err != nil {
		return false, err
	}
	f, err := os.Open(path + ".dat")
	if err != nil {
		return false, err
	}
	defer f.Close()
	var head [batchHeader]byte
	next := s.base
	for pos, at := int64(0), 0; pos < s.data; at += indexEntry {
		if pos+batchHeader > s.data {
			return false, nil
		}
		if _, err := f.ReadAt(head[:], pos); err != nil {
			return false, err
		}
		b := parseHeader(head[:])
		indexed, known := soundEntry(index, at)
		if b.FirstOffset != next || known && b.PartitionLeaderEpoch != indexed.epoch() || b.Magic != magic ||
			b.size() < batchHeader || b.end() <= b.FirstOffset {
			return false, nil
		}
		pos, next = pos+int64(b.size()), b.end()
	}
	return true, nil
}

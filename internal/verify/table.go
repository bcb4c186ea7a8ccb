package verify

import (
	"encoding/binary"
	"math/bits"
)

// table is a hash table of places by hash. Unlike a map it is emptied at once, however large it
// is: a long log has tens of thousands of small buckets, and each needs an empty table.
type table struct {
	entries []tableEntry // a power of two, at least twice as many as are put in
	round   uint32       // which entries count
	n       int
}

// tableEntry is a place and its hash, in 32 bytes.
type tableEntry struct {
	hash    hash
	offset  int64
	portion uint32
	round   uint32 // the table's when the entry was put in; with another one it is free
}

func (e *tableEntry) place() place { return place{e.portion, e.offset} }

func (e *tableEntry) set(at place) { e.portion, e.offset = at.portion, at.offset }

func newTable(limit int) *table {
	return &table{entries: make([]tableEntry, 1<<bits.Len(uint(2*limit-1)))}
}

// clear empties the table.
func (t *table) clear() {
	if t.n, t.round = 0, t.round+1; t.round == 0 { // entries of four billion rounds ago would count again
		clear(t.entries)
		t.round = 1
	}
}

// find returns the entry of a hash, or the free one where put is to put it. The first bytes of
// the hashes in a bucket are all the same, so that the last ones choose the entry.
func (t *table) find(h hash) *tableEntry {
	last := uint64(len(t.entries) - 1)
	for i := binary.LittleEndian.Uint64(h[8:]); ; i++ {
		if e := &t.entries[i&last]; e.round != t.round || e.hash == h {
			return e
		}
	}
}

func (t *table) put(e *tableEntry, h hash, at place) {
	e.hash, e.round = h, t.round
	e.set(at)
	t.n++
}

package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	// fanOut is how many buckets identities are distributed over, by one byte of
	// their hashes.
	fanOut = 256
	// tableEntries bounds the events that each worker compares in memory at once: 8 MiB.
	tableEntries = 128 << 10
)

// hash is 128 bits of SHA-256 of an event's identity. Two different events with one
// hash cannot be expected, and nobody can prepare them.
type hash [16]byte

// place is where an event is stored.
type place struct {
	portion uint32 // index in identities.portions
	offset  int64
}

// identities finds every event of a source that is stored more than once. It keeps
// the hashes of all events in buckets of a temporary file, and compares one bucket
// after the other, so that memory does not grow with the log.
type identities struct {
	file     *spill
	limit    int // of the events that a worker compares in memory at once
	portions []*portion
	buckets  []bucket

	mu sync.Mutex // guards what found changes in portions
}

func newIdentities(dir string, blockBytes, limit int) *identities {
	return &identities{file: newSpill(dir, blockBytes), limit: limit, buckets: make([]bucket, fanOut)}
}

// add keeps an event. It is safe for concurrent use.
func (s *identities) add(id []byte, portion uint32, offset int64) error {
	sum := sha256.Sum256(id)
	h := hash(sum[:])
	return s.buckets[h[0]].add(s.file, h, place{portion, offset})
}

// compare looks for equal hashes, and counts what it found in the portions.
func (s *identities) compare(ctx context.Context, workers int) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			t := newTable(s.limit)
			for {
				i := next.Add(1) - 1
				if i >= fanOut {
					return nil
				}
				if err := s.compareBucket(ctx, &s.buckets[i], 1, t); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// compareBucket compares the events of a bucket. Those for which the table has no room go to
// buckets of the next level, by the next byte of the hash. Every copy of an event takes the same
// way: if the first one is in the table, the others meet it there; if it is not, the table stays
// full and the others follow it.
func (s *identities) compareBucket(ctx context.Context, b *bucket, level int, t *table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.clear()
	var rest []bucket
	err := b.each(s.file, func(h hash, at place) error {
		known := t.find(&h)
		switch {
		case known.offset >= 0:
			known.place = s.found(known.place, at)
			return nil
		case t.used < s.limit:
			t.used++
			*known = entry{h, at}
			return nil
		}
		if rest == nil {
			rest = make([]bucket, fanOut)
		}
		return rest[h[level]].add(s.file, h, at)
	})
	*b = bucket{} // frees its buffer
	for i := 0; i < len(rest) && err == nil; i++ {
		err = s.compareBucket(ctx, &rest[i], level+1, t)
	}
	return err
}

// found counts the later of two copies and returns the earlier one: blocks are not read in
// the order of the log.
func (s *identities) found(earlier, later place) place {
	if cmp.Or(cmp.Compare(later.portion, earlier.portion), cmp.Compare(later.offset, earlier.offset)) < 0 {
		earlier, later = later, earlier
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.portions[later.portion].storedAgain(later.offset, s.portions[earlier.portion], earlier.offset)
	return earlier
}

// close deletes the temporary file.
func (s *identities) close() error { return s.file.close() }

// table is a hash table with open addressing: half as fast again as a map.
type table struct {
	entries []entry // free where the offset is negative
	used    int
}

type entry struct {
	hash
	place
}

// newTable returns a table that is at most half full with limit entries.
func newTable(limit int) *table {
	return &table{entries: make([]entry, 1<<bits.Len(uint(2*limit-1)))}
}

func (t *table) clear() {
	for i := range t.entries {
		t.entries[i].offset = -1
	}
	t.used = 0
}

// find returns the entry of a hash, or the free one where it belongs.
func (t *table) find(h *hash) *entry {
	mask := uint64(len(t.entries) - 1)
	for i := binary.LittleEndian.Uint64(h[8:]) & mask; ; i = (i + 1) & mask {
		if e := &t.entries[i]; e.offset < 0 || e.hash == *h {
			return e
		}
	}
}

// copied is an event that is stored again.
type copied struct {
	offset  int64
	earlier *portion
	at      int64 // the earlier one's offset
}

// storedAgain counts an event of the portion that an earlier record holds, too. The
// first few are kept as examples.
func (l *portion) storedAgain(offset int64, earlier *portion, at int64) {
	l.doubled++
	i, _ := slices.BinarySearchFunc(l.copies, offset, func(c copied, offset int64) int { return cmp.Compare(c.offset, offset) })
	if i < maxProblems {
		l.copies = slices.Insert(l.copies, i, copied{offset, earlier, at})
		l.copies = l.copies[:min(len(l.copies), maxProblems)]
	}
}

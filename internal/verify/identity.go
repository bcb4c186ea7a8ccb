package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	// fanOut is how many buckets identities are distributed over, by one byte of
	// their hashes.
	fanOut = 256
	// tableEntries bounds the identities that are compared in memory at once, by
	// each worker: 8 MiB.
	tableEntries = 128 << 10
)

// identity is one stored event. The hash is 128 bits of SHA-256: two different
// events with one hash cannot be expected, and nobody can prepare them.
type identity struct {
	hi, lo uint64
	lane   uint32 // index in identities.lanes
	offset int64
}

// identities finds every event of a source that is stored more than once. It keeps
// the hashes of all events in buckets of a temporary file, and compares one bucket
// after the other, so that memory does not grow with the log.
type identities struct {
	file    *spill
	limit   int // of a table
	lanes   []*lane
	buckets []bucket

	mu sync.Mutex // guards what found changes in lanes
}

func newIdentities(dir string, blockBytes, limit int) *identities {
	return &identities{file: newSpill(dir, blockBytes), limit: limit, buckets: make([]bucket, fanOut)}
}

// add keeps an event. It is safe for concurrent use.
func (s *identities) add(id []byte, lane uint32, offset int64) error {
	sum := sha256.Sum256(id)
	e := identity{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:]), lane, offset}
	return s.buckets[e.digit(0)].add(s.file, e)
}

// digit returns the byte of the hash that distributes at a level.
func (e *identity) digit(level int) uint8 {
	if level < 8 {
		return uint8(e.hi >> (56 - 8*level))
	}
	return uint8(e.lo >> (120 - 8*level))
}

// compare looks for equal hashes, and tells the lanes what it found.
func (s *identities) compare(ctx context.Context, workers int) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			t := newIdentityTable(s.limit)
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

// compareBucket compares the identities of a bucket. Those that find no place in
// the table go to buckets of the next level. Every copy of an event takes the same
// way: if the first one is in the table, the others meet it there; if it is not,
// the table stays full and the others follow it.
func (s *identities) compareBucket(ctx context.Context, b *bucket, level int, t *identityTable) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.clear()
	var rest []bucket
	err := b.each(s.file, func(e identity) error {
		known := t.place(e)
		switch {
		case known.offset >= 0:
			s.found(e, known)
			return nil
		case t.used < t.limit:
			t.used++
			*known = e
			return nil
		}
		if rest == nil {
			rest = make([]bucket, fanOut)
		}
		return rest[e.digit(level)].add(s.file, e)
	})
	*b = bucket{} // frees its buffer
	if err != nil {
		return err
	}
	for i := range rest {
		if err := s.compareBucket(ctx, &rest[i], level+1, t); err != nil {
			return err
		}
	}
	return nil
}

// found counts the later of two copies and keeps the earlier one in the table:
// blocks are not read in the order of the log.
func (s *identities) found(e identity, known *identity) {
	earlier, later := *known, e
	if cmp.Or(cmp.Compare(later.lane, earlier.lane), cmp.Compare(later.offset, earlier.offset)) < 0 {
		earlier, later = later, earlier
	}
	*known = earlier
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes[later.lane].storedAgain(later.offset, s.lanes[earlier.lane], earlier.offset)
}

// close deletes the temporary file.
func (s *identities) close() error { return s.file.close() }

// identityTable is a hash table with open addressing. A place with a negative
// offset is free.
type identityTable struct {
	places []identity
	used   int
	limit  int
}

func newIdentityTable(limit int) *identityTable {
	size := 1
	for size < 2*limit {
		size *= 2
	}
	return &identityTable{places: make([]identity, size), limit: limit}
}

func (t *identityTable) clear() {
	for i := range t.places {
		t.places[i].offset = -1
	}
	t.used = 0
}

// place returns where the identity is, or the free place where it belongs.
func (t *identityTable) place(e identity) *identity {
	mask := uint64(len(t.places) - 1)
	for i := e.lo & mask; ; i = (i + 1) & mask {
		if p := &t.places[i]; p.offset < 0 || p.hi == e.hi && p.lo == e.lo {
			return p
		}
	}
}

// copied is an event that is stored again.
type copied struct {
	offset  int64
	earlier *lane
	at      int64 // the earlier one's offset
}

// storedAgain counts an event of the lane that an earlier record holds, too. The
// first few are kept as examples.
func (l *lane) storedAgain(offset int64, earlier *lane, at int64) {
	l.doubled++
	i, _ := slices.BinarySearchFunc(l.copies, offset, func(c copied, offset int64) int { return cmp.Compare(c.offset, offset) })
	if i < maxProblems {
		l.copies = slices.Insert(l.copies, i, copied{offset, earlier, at})
		l.copies = l.copies[:min(len(l.copies), maxProblems)]
	}
}

package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
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
			table := newTable(s.limit)
			for {
				i := next.Add(1) - 1
				if i >= fanOut {
					return nil
				}
				if err := s.compareBucket(ctx, &s.buckets[i], 1, table); err != nil {
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
func (s *identities) compareBucket(ctx context.Context, b *bucket, level int, table *table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	table.clear()
	var rest []bucket
	err := b.each(s.file, func(h hash, at place) error {
		switch e := table.find(h); {
		case e.round == table.round:
			e.set(s.found(e.place(), at))
			return nil
		case table.n < s.limit:
			table.put(e, h, at)
			return nil
		}
		if rest == nil {
			rest = make([]bucket, fanOut)
		}
		return rest[h[level]].add(s.file, h, at)
	})
	s.file.give(b)
	for i := 0; i < len(rest) && err == nil; i++ {
		err = s.compareBucket(ctx, &rest[i], level+1, table)
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

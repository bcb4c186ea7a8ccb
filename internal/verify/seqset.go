package verify

import (
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// Sequence numbers are kept as bits, in chunks that exist only where a number was
// seen: a trimmed log begins in the millions, and a header can say anything.
const (
	chunkBits  = 1 << 16
	chunkWords = chunkBits / 64
	// maxChunks bounds the memory of a set to 512 MiB, which is 4.3 billion dense
	// numbers.
	maxChunks = 1 << 16
)

type seqChunk struct{ words [chunkWords]uint64 }

// seqSet is a set of sequence numbers, safe for concurrent use through writers.
type seqSet struct {
	mu     sync.Mutex
	chunks map[int64]*seqChunk
	full   bool // a number did not fit
}

func newSeqSet() *seqSet { return &seqSet{chunks: map[int64]*seqChunk{}} }

func (s *seqSet) chunk(n int64) *seqChunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chunks[n]
	if c == nil {
		if len(s.chunks) >= maxChunks {
			s.full = true
			return nil
		}
		c = &seqChunk{}
		s.chunks[n] = c
	}
	return c
}

// seqWriter adds to a set. Numbers come nearly in order, so it keeps its chunk.
type seqWriter struct {
	set   *seqSet
	n     int64
	chunk *seqChunk
}

// add adds a number, at least 0, and reports whether it was there before.
func (w *seqWriter) add(seq int64) (again bool) {
	if n := seq / chunkBits; w.chunk == nil || n != w.n {
		if w.chunk = w.set.chunk(n); w.chunk == nil {
			return false
		}
		w.n = n
	}
	i := seq % chunkBits
	bit := uint64(1) << (i % 64)
	// Partitions that are read at once have neighbouring numbers.
	return atomic.OrUint64(&w.chunk.words[i/64], bit)&bit != 0
}

// seqRange is the numbers from first to last, both included.
type seqRange struct{ first, last int64 }

// missing counts the numbers from from up to but not including to that are not in
// the set, and returns the first few ranges of them. Nothing may write
// meanwhile.
func (s *seqSet) missing(from, to int64, examples int) (count int64, out []seqRange) {
	next := from // below it every number is accounted for
	present := func(seq int64) {
		if next < seq {
			count += seq - next
			if len(out) < examples {
				out = append(out, seqRange{next, seq - 1})
			}
		}
		next = seq + 1
	}
	for _, n := range slices.Sorted(maps.Keys(s.chunks)) {
		for i, word := range s.chunks[n].words {
			first := n*chunkBits + int64(i)*64
			for ; word != 0; word &= word - 1 {
				if seq := first + int64(bits.TrailingZeros64(word)); seq >= next && seq < to {
					present(seq)
				}
			}
		}
	}
	present(to)
	return count, out
}

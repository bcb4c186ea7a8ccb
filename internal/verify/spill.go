package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
)

const (
	// blockBytes is the size of a block: large enough for a disk, small enough for
	// one in memory for each bucket.
	blockBytes = 32 << 10
	blockHead  = 8  // the place of the bucket's block before it
	entryBytes = 28 // hash, portion, offset
	noBlock    = -1
)

// spill is a temporary file of blocks of one size. It is made when the first block
// is written, and has no name where the system allows that: then it is gone with
// the process, however that ends.
type spill struct {
	dir   string
	block int   // bytes
	need  int64 // bytes that the file will have at least, for the message

	mu   sync.Mutex
	f    *os.File
	name string // to be deleted at the end; empty: it is already
	end  int64
	free [][]byte // blocks in memory that no bucket has any more
}

func newSpill(dir string, block int) *spill {
	if dir == "" {
		dir = os.TempDir()
	}
	return &spill{dir: dir, block: blockHead + (block-blockHead)/entryBytes*entryBytes}
}

// write appends a block and returns its place.
func (s *spill) write(block []byte) (at int64, err error) {
	s.mu.Lock()
	if s.f == nil {
		err = s.create()
	}
	at = s.end
	s.end += int64(len(block))
	s.mu.Unlock()
	if err == nil {
		_, err = s.f.WriteAt(block, at)
	}
	if err != nil {
		return 0, s.failed(err)
	}
	return at, nil
}

func (s *spill) create() error {
	f, err := os.CreateTemp(s.dir, "weir-verify-*")
	if err != nil {
		return err
	}
	s.f = f
	if os.Remove(f.Name()) != nil { // some systems keep the name while the file is open
		s.name = f.Name()
	}
	return nil
}

func (s *spill) read(at int64, block []byte) error {
	if _, err := s.f.ReadAt(block, at); err != nil {
		return s.failed(err)
	}
	return nil
}

func (s *spill) failed(err error) error {
	return fmt.Errorf("temporary file in %s (it needs about %d MB): %w; free space there, or set TMPDIR to a directory on another disk", s.dir, max(1, s.need>>20), err)
}

func (s *spill) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
	}
	s.f = nil
	return err
}

// take returns a block in memory for a bucket, with room for its head.
func (s *spill) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	return make([]byte, blockHead, s.block)
}

// give keeps the block of a bucket, which is empty from now on, for another one: a long log
// has tens of thousands of buckets.
func (s *spill) give(b *bucket) {
	if b.buf == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, b.buf[:blockHead])
	b.buf = nil
}

// bucket is a list of identities: one block in memory, and the full ones in the
// file, each of which says where the one before it is.
type bucket struct {
	mu  sync.Mutex
	buf []byte
}

func (b *bucket) add(file *spill, h hash, at place) (err error) {
	b.mu.Lock()
	if len(b.buf) == cap(b.buf) { // full, or the first
		err = b.next(file)
	}
	if err == nil {
		b.buf = append(b.buf, h[:]...)
		b.buf = binary.LittleEndian.AppendUint32(b.buf, at.portion)
		b.buf = binary.LittleEndian.AppendUint64(b.buf, uint64(at.offset))
	}
	b.mu.Unlock() // without defer: it is called for every event
	return err
}

// next writes the block in memory to the file, if there is one, and begins another.
func (b *bucket) next(file *spill) error {
	before := int64(noBlock)
	if b.buf == nil {
		b.buf = file.take()
	} else {
		var err error
		if before, err = file.write(b.buf); err != nil {
			return err
		}
	}
	b.buf = b.buf[:blockHead]
	b.follow(before)
	return nil
}

// follow writes where the block before the one in memory is.
func (b *bucket) follow(at int64) {
	binary.LittleEndian.PutUint64(b.buf, uint64(at))
}

// each calls f for every identity, the latest block first. Nothing may add
// meanwhile.
func (b *bucket) each(file *spill, f func(hash, place) error) error {
	for block := b.buf; len(block) > 0; {
		for i := blockHead; i < len(block); i += entryBytes {
			p := block[i : i+entryBytes]
			at := place{binary.LittleEndian.Uint32(p[16:]), int64(binary.LittleEndian.Uint64(p[20:]))}
			if err := f(hash(p[:16]), at); err != nil {
				return err
			}
		}
		before := int64(binary.LittleEndian.Uint64(block))
		if before == noBlock {
			return nil
		}
		block = block[:cap(block)]
		if err := file.read(before, block); err != nil {
			return err
		}
	}
	return nil
}

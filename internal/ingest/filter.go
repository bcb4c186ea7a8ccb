package ingest

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// maxFiltered bounds the identities that a filter keeps, and with 32 bytes each
// its memory: 128 MiB, grown into only where events come that fast. It covers the
// half minute that Jetstream can send again at 140,000 events/s; with less, a
// restart after a crash at such a rate would store the oldest of them twice.
const maxFiltered = 1 << 22

// memory says how much the duplicate filter holds beyond its window.
type memory struct {
	limit int // identities
	// tail is how many records at the end of a partition the filter is always
	// rebuilt from: time alone would miss one with a stamp from long ago.
	tail int64
	// spare is how many identities must fit into the filter beside what a look back would add.
	spare int
	// batch is at least as many events as a source puts into a batch.
	batch int
}

var usual = memory{limit: maxFiltered, tail: 500, spare: 1 << 16, batch: 1024}

// filter remembers the identities of events for a window of event time, to drop
// what upstream delivers a second time. It is not safe for concurrent use.
//
// It is a ring of hashes in order of arrival and a hash table of places in the
// ring: half the memory of a map, none of it for the garbage collector to visit.
type filter struct {
	// The seeds are this process's own, so that nobody can make up two events
	// that it takes for one; 128 bits, so that chance does not either.
	seeds [2]maphash.Seed
	ring  []remembered
	head  int      // the oldest
	n     int      // how many
	table []uint32 // place in the ring plus 1, 0 for none; linear probing, a power of two

	window int64 // microseconds
	newest int64 // upstream's clock, Unix microseconds
	limit  int
	// keep is how many of the newest identities stay however old they are.
	keep int
	// since is from when on, in Unix microseconds of event time, the filter holds all
	// that was stored, beyond its window.
	since int64
	// early counts identities that had to go while they were within the window.
	early int64
	// touched is kept so that reading what is not needed yet is not left out.
	touched uint64
}

type ident [2]uint64

type remembered struct {
	id    ident
	clock int64 // newest at arrival
}

func newFilter(window time.Duration, limit int) *filter {
	return &filter{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		window: window.Microseconds(),
		limit:  limit,
		since:  nothingOlder,
	}
}

// advance moves upstream's clock forward and forgets what has left the window.
func (f *filter) advance(clock int64) {
	f.tick(clock)
	f.expire()
}

// tick moves upstream's clock forward. The clock is the cursor's and not an
// event's: one event with a stamp far ahead must not empty the filter.
func (f *filter) tick(clock int64) { f.newest = max(f.newest, clock) }

// expire forgets what has left the window. It belongs after a batch: a quiet
// stream's batch can begin with what was delivered before, and end hours later.
func (f *filter) expire() {
	for f.n > f.keep && f.newest-f.ring[f.head].clock > f.window {
		f.forget()
	}
}

// ident returns what the filter knows an identity by.
func (f *filter) ident(id []byte) ident {
	return ident{maphash.Bytes(f.seeds[0], id), maphash.Bytes(f.seeds[1], id)}
}

// touch reads what add will read for each of the events. Beside each other the processor
// waits for the memory of several at once, and in add for one after the other.
func (f *filter) touch(events []event.Event) {
	if f.n == 0 {
		return
	}
	for i := range events {
		f.touched += f.ring[max(f.table[f.home(events[i].Sum)], 1)-1].id[0]
	}
}

// fresh remembers an identity and reports whether it is new. An empty one always is.
func (f *filter) fresh(id []byte) bool { return len(id) == 0 || f.add(f.ident(id)) }

// has reports whether an identity is remembered.
func (f *filter) has(k ident) bool {
	if f.n == 0 {
		return false
	}
	_, seen := f.find(k)
	return seen
}

// add is fresh for an identity that is not empty.
func (f *filter) add(k ident) bool { return f.put(remembered{k, f.newest}) }

// put is add with a time of arrival.
func (f *filter) put(r remembered) bool {
	if f.n == len(f.ring) && f.n < f.limit {
		f.grow()
	}
	slot, seen := f.find(r.id)
	if seen {
		return false
	}
	if f.n == f.limit {
		f.forget()
		f.early++
		slot, _ = f.find(r.id) // what was forgotten may have moved the gap
	}
	at := (f.head + f.n) % len(f.ring)
	f.ring[at] = r
	f.table[slot] = uint32(at + 1)
	f.n++
	return true
}

// find returns the slot of the table that holds k, or else the one to put it in.
func (f *filter) find(k ident) (slot int, found bool) {
	for slot = f.home(k); f.table[slot] != 0; slot = f.after(slot) {
		if f.ring[f.table[slot]-1].id == k {
			return slot, true
		}
	}
	return slot, false
}

func (f *filter) home(k ident) int      { return int(k[0] & uint64(len(f.table)-1)) }
func (f *filter) after(slot int) int    { return (slot + 1) & (len(f.table) - 1) }
func (f *filter) distance(a, b int) int { return (b - a) & (len(f.table) - 1) }

// forget drops the oldest identity.
func (f *filter) forget() {
	f.since = nothingOlder
	gap, _ := f.find(f.ring[f.head].id)
	f.head = (f.head + 1) % len(f.ring)
	f.n--
	// Whatever was pushed past the gap when it was full moves back into it, so
	// that a search may still end at the first empty slot.
	for s := f.after(gap); f.table[s] != 0; s = f.after(s) {
		home := f.home(f.ring[f.table[s]-1].id)
		if f.distance(home, s) >= f.distance(gap, s) {
			f.table[gap] = f.table[s]
			gap = s
		}
	}
	f.table[gap] = 0
}

// grow doubles the ring and makes a table twice its size.
func (f *filter) grow() {
	ring := make([]remembered, min(max(1024, 2*len(f.ring)), f.limit))
	n := copy(ring, f.ring[f.head:])
	copy(ring[n:], f.ring[:f.head])
	f.ring, f.head = ring, 0
	f.table = make([]uint32, 1<<bits.Len(uint(2*len(ring)-1)))
	for i := range f.n {
		slot, _ := f.find(ring[i].id)
		f.table[slot] = uint32(i + 1)
	}
}

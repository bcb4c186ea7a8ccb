package verify

import "hash/maphash"

// identityEntries bounds the identities that are remembered, over all partitions
// that are read at once, at 24 bytes each and two thirds of the places filled:
// 150 MB at most.
const identityEntries = 4 << 20

type identity struct {
	hash   uint64 // 0: the place is free
	timeUS int64
	offset int64
}

// identityTable is a hash table with open addressing.
type identityTable struct {
	places []identity
	used   int
}

// identities remembers the identities of a partition's latest events, in two
// generations of which the older is dropped as a whole. Events come in the order
// of the log, so what is doubled is close to its twin.
type identities struct {
	seed     maphash.Seed // identities come from outside: nobody can prepare collisions
	limit    int          // of one generation
	windowUS int64
	now, old identityTable
	begunUS  int64 // the earliest event time of the generation that is filled
	newestUS int64
	dropped  bool // a generation was dropped that the window still covers
}

func newIdentities(seed maphash.Seed, limit int, windowUS int64) *identities {
	return &identities{seed: seed, limit: max(1024, limit/2), windowUS: windowUS}
}

// add remembers an event. If its identity is remembered already, it returns the
// earlier one's time and offset.
func (s *identities) add(id []byte, timeUS, offset int64) (timeBefore, offsetBefore int64, again bool) {
	h := maphash.Bytes(s.seed, id)
	if h == 0 {
		h = 1
	}
	for _, t := range []*identityTable{&s.now, &s.old} {
		if e := t.find(h); e != nil {
			return e.timeUS, e.offset, true
		}
	}
	if timeUS > 0 {
		s.newestUS = max(s.newestUS, timeUS)
		if s.begunUS == 0 {
			s.begunUS = timeUS
		}
	}
	if s.now.used >= s.limit || s.windowUS > 0 && s.newestUS-s.begunUS > s.windowUS && s.now.used > 0 {
		s.dropped = s.dropped || s.old.used > 0 && s.newestUS-s.begunUS <= s.windowUS
		s.old, s.now = s.now, identityTable{}
		s.begunUS = timeUS
	}
	s.now.insert(identity{h, timeUS, offset})
	return 0, 0, false
}

func (t *identityTable) find(h uint64) *identity {
	if len(t.places) == 0 {
		return nil
	}
	mask := uint64(len(t.places) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch e := &t.places[i]; e.hash {
		case h:
			return e
		case 0:
			return nil
		}
	}
}

func (t *identityTable) insert(e identity) {
	if 3*t.used >= 2*len(t.places) {
		grown := identityTable{places: make([]identity, max(1024, 2*len(t.places)))}
		for _, old := range t.places {
			if old.hash != 0 {
				grown.put(old)
			}
		}
		*t = grown
	}
	t.put(e)
}

func (t *identityTable) put(e identity) {
	mask := uint64(len(t.places) - 1)
	i := e.hash & mask
	for t.places[i].hash != 0 {
		i = (i + 1) & mask
	}
	t.places[i] = e
	t.used++
}

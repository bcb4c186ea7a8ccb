package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sort"
)

// Limits of a rate in events per second. Above a million, stamps in whole
// microseconds could not all differ.
const (
	MinRate = 0.001
	MaxRate = 1_000_000
)

// Segment is a part of a timeline with one rate.
type Segment struct {
	// StartUS is when its first event happens, in Unix microseconds.
	StartUS int64 `json:"start_us"`
	// Index is its first event.
	Index int64 `json:"index"`
	// Rate is in events per second, from MinRate to MaxRate.
	Rate float64 `json:"rate"`
	// Variant is which events happen: the collections, or the data centre.
	Variant string `json:"variant"`
}

// milli is the rate in events per thousand seconds: whole, so that index and
// time convert without rounding differently on the way back.
func (s *Segment) milli() uint64 { return uint64(math.Round(s.Rate * 1000)) }

// Segments maps indices to times and back. It is a pure value: stamps differ and
// increase with the index, and a segment is never changed once events of it can
// have been seen.
type Segments []Segment

// validate says what is wrong with segments that were read from a file.
func (s Segments) validate() error {
	if len(s) == 0 {
		return errors.New("no segments")
	}
	for k := range s {
		switch g := &s[k]; {
		case !(g.Rate >= MinRate && g.Rate <= MaxRate):
			return fmt.Errorf("segment %d: rate %v is not between %v and %v", k, g.Rate, MinRate, MaxRate)
		case g.StartUS < 0 || g.Index < 0:
			return fmt.Errorf("segment %d: negative start or index", k)
		case k > 0 && (g.Index < s[k-1].Index || g.StartUS <= s[k-1].StartUS):
			return fmt.Errorf("segment %d: begins before segment %d", k, k-1)
		}
	}
	return nil
}

// Of returns the segment that event i belongs to.
func (s Segments) Of(i int64) *Segment {
	k := sort.Search(len(s), func(k int) bool { return s[k].Index > i })
	return &s[max(k-1, 0)]
}

// end is the first event after a segment of s; there is none after the last.
func (s Segments) end(g *Segment) int64 {
	for k := range s {
		if s[k].Index > g.Index {
			return s[k].Index
		}
	}
	return math.MaxInt64
}

// Time is when event i happens, in Unix microseconds.
func (s Segments) Time(i int64) int64 {
	g := s.Of(i)
	return g.time(i)
}

func (s *Segment) time(i int64) int64 {
	if i <= s.Index {
		return s.StartUS
	}
	hi, lo := bits.Mul64(uint64(i-s.Index), 1e9)
	m := s.milli()
	if hi >= m {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, m)
	if q > math.MaxInt64-uint64(s.StartUS) {
		return math.MaxInt64
	}
	return s.StartUS + int64(q)
}

// Until is how many events have happened at a time, that moment included: the
// index of the first one that is still to come.
func (s Segments) Until(us int64) int64 {
	k := sort.Search(len(s), func(k int) bool { return s[k].StartUS > us }) - 1
	if k < 0 {
		return s[0].Index
	}
	g := &s[k]
	n := g.Index + g.count(us-g.StartUS)
	if k+1 < len(s) {
		n = min(n, s[k+1].Index)
	}
	return n
}

// count is how many events a segment has in its first d microseconds and at d.
func (s *Segment) count(d int64) int64 {
	hi, lo := bits.Mul64(uint64(d)+1, s.milli())
	if hi >= 1e9 {
		return math.MaxInt64 / 2
	}
	q, rem := bits.Div64(hi, lo, 1e9)
	if rem > 0 {
		q++
	}
	return int64(min(q, math.MaxInt64/2))
}

package upstream

import "slices"

// votes is how many events must stand far ahead before the position follows
// them. One is not enough: a server has been seen to stamp a single event an hour
// ahead, and a position there would make it leave out that hour at the next resume.
const votes = 3

// Steady is how far a stream has got, by a number that rises with it: a sequence
// number, or a time. No single event can move it further than its step. The zero
// value is not usable.
type Steady struct {
	at    int64
	step  int64
	sure  bool
	ahead []int64 // those that stand further ahead than step, fewer than votes
}

// NewSteady returns a Steady that stands nowhere yet. step is how far ahead one event
// may take it, in the number's own unit; it must be less than what a resume asks
// to be sent again.
func NewSteady(step int64) Steady { return Steady{step: step} }

// At returns the position, 0 while there is none.
func (s *Steady) At() int64 { return s.at }

// Sure reports whether more than one event has confirmed the position.
func (s *Steady) Sure() bool { return s.sure }

// Trust takes a number that is known to be right by other means.
func (s *Steady) Trust(v int64) {
	if v <= 0 {
		return
	}
	if v > s.at || !s.sure && v < s.at-s.step {
		s.at, s.ahead = v, s.ahead[:0]
	}
	s.sure = true
}

// Near reports whether v is not ahead of the position, and so close behind it that
// a resume at the position sends it again. A v of 0, "not known", always is.
func (s *Steady) Near(v int64) bool { return s.Behind(v, s.step) }

// Behind reports whether v is not ahead of the position, and at most so far behind it. A v of 0,
// "not known", always is.
func (s *Steady) Behind(v, most int64) bool { return v <= 0 || v <= s.at && v >= s.at-most }

// Ahead reports whether v would need other events to confirm it.
func (s *Steady) Ahead(v int64) bool { return v > s.at+s.step }

// Follow takes an event's number, and reports whether the position moved. What stands further
// behind says nothing: servers repeat. Nor does a v of 0 or below.
func (s *Steady) Follow(v int64) (moved bool) {
	switch {
	case v <= 0:
		return false
	case s.at == 0:
		s.at = v
		return true
	case !s.sure && v < s.at-s.step: // the first one may have been the one that was wrong
		s.at, s.ahead = v, s.ahead[:0]
		return true
	case v < s.at-s.step:
		return false
	case v <= s.at:
		s.sure, s.ahead = true, s.ahead[:0]
		return false
	case !s.Ahead(v):
		s.at, s.sure, s.ahead = v, true, s.ahead[:0]
		return true
	}
	if s.ahead = append(s.ahead, v); len(s.ahead) < votes {
		return false
	}
	slices.Sort(s.ahead)
	s.at, s.sure = s.ahead[0], true
	rest := s.ahead[:0]
	for _, v := range s.ahead {
		if s.Ahead(v) {
			rest = append(rest, v) // still needs others
		} else {
			s.at = v
		}
	}
	s.ahead = rest
	return true
}

package upstream

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSteady(t *testing.T) {
	const step = 10
	for name, tt := range map[string]struct {
		in   []int64
		want int64
		sure bool
	}{
		"nothing":                               {nil, 0, false},
		"what is not known":                     {[]int64{0, -5}, 0, false},
		"one":                                   {[]int64{5}, 5, false},
		"two":                                   {[]int64{5, 6}, 6, true},
		"out of order":                          {[]int64{5, 9, 7}, 9, true},
		"a step":                                {[]int64{5, 15}, 15, true},
		"one far ahead":                         {[]int64{5, 6, 1000}, 6, true},
		"two far ahead":                         {[]int64{5, 6, 1000, 1001}, 6, true},
		"three far ahead":                       {[]int64{5, 6, 1000, 1001, 1002}, 1002, true},
		"three, out of order":                   {[]int64{5, 6, 1002, 1000, 1001}, 1002, true},
		"three, each far ahead of the other":    {[]int64{5, 6, 1000, 2000, 3000}, 1000, true},
		"four, each far ahead of the other":     {[]int64{5, 6, 1000, 2000, 3000, 4000}, 2000, true},
		"three, one of them out of the world":   {[]int64{5, 6, 1 << 60, 1000, 1001}, 1001, true},
		"far ahead, with the stream in between": {[]int64{5, 6, 1000, 7, 1001, 8, 1002, 9}, 9, true},
		"far ahead, with old ones in between":   {[]int64{505, 506, 1000, 4, 1001, 5, 1002}, 1002, true},
		"the first far ahead":                   {[]int64{1000, 5}, 5, false},
		"the first far ahead, then two":         {[]int64{1000, 5, 6}, 6, true},
	} {
		s := NewSteady(step)
		for _, v := range tt.in {
			before := s.At()
			if moved := s.Follow(v); moved != (s.At() != before) {
				t.Errorf("%s: Follow(%d) says moved %v, from %d to %d", name, v, moved, before, s.At())
			}
		}
		if s.At() != tt.want || s.Sure() != tt.sure {
			t.Errorf("%s: at %d, sure %v; want %d, %v", name, s.At(), s.Sure(), tt.want, tt.sure)
		}
	}
}

func TestSteadyTrust(t *testing.T) {
	s := NewSteady(10)
	s.Trust(0)
	if s.Sure() || s.At() != 0 {
		t.Errorf("trusting nothing: at %d, sure %v", s.At(), s.Sure())
	}
	s.Follow(1000)
	s.Trust(50)
	s.Trust(40)
	if s.At() != 50 || !s.Sure() {
		t.Errorf("at %d, sure %v; want 50: what is trusted beats one event", s.At(), s.Sure())
	}
}

// However a rising stream is mixed with lies, of which no three come before the next true
// number: the position is never more than a step ahead of the truth, and follows it.
func TestSteadyUnderLies(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		const step = 100
		s := NewSteady(step)
		truth := 1_000_000 + rnd.Int64N(1000)
		s.Follow(truth)
		s.Follow(truth)
		lies := 0
		for range 200 {
			switch {
			case lies < votes-1 && rnd.IntN(3) == 0:
				lies++
				s.Follow(rnd.Int64N(4_000_000))
			default:
				lies = 0
				truth += rnd.Int64N(step / 2)
				s.Follow(truth - rnd.Int64N(step/4))
				s.Follow(truth)
			}
			if s.At() > truth+step {
				t.Fatalf("at %d, and the stream has got to %d", s.At(), truth)
			}
		}
		for range votes {
			s.Follow(truth)
		}
		if s.At() < truth {
			t.Fatalf("at %d, and the stream has got to %d", s.At(), truth)
		}
	}
}

// Three events of a jump confirm each other in whatever order they come.
func TestSteadyVotesInAnyOrder(t *testing.T) {
	for _, order := range [][]int64{{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}} {
		s := NewSteady(10)
		s.Follow(5)
		s.Follow(5)
		for _, v := range order {
			s.Follow(v * 1000)
		}
		if want := slices.Min(order) * 1000; s.At() != want {
			t.Errorf("%v thousand: at %d, want %d", order, s.At(), want)
		}
	}
}

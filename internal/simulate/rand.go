package simulate

import "math/bits"

// rng is SplitMix64: a generator that starts from any state for free, which is
// what an event that is a function of its index needs.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return scramble(uint64(*r))
}

// below returns a number in [0, n). The bias is under n / 2^64.
func (r *rng) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// zipfShift flattens the head of a Zipf distribution: the first of a million has
// 0.2 % then.
const zipfShift = 50

// zipf returns a number in [0, n), nearly Zipf-Mandelbrot distributed: uniform
// over octaves. It takes whole numbers only, as math.Exp and fused
// multiplication differ between processors, and an event must not. octaves is
// log2((n + zipfShift) / zipfShift) in 1/65536.
func (r *rng) zipf(octaves, n uint64) uint64 {
	k := r.next() >> 32 * octaves >> 32
	base := uint64(zipfShift) << (k >> 16)
	return min(base+base*(k&0xffff)>>16-zipfShift, n-1)
}

// weighted is one of several choices.
type weighted interface{ share() int }

// pick returns the choice that a number below the sum of all weights belongs to.
func pick[T weighted](choices []T, n int) int {
	for k, c := range choices {
		if n -= c.share(); n < 0 {
			return k
		}
	}
	return 0
}

// total is the sum of all weights.
func total[T weighted](choices []T) (n int) {
	for _, c := range choices {
		n += c.share()
	}
	return n
}

func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// derive gives the state for item i of the thing that key stands for.
func derive(key uint64, i int64) uint64 {
	return scramble(key ^ scramble(uint64(i)+0x632be59bd9b4e019))
}

// keyOf turns a name into a key of its own below another.
func keyOf(parent uint64, name string) uint64 {
	h := parent ^ 0xcbf29ce484222325
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return scramble(h)
}

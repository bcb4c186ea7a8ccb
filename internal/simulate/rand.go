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

const (
	base32Lower = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, as in DIDs and CIDs
	base32Sort  = "234567abcdefghijklmnopqrstuvwxyz" // sorts as its numbers do, as in TIDs
	hexDigits   = "0123456789abcdef"
)

// appendBase32 appends n characters made of random bits.
func appendBase32(dst []byte, r *rng, n int) []byte {
	for n > 0 {
		z := r.next()
		for k := min(n, 12); k > 0; k-- {
			dst = append(dst, base32Lower[z&31])
			z >>= 5
			n--
		}
	}
	return dst
}

// appendTID appends a timestamp identifier: 53 bits of microseconds and 10 bits
// of clock id in 13 characters (atproto.com/specs/tid).
func appendTID(dst []byte, tid uint64) []byte {
	var b [13]byte
	for i := 12; i >= 0; i-- {
		b[i] = base32Sort[tid&31]
		tid >>= 5
	}
	return append(dst, b[:]...)
}

// appendCID appends a CID version 1 of a SHA-256 digest that nothing has; codec
// is "bafyrei" (dag-cbor) or "bafkrei" (raw).
func appendCID(dst []byte, codec string, r *rng) []byte {
	dst = append(dst, codec...)
	z := r.next()
	dst = append(dst, base32Lower[z&7]) // two bits of the prefix remain
	dst = appendBase32(dst, r, 50)
	return append(dst, base32Lower[(z>>3&7)<<2]) // two bits of padding
}

// appendUUID appends a random (version 4) UUID.
func appendUUID(dst []byte, hi, lo uint64) []byte {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	var b [36]byte
	put := func(at int, v uint64, digits int) {
		for k := digits - 1; k >= 0; k-- {
			b[at+k] = hexDigits[v&15]
			v >>= 4
		}
	}
	put(0, hi>>32, 8)
	put(9, hi>>16, 4)
	put(14, hi, 4)
	put(19, lo>>48, 4)
	put(24, lo, 12)
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return append(dst, b[:]...)
}

// appendTime appends a time in UTC as RFC 3339 with the given number of
// fractional digits: 0, 3 or 6.
func appendTime(dst []byte, us int64, digits int) []byte {
	sec, frac := us/1e6, us%1e6
	day, rem := sec/86400, sec%86400
	// Days to a civil date; the era begins on 0000-03-01.
	z := day + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d, m, y := doy-(153*mp+2)/5+1, mp+3, yoe+era*400
	if m > 12 {
		m -= 12
	}
	if m <= 2 {
		y++
	}
	dst = appendPadded(dst, y, 4)
	dst = appendPadded(append(dst, '-'), m, 2)
	dst = appendPadded(append(dst, '-'), d, 2)
	dst = appendPadded(append(dst, 'T'), rem/3600, 2)
	dst = appendPadded(append(dst, ':'), rem/60%60, 2)
	dst = appendPadded(append(dst, ':'), rem%60, 2)
	switch digits {
	case 3:
		dst = appendPadded(append(dst, '.'), frac/1000, 3)
	case 6:
		dst = appendPadded(append(dst, '.'), frac, 6)
	}
	return append(dst, 'Z')
}

func appendPadded(dst []byte, v int64, width int) []byte {
	var b [20]byte
	for k := width - 1; k >= 0; k-- {
		b[k] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, b[:width]...)
}

package simulate

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// output is text that is being written, mostly JSON. Its methods append and return
// it, so that a line of code reads like the text that it makes.
type output []byte

func (o *output) put(text string) *output {
	*o = append(*o, text...)
	return o
}

func (o *output) num(n int64) *output {
	*o = strconv.AppendInt(*o, n, 10)
	return o
}

func (o *output) flag(b bool) *output {
	*o = strconv.AppendBool(*o, b)
	return o
}

// one appends one of several texts.
func (o *output) one(r *rng, texts []string) *output { return o.put(texts[r.below(len(texts))]) }

// fill appends letters until there are n bytes.
func (o *output) fill(n int) *output {
	*o = append(*o, bytes.Repeat([]byte{'A'}, max(n-len(*o), 0))...)
	return o
}

const (
	base32Lower = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, as in DIDs and CIDs
	base32Sort  = "234567abcdefghijklmnopqrstuvwxyz" // sorts as its numbers do, as in TIDs
)

// base32 appends n characters made of random bits.
func (o *output) base32(r *rng, n int) *output {
	dst := *o
	for n > 0 {
		z := r.next()
		for k := min(n, 12); k > 0; k-- {
			dst = append(dst, base32Lower[z&31])
			z >>= 5
			n--
		}
	}
	*o = dst
	return o
}

// tid appends a timestamp identifier: 53 bits of microseconds and 10 bits of
// clock id in 13 characters (atproto.com/specs/tid).
func (o *output) tid(tid uint64) *output {
	var b [13]byte
	for i := 12; i >= 0; i-- {
		b[i] = base32Sort[tid&31]
		tid >>= 5
	}
	*o = append(*o, b[:]...)
	return o
}

// cid appends a CID version 1 of a random SHA-256 digest; codec is
// "bafyrei" (dag-cbor) or "bafkrei" (raw).
func (o *output) cid(codec string, r *rng) *output {
	z := r.next()
	// Two bits of the prefix remain at the beginning, two bits of padding at the end.
	*o = append(*o.put(codec), base32Lower[z&7])
	*o = append(*o.base32(r, 50), base32Lower[(z>>3&7)<<2])
	return o
}

// uuid appends a random (version 4) UUID.
func (o *output) uuid(hi, lo uint64) *output {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi&^0xf000|0x4000)
	binary.BigEndian.PutUint64(b[8:], lo&^(3<<62)|2<<62)
	var h [32]byte
	hex.Encode(h[:], b[:])
	dst := append(*o, h[:8]...)
	for k := 8; k < 20; k += 4 {
		dst = append(append(dst, '-'), h[k:k+4]...)
	}
	*o = append(append(dst, '-'), h[20:]...)
	return o
}

// time appends a time in UTC as RFC 3339, with milliseconds or whole seconds.
func (o *output) time(us int64, millis bool) *output {
	*o = time.Unix(us/1e6, 0).UTC().AppendFormat(*o, time.RFC3339)
	if millis {
		ms := us / 1000 % 1000
		*o = append((*o)[:len(*o)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
	}
	return o
}

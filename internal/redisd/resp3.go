package redisd

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// shape is the form that RESP3 gives to a reply where RESP2, which miniredis writes
// for both, has another (redis.io/docs, "RESP3 replies" of each command).
type shape uint8

const (
	asIs shape = iota
	// inPairs is a list of pairs, which RESP2 has as one flat list.
	inPairs
	// asMap is a map, which RESP2 has as a list of pairs.
	asMap
)

// shapeOf returns the form of the reply to a request.
func shapeOf(args []string) shape {
	has := func(option string) bool {
		return slices.ContainsFunc(args[1:], func(a string) bool { return strings.EqualFold(a, option) })
	}
	switch strings.ToUpper(args[0]) {
	case "XREAD", "XREADGROUP":
		return asMap
	case "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANDMEMBER", "ZUNION", "ZINTER", "ZDIFF":
		if has("WITHSCORES") {
			return inPairs
		}
	case "HRANDFIELD":
		if has("WITHVALUES") {
			return inPairs
		}
	case "ZPOPMIN", "ZPOPMAX":
		if len(args) > 2 { // a count; one member alone is flat in both
			return inPairs
		}
	}
	return asIs
}

// inShape lets miniredis answer a client that speaks RESP3.
func (c *client) inShape(args []string) {
	c.peer.Flush()
	from := c.out.size()
	queueing := c.multi
	c.dispatch(args)
	c.peer.Flush()
	c.out.rewrite(from, func(reply []byte) []byte {
		switch {
		case queueing && bytes.HasPrefix(reply, []byte("+QUEUED")):
			c.queued = append(c.queued, shapeOf(args))
			return reply
		case strings.EqualFold(args[0], "EXEC"):
			return reshapeEach(reply, c.queued)
		}
		return reshape(reply, shapeOf(args))
	})
}

// reshapeEach gives each element of an array its form.
func reshapeEach(reply []byte, shapes []shape) []byte {
	n, at := header(reply)
	if n != len(shapes) {
		return reshape(reply, asIs)
	}
	out := slices.Clone(reply[:at])
	for _, s := range shapes {
		end := skip(reply, at)
		if end < 0 {
			return reply
		}
		out, at = append(out, reshape(reply[at:end], s)...), end
	}
	return append(out, reply[at:]...)
}

// reshape gives one reply its form. What does not look as expected, such as an error,
// stays as it is.
func reshape(reply []byte, s shape) []byte {
	n, at := header(reply)
	if n < 0 {
		if string(reply) == "*-1\r\n" { // RESP2's null array: a list without elements to those who read RESP3
			return []byte("_\r\n")
		}
		return reply
	}
	var out []byte
	switch s {
	case asMap:
		out = append(out, "%"+strconv.Itoa(n)+"\r\n"...)
		for range n {
			size, inside := header(reply[at:])
			end := skip(reply, at)
			if size != 2 || end < 0 {
				return reply
			}
			out, at = append(out, reply[at+inside:end]...), end
		}
	case inPairs:
		out = append(out, "*"+strconv.Itoa(n/2)+"\r\n"...)
		for range n / 2 {
			end := skip(reply, skip(reply, at))
			if end < 0 {
				return reply
			}
			out, at = append(append(out, "*2\r\n"...), reply[at:end]...), end
		}
	default:
		return reply
	}
	return append(out, reply[at:]...)
}

// header returns the number of elements of the array that b begins with and where the
// first begins, or -1 for anything else, a null array included.
func header(b []byte) (n, first int) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 || b[0] != '*' {
		return -1, 0
	}
	n, err := strconv.Atoi(string(b[1:end]))
	if err != nil {
		return -1, 0
	}
	return n, end + 2
}

// skip returns where the value that begins at a place ends, or -1 where there is none.
func skip(b []byte, at int) int {
	if at < 0 || at >= len(b) {
		return -1
	}
	end := bytes.Index(b[at:], []byte("\r\n"))
	if end < 0 {
		return -1
	}
	next := at + end + 2
	n, err := strconv.Atoi(string(b[at+1 : at+end]))
	switch b[at] {
	case '$', '=':
		if err != nil {
			return -1
		}
		if n >= 0 {
			next += n + 2
		}
	case '*', '%', '~', '>':
		if err != nil {
			return -1
		}
		if b[at] == '%' {
			n *= 2
		}
		for ; n > 0; n-- {
			if next = skip(b, next); next < 0 {
				return -1
			}
		}
	}
	if next > len(b) {
		return -1
	}
	return next
}

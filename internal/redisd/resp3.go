package redisd

import (
	"bytes"
	"fmt"
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
	option := ""
	switch strings.ToUpper(args[0]) {
	case "XREAD", "XREADGROUP":
		return asMap
	case "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANDMEMBER", "ZUNION", "ZINTER", "ZDIFF":
		option = "WITHSCORES"
	case "HRANDFIELD":
		option = "WITHVALUES"
	case "ZPOPMIN", "ZPOPMAX":
		if len(args) > 2 { // a count; one member alone is flat in both
			return inPairs
		}
	}
	if option != "" && slices.ContainsFunc(args[1:], func(a string) bool { return strings.EqualFold(a, option) }) {
		return inPairs
	}
	return asIs
}

// inShape lets miniredis answer a client that speaks RESP3.
func (c *client) inShape(args []string) {
	queueing := c.multi
	c.rewritten(func() { c.dispatch(args) }, func(reply []byte) []byte {
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
	elements, ok := elementsOf(reply)
	if !ok || len(elements) != len(shapes) {
		return reshape(reply, asIs)
	}
	for i, e := range elements {
		elements[i] = reshape(e, shapes[i])
	}
	return aggregate('*', len(elements), elements)
}

// reshape gives one reply its form. What does not look as expected, such as an error,
// stays as it is.
func reshape(reply []byte, s shape) []byte {
	if string(reply) == "*-1\r\n" { // RESP2's null array: a list without elements to those who read RESP3
		return []byte("_\r\n")
	}
	elements, ok := elementsOf(reply)
	switch {
	case !ok:
	case s == asMap:
		var flat [][]byte
		for _, e := range elements {
			pair, ok := elementsOf(e)
			if !ok || len(pair) != 2 {
				return reply
			}
			flat = append(flat, pair...)
		}
		return aggregate('%', len(elements), flat)
	case s == inPairs:
		var pairs [][]byte
		for pair := range slices.Chunk(elements, 2) {
			pairs = append(pairs, aggregate('*', 2, pair))
		}
		return aggregate('*', len(pairs), pairs)
	}
	return reply
}

// aggregate is an array or a map of n values.
func aggregate(kind byte, n int, parts [][]byte) []byte {
	return append(fmt.Appendf(nil, "%c%d\r\n", kind, n), bytes.Join(parts, nil)...)
}

// elementsOf returns the elements of the array that a reply is, if it is one.
func elementsOf(reply []byte) (elements [][]byte, ok bool) {
	head, rest, _ := bytes.Cut(reply, []byte("\r\n"))
	n, err := strconv.Atoi(strings.TrimPrefix(string(head), "*"))
	if err != nil || n < 0 || head[0] != '*' {
		return nil, false
	}
	for range n {
		size := sizeOf(rest)
		if size == 0 {
			return nil, false
		}
		elements, rest = append(elements, rest[:size]), rest[size:]
	}
	return elements, true
}

// sizeOf returns how many bytes the value takes that b begins with, or 0 where it is not whole.
func sizeOf(b []byte) (size int) {
	for values := 1; values > 0; values-- {
		head, _, ok := bytes.Cut(b[size:], []byte("\r\n"))
		if !ok || len(head) == 0 {
			return 0
		}
		size += len(head) + 2
		n, err := strconv.Atoi(string(head[1:]))
		switch head[0] {
		case '$', '=':
			if n >= 0 {
				size += n + 2
			}
		case '%':
			values += 2 * max(n, 0)
		case '*', '~', '>':
			values += max(n, 0)
		default:
			err = nil
		}
		if err != nil || size > len(b) {
			return 0
		}
	}
	return size
}

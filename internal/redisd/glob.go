package redisd

import (
	"bufio"
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alicebob/miniredis/v2/server"
)

// miniredis turns a pattern into a regular expression. Some patterns do not compile
// then, which panics, and some mean another thing: `?` is a character there and a byte
// in Redis. So KEYS and the SCAN commands ask it for everything, and what does not
// match is left out here.

// match reports whether all of s matches a pattern (redis.io/docs, KEYS), byte by byte.
func match(pattern, s string) bool {
	star, retry := -1, 0 // where the last `*` is, and where what follows it is tried next
	i, j := 0, 0
	for j < len(s) {
		if i < len(pattern) {
			if pattern[i] == '*' {
				star, retry, i = i, j, i+1
				continue
			}
			if next, ok := matchByte(pattern, i, s[j]); ok {
				i, j = next, j+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		retry++
		i, j = star+1, retry
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// matchByte matches one byte with the element at i, which is no `*`, and returns where
// the next element begins.
func matchByte(pattern string, i int, c byte) (next int, ok bool) {
	switch b := pattern[i]; {
	case b == '?':
		return i + 1, true
	case b == '[':
		return matchClass(pattern, i+1, c)
	case b == '\\' && i+1 < len(pattern):
		return i + 2, pattern[i+1] == c
	default:
		return i + 1, b == c
	}
}

// matchClass matches one byte with the class whose content begins at i. As in Redis,
// the ends of a range come in any order, and a class that is not closed ends with the
// pattern.
func matchClass(pattern string, i int, c byte) (next int, ok bool) {
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			ok = ok || pattern[i] == c
		case i+2 < len(pattern) && pattern[i+1] == '-':
			low, high := min(pattern[i], pattern[i+2]), max(pattern[i], pattern[i+2])
			ok = ok || low <= c && c <= high
			i += 2
		default:
			ok = ok || pattern[i] == c
		}
	}
	return min(i+1, len(pattern)), ok != not
}

// scan describes a command that lists names which match a pattern.
type scan struct {
	pattern string
	all     []string // the same command for all names
	step    int      // every how many elements of the list there is a name
	cursor  bool     // the list comes after a cursor
}

// scans are the commands with a pattern. Every command is looked up here, so no other
// costs more than that.
var scans = set("KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN")

// scanOf returns how to serve one of scans, and whether it has a pattern.
func scanOf(args []string) (s scan, ok bool) {
	s = scan{all: append([]string(nil), args...), step: 1, cursor: true}
	options := 3
	switch strings.ToUpper(args[0]) {
	case "KEYS":
		if len(args) != 2 {
			return s, false
		}
		s.pattern, s.all[1], s.cursor = args[1], "*", false
		return s, s.pattern != "*"
	case "SCAN":
		options = 2
	case "HSCAN", "ZSCAN":
		s.step = 2
	}
	for i := options; i+1 < len(args); i += 2 { // each of them has a value
		if strings.EqualFold(args[i], "MATCH") {
			s.pattern, s.all[i+1], ok = args[i+1], "*", true
		}
	}
	return s, ok && s.pattern != "*"
}

// scan answers a command with a pattern for a connection or a script.
func (s *Server) scan(p *server.Peer, sc scan) {
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	all := server.NewPeer(w)
	all.Ctx = p.Ctx // the selected database, and whether a script is running
	s.redis.Server().Dispatch(all, sc.all)
	all.Flush()
	p.Ctx = all.Ctx
	reply, err := server.ParseReply(bufio.NewReader(&buf))
	if err != nil {
		p.WriteError(err.Error())
		return
	}
	found := list(reply)
	if sc.cursor && len(found) == 2 {
		p.WriteLen(2)
		p.WriteBulk(text(found[0]))
		found = list(found[1])
	}
	var kept []string
	for i := 0; i+sc.step <= len(found); i += sc.step {
		if match(sc.pattern, text(found[i])) {
			for _, v := range found[i : i+sc.step] {
				kept = append(kept, text(v))
			}
		}
	}
	p.WriteStrings(kept)
}

// queueScan is how a command with a pattern waits inside MULTI: miniredis queues what
// it does itself, and a script comes back to Server.scan when EXEC runs it.
func queueScan(args []string) []string {
	if !scans[strings.ToUpper(args[0])] {
		return args
	}
	if _, ok := scanOf(args); !ok {
		return args
	}
	return append([]string{"EVAL", "return redis.pcall(unpack(ARGV))", "0"}, args...)
}

// maxSubscribed bounds the patterns that are left to miniredis.
const maxSubscribed = 1 << 10

var (
	elements   = regexp.MustCompile(`(?s)\\.|\[\^?[^\]]*\]|.`)
	plainClass = regexp.MustCompile(`^\[\^?(?:\w(?:-\w)?)+\]$`)
	classRange = regexp.MustCompile(`.-.`)
)

// subscribable reports whether miniredis gives a pattern the meaning that it has in
// Redis, at least for names in ASCII: PSUBSCRIBE and PUBSUB cannot be served here.
func subscribable(pattern string) bool {
	if len(pattern) > maxSubscribed || !utf8.ValidString(pattern) || strings.ContainsRune(pattern, utf8.RuneError) {
		return false
	}
	parts := elements.FindAllString(pattern, -1)
	for i, p := range parts {
		backwards := func(r string) bool { return r[0] > r[2] }
		switch {
		case p == `\`, p[0] == '[' && (!plainClass.MatchString(p) || slices.ContainsFunc(classRange.FindAllString(p, -1), backwards)):
			return false
		case p == `\\` && i+1 < len(parts) && strings.IndexByte(`\E`, parts[i+1][0]) >= 0:
			return false // a backslash that is meant itself must not become the end of a quotation
		}
	}
	return true
}

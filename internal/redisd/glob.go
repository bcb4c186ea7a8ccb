package redisd

import (
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

// scans are the commands with a pattern. Every command is looked up here, so no other
// costs more than that.
var scans = set("KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN")

// scanOf returns the pattern of a command, "*" for none, and the same command for all names.
func scanOf(args []string) (pattern string, all []string) {
	pattern, all = "*", slices.Clone(args)
	cmd := strings.ToUpper(args[0])
	options := 3
	switch {
	case !scans[cmd]:
		return pattern, args
	case cmd == "KEYS":
		if len(args) == 2 {
			pattern, all[1] = args[1], "*"
		}
		return pattern, all
	case cmd == "SCAN":
		options = 2
	}
	for i := options; i+1 < len(args); i += 2 { // each of them has a value
		if strings.EqualFold(args[i], "MATCH") {
			pattern, all[i+1] = args[i+1], "*"
		}
	}
	return pattern, all
}

// scan answers a command with a pattern for a connection or a script.
func (s *Server) scan(p *server.Peer, pattern string, all []string) {
	in := s.inner(p.Ctx) // the selected database, and whether a script is running
	reply, err := in.dispatch(all...)
	p.Ctx = in.peer.Ctx
	if err != nil {
		p.WriteError(err.Error())
		return
	}
	found := list(reply)
	if all[0] != "KEYS" && len(found) == 2 {
		p.WriteLen(2)
		p.WriteBulk(text(found[0]))
		found = list(found[1])
	}
	step := 1
	if all[0] == "HSCAN" || all[0] == "ZSCAN" {
		step = 2
	}
	var kept []string
	for named := range slices.Chunk(found, step) {
		if match(pattern, text(named[0])) {
			for _, v := range named {
				kept = append(kept, text(v))
			}
		}
	}
	p.WriteStrings(kept)
}

// queueScan is how a command with a pattern waits inside MULTI: miniredis queues what
// it does itself, and a script comes back to Server.scan when EXEC runs it.
func queueScan(args []string) []string {
	if pattern, _ := scanOf(args); pattern == "*" {
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

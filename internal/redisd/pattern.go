package redisd

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// gopher-lua matches patterns by recursion, one Go frame for each character of the
// subject: a long value overflows the stack, which ends the process. So scripts get
// this matcher, which follows Lua 5.1: its depth depends on the pattern alone.
const (
	maxCaptures   = 32
	maxMatchDepth = 10_000
	unfinished    = -1
	atPosition    = -2
)

// matcher matches one pattern. Positions count from 0; -1 is "no match".
type matcher struct {
	l        *lua.LState
	src, pat string
	level    int
	captures [maxCaptures]struct{ at, size int }
	depth    int
	steps    int
}

func (m *matcher) fail(message string) { m.l.RaiseError("%s", message) }

// match returns where the match that begins at s ends.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxMatchDepth {
		m.fail("pattern too complex")
	}
	end := m.try(s, p)
	m.depth--
	return end
}

func (m *matcher) try(s, p int) int {
	for p < len(m.pat) {
		m.step()
		switch c := m.pat[p]; {
		case c == '(' && p+1 < len(m.pat) && m.pat[p+1] == ')':
			return m.open(s, p+2, atPosition)
		case c == '(':
			return m.open(s, p+1, unfinished)
		case c == ')':
			return m.close(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pat) && (m.pat[p+1] == 'b' || m.pat[p+1] == 'f' || isDigit(m.pat[p+1])):
			if s, p = m.special(s, p+1); s < 0 {
				return -1
			}
			continue
		}
		ep := m.classEnd(p)
		fits := m.fits(s, p, ep)
		switch m.pat[ep:min(ep+1, len(m.pat))] {
		case "?":
			return m.longest(s, p, ep, 0, 1)
		case "*":
			return m.longest(s, p, ep, 0, math.MaxInt)
		case "+":
			return m.longest(s, p, ep, 1, math.MaxInt)
		case "-":
			return m.shortest(s, p, ep)
		}
		if !fits {
			return -1
		}
		s, p = s+1, ep
	}
	return s
}

// step lets a script that has run too long end inside a match.
func (m *matcher) step() {
	if m.steps++; m.steps&1023 == 0 {
		alive(m.l)
	}
}

// special matches %b, %f and back references, and returns what is left of both.
func (m *matcher) special(s, p int) (subject, pattern int) {
	switch m.pat[p] {
	case 'b':
		if p+2 >= len(m.pat) {
			m.fail("unbalanced pattern")
		}
		return m.balance(s, m.pat[p+1], m.pat[p+2]), p + 3
	case 'f':
		if p++; p >= len(m.pat) || m.pat[p] != '[' {
			m.fail("missing '[' after '%f' in pattern")
		}
		ep := m.classEnd(p)
		var before, here byte
		if s > 0 {
			before = m.src[s-1]
		}
		if s < len(m.src) {
			here = m.src[s]
		}
		if m.inSet(before, p, ep-1) || !m.inSet(here, p, ep-1) {
			return -1, p
		}
		return s, ep
	}
	i := int(m.pat[p]) - '1'
	if i < 0 || i >= m.level || m.captures[i].size == unfinished {
		m.fail("invalid capture index")
	}
	c := m.captures[i]
	if c.size < 0 || !strings.HasPrefix(m.src[s:], m.src[c.at:c.at+c.size]) {
		return -1, p
	}
	return s + c.size, p + 1
}

func (m *matcher) balance(s int, begin, end byte) int {
	if s >= len(m.src) || m.src[s] != begin {
		return -1
	}
	depth := 1
	for s++; s < len(m.src); s++ {
		switch m.src[s] {
		case end:
			if depth--; depth == 0 {
				return s + 1
			}
		case begin:
			depth++
		}
	}
	return -1
}

// longest matches a class as often as it fits, between least and most times, and what follows it.
func (m *matcher) longest(s, p, ep, least, most int) int {
	n := 0
	for n < most && m.fits(s+n, p, ep) {
		n++
	}
	for ; n >= least; n-- {
		m.step()
		if end := m.match(s+n, ep+1); end >= 0 {
			return end
		}
	}
	return -1
}

func (m *matcher) shortest(s, p, ep int) int {
	for {
		m.step()
		if end := m.match(s, ep+1); end >= 0 {
			return end
		}
		if !m.fits(s, p, ep) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, what int) int {
	if m.level >= maxCaptures {
		m.fail("too many captures")
	}
	m.captures[m.level].at, m.captures[m.level].size = s, what
	m.level++
	end := m.match(s, p)
	if end < 0 {
		m.level--
	}
	return end
}

func (m *matcher) close(s, p int) int {
	i := m.level - 1
	for ; i >= 0 && m.captures[i].size != unfinished; i-- {
	}
	if i < 0 {
		m.fail("invalid pattern capture")
	}
	m.captures[i].size = s - m.captures[i].at
	end := m.match(s, p)
	if end < 0 {
		m.captures[i].size = unfinished
	}
	return end
}

// classEnd returns where the class that begins at p ends.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.fail("malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				m.fail("malformed pattern (missing ']')")
			}
			if m.pat[p] == '%' {
				p++
			}
			p++
		}
		return p + 1
	}
	return p
}

func (m *matcher) fits(s, p, ep int) bool {
	if s >= len(m.src) {
		return false
	}
	switch c := m.src[s]; m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, ep-1)
	default:
		return m.pat[p] == c
	}
}

// inSet reports whether a set, of which the last byte is at end, holds c.
func (m *matcher) inSet(c byte, p, end int) bool {
	found := true
	if p++; m.pat[p] == '^' {
		found = false
		p++
	}
	for ; p < end; p++ {
		switch {
		case m.pat[p] == '%':
			if p++; inClass(c, m.pat[p]) {
				return found
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return found
			}
			p += 2
		case m.pat[p] == c:
			return found
		}
	}
	return !found
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// classes are the characters of a class such as %a in C's locale, by the small letter.
var classes = [128]string{
	'a': letters, 'd': digits, 'l': small, 'u': capitals, 'w': letters + digits, 'x': digits + "abcdefABCDEF", 's': " \t\n\v\f\r", 'z': "\x00",
	'p': "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
	'c': "\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f",
}

const (
	small    = "abcdefghijklmnopqrstuvwxyz"
	capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters  = small + capitals
	digits   = "0123456789"
)

// inClass reports whether a class such as %a holds c; capitals stand for what is not in it.
func inClass(c, class byte) bool {
	members := classes[(class|0x20)&127]
	if members == "" || class > 127 {
		return class == c
	}
	return (strings.IndexByte(members, c) >= 0) == (class >= 'a')
}

// next finds the first match at or after init.
func (m *matcher) next(init int, anchored bool) (begin, end int) {
	p := 0
	if anchored {
		p = 1
	}
	for s := init; s <= len(m.src); s++ {
		m.level, m.depth = 0, 0
		m.step()
		if end := m.match(s, p); end >= 0 {
			return s, end
		}
		if anchored {
			break
		}
	}
	return -1, -1
}

// capture returns capture i of a match; the whole one where there is none.
func (m *matcher) capture(i, begin, end int) lua.LValue {
	if i >= m.level {
		if i > 0 {
			m.fail("invalid capture index")
		}
		return lua.LString(m.src[begin:end])
	}
	c := m.captures[i]
	switch c.size {
	case unfinished:
		m.fail("unfinished capture")
	case atPosition:
		return lua.LNumber(c.at + 1)
	}
	return lua.LString(m.src[c.at : c.at+c.size])
}

// push pushes all captures of a match.
func (m *matcher) push(begin, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.l.Push(m.capture(i, begin, end))
	}
	return n
}

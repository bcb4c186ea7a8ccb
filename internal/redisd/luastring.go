package redisd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// maxLuaString bounds a string that a function of a script makes: Go cannot recover
// from an allocation that fails.
const maxLuaString = 64 << 20

// boundedStrings replace functions of gopher-lua's string and table libraries whose
// memory, stack or time has no bound there.
var boundedStrings = map[string]lua.LGFunction{
	"byte":   bytesOf,
	"find":   func(l *lua.LState) int { return find(l, true) },
	"match":  func(l *lua.LState) int { return find(l, false) },
	"gmatch": gmatch,
	"gfind":  gmatch,
	"gsub":   gsub,
	"rep":    repeat,
	"format": format,
}

// builder makes a string of bounded size.
type builder struct {
	l *lua.LState
	b []byte
}

func (b *builder) add(s string) {
	if len(b.b)+len(s) > maxLuaString {
		tooLarge(b.l)
	}
	b.b = append(b.b, s...)
}

func tooLarge(l *lua.LState) {
	l.RaiseError("resulting string too large: a script may make strings of up to %d MB", maxLuaString>>20)
}

// bytesOf is string.byte.
func bytesOf(l *lua.LState) int {
	s, i := l.CheckString(1), l.OptInt(2, 1)
	j := l.OptInt(3, i)
	if i < 0 {
		i += len(s) + 1
	}
	if j < 0 {
		j += len(s) + 1
	}
	i, j = max(i, 1), min(j, len(s))
	if j-i >= maxResults {
		l.RaiseError("string slice too long")
	}
	for k := i; k <= j; k++ {
		l.Push(lua.LNumber(s[k-1]))
	}
	return max(0, j-i+1)
}

func repeat(l *lua.LState) int {
	s, n := l.CheckString(1), float64(l.CheckNumber(2))
	switch {
	case n < 1 || s == "":
		s, n = "", 0
	case n*float64(len(s)) > maxLuaString:
		tooLarge(l)
	}
	l.Push(lua.LString(strings.Repeat(s, int(n))))
	return 1
}

// concat is table.concat.
func concat(l *lua.LState) int {
	t, sep := l.CheckTable(1), l.OptString(2, "")
	i, j := l.OptInt(3, 1), t.Len()
	if l.Get(4) != lua.LNil {
		j = l.CheckInt(4)
	}
	out := builder{l: l}
	for k := i; k <= j; k++ {
		v := t.RawGetInt(k)
		if !lua.LVCanConvToString(v) {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", v.Type(), k)
		}
		out.add(lua.LVAsString(v))
		if k < j {
			out.add(sep)
		}
	}
	l.Push(lua.LString(out.b))
	return 1
}

// join is the operator .. of scripts, for two operands and more.
func join(l *lua.LState) int {
	n, at := l.GetTop(), 1
	out := builder{l: l}
	for ; at <= n && lua.LVCanConvToString(l.Get(at)); at++ {
		out.add(lua.LVAsString(l.Get(at)))
	}
	var joined lua.LValue = lua.LString(out.b)
	if at <= n { // one has a metamethod: from the right, two by two
		joined = l.Get(n)
		for i := n - 1; i >= 1; i-- {
			joined = joinTwo(l, l.Get(i), joined)
		}
	}
	l.Push(joined)
	return 1
}

// joinTwo joins two values of which one may have a metamethod.
func joinTwo(l *lua.LState, left, right lua.LValue) lua.LValue {
	if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
		out := builder{l, []byte(lua.LVAsString(left))}
		out.add(lua.LVAsString(right))
		return lua.LString(out.b)
	}
	f := l.GetMetaField(left, "__concat")
	if f == lua.LNil {
		f = l.GetMetaField(right, "__concat")
	}
	if f == lua.LNil {
		if lua.LVCanConvToString(left) {
			left = right
		}
		l.RaiseError("attempt to concatenate a %s value", left.Type())
	}
	l.Push(f)
	l.Push(left)
	l.Push(right)
	l.Call(2, 1)
	v := l.Get(-1)
	l.Pop(1)
	return v
}

func find(l *lua.LState, positions bool) int {
	s, p := l.CheckString(1), l.CheckString(2)
	init := l.OptInt(3, 1)
	if init < 0 {
		init += len(s) + 1
	}
	init = min(max(init-1, 0), len(s))
	if positions && (l.ToBool(4) || !strings.ContainsAny(p, "^$*+?.([%-")) {
		if i := strings.Index(s[init:], p); i >= 0 {
			l.Push(lua.LNumber(init + i + 1))
			l.Push(lua.LNumber(init + i + len(p)))
			return 2
		}
		l.Push(lua.LNil)
		return 1
	}
	m := &matcher{l: l, src: s, pat: p}
	begin, end := m.next(init, strings.HasPrefix(p, "^"))
	if begin < 0 {
		l.Push(lua.LNil)
		return 1
	}
	if !positions {
		return m.push(begin, end, true)
	}
	l.Push(lua.LNumber(begin + 1))
	l.Push(lua.LNumber(end))
	return 2 + m.push(begin, end, false)
}

func gmatch(l *lua.LState) int {
	s, p, at := l.CheckString(1), l.CheckString(2), 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		m := &matcher{l: l, src: s, pat: p}
		begin, end := m.next(at, false)
		if begin < 0 {
			at = len(s) + 1
			return 0
		}
		if at = end; end == begin {
			at++
		}
		return m.push(begin, end, true)
	}))
	return 1
}

func gsub(l *lua.LState) int {
	s, p, limit := l.CheckString(1), l.CheckString(2), l.OptInt(4, -1)
	switch l.Get(3).Type() {
	case lua.LTString, lua.LTNumber, lua.LTTable, lua.LTFunction:
	default:
		l.ArgError(3, "string/function/table expected")
	}
	m := &matcher{l: l, src: s, pat: p}
	out := builder{l: l}
	anchored := strings.HasPrefix(p, "^")
	n, at := 0, 0
	for limit < 0 || n < limit {
		begin, end := m.next(at, anchored)
		if begin < 0 {
			break
		}
		n++
		out.add(s[at:begin])
		out.add(m.replacement(l.Get(3), begin, end))
		if at = end; end == begin {
			if at < len(s) {
				out.add(s[at : at+1])
			}
			at++
		}
		if anchored || at > len(s) {
			break
		}
	}
	if at < len(s) {
		out.add(s[at:])
	}
	l.Push(lua.LString(out.b))
	l.Push(lua.LNumber(n))
	return 2
}

// replacement returns what string.gsub puts in the place of a match.
func (m *matcher) replacement(by lua.LValue, begin, end int) string {
	var v lua.LValue
	switch by := by.(type) {
	case *lua.LTable:
		v = m.l.GetTable(by, m.capture(0, begin, end))
	case *lua.LFunction:
		m.l.Push(by)
		m.l.Call(m.push(begin, end, true), 1)
		v = m.l.Get(-1)
		m.l.Pop(1)
	default:
		return m.template(lua.LVAsString(by), begin, end)
	}
	if lua.LVIsFalse(v) {
		return m.src[begin:end]
	}
	if !lua.LVCanConvToString(v) {
		m.fail(fmt.Sprintf("invalid replacement value (a %s)", v.Type()))
	}
	return lua.LVAsString(v)
}

func (m *matcher) template(by string, begin, end int) string {
	out := builder{l: m.l}
	for {
		before, after, found := strings.Cut(by, "%")
		out.add(before)
		if !found || after == "" {
			return string(out.b)
		}
		switch c := after[0]; {
		case c == '0':
			out.add(m.src[begin:end])
		case isDigit(c):
			out.add(lua.LVAsString(m.capture(int(c-'1'), begin, end)))
		default:
			out.add(after[:1])
		}
		by = after[1:]
	}
}

// directive is one of string.format without its percent sign: flags, width, precision and verb.
var directive = regexp.MustCompile(`(?s)^([-+ #0]*[0-9]{0,2}(?:\.[0-9]{0,2})?)(.?)`)

// format is string.format. Width and precision have at most two digits, as in Lua.
func format(l *lua.LState) int {
	f, arg := l.CheckString(1), 1
	out := builder{l: l}
	for {
		before, after, found := strings.Cut(f, "%")
		out.add(before)
		if !found {
			l.Push(lua.LString(out.b))
			return 1
		}
		if f = strings.TrimPrefix(after, "%"); f != after {
			out.add("%")
			continue
		}
		m := directive.FindStringSubmatch(after)
		switch {
		case m[2] == "":
			l.RaiseError("invalid option '%%' to 'format'")
		case len(m[1]) > 10:
			l.RaiseError("invalid format (repeated flags)")
		case isDigit(m[2][0]):
			l.RaiseError("invalid format (width or precision too long)")
		}
		arg++
		out.add(formatted(l, "%"+m[1], m[2][0], arg))
		f = after[len(m[0]):]
	}
}

func formatted(l *lua.LState, spec string, verb byte, arg int) string {
	switch verb {
	case 'c':
		return string([]byte{byte(l.CheckInt(arg))})
	case 'd', 'i':
		return fmt.Sprintf(spec+"d", int64(l.CheckNumber(arg)))
	case 'o', 'x', 'X', 'u':
		n := float64(l.CheckNumber(arg))
		u := uint64(int64(n))
		if n >= 1<<63 {
			u = uint64(n)
		}
		if verb == 'u' {
			verb = 'd'
		}
		return fmt.Sprintf(spec+string(verb), u)
	case 'e', 'E', 'f', 'g', 'G':
		return formatFloat(spec, verb, float64(l.CheckNumber(arg)))
	case 's':
		s := l.ToStringMeta(l.CheckAny(arg)).String()
		if _, precision, ok := strings.Cut(spec, "."); ok {
			n, _ := strconv.Atoi(precision)
			s = s[:min(n, len(s))]
		}
		return pad(spec, s)
	case 'q':
		return `"` + quoted.Replace(l.CheckString(arg)) + `"`
	}
	l.RaiseError("invalid option '%%%c' to 'format'", verb)
	return ""
}

// pad fills a string up to the width of its directive, in bytes.
func pad(spec, s string) string {
	width, _, _ := strings.Cut(strings.TrimLeft(spec, "%-+ #0"), ".")
	n, _ := strconv.Atoi(width)
	fill := strings.Repeat(" ", max(0, n-len(s)))
	if strings.Contains(strings.TrimRight(spec, "0123456789."), "-") {
		return s + fill
	}
	return fill + s
}

var infinite = strings.NewReplacer("+Inf", "inf", "-Inf", "-inf", "NaN", "nan")

// formatFloat prints as C does: Go's %g has the shortest form where C's has six digits.
func formatFloat(spec string, verb byte, x float64) string {
	if !strings.Contains(spec, ".") && (verb == 'g' || verb == 'G') {
		spec += ".6"
	}
	return infinite.Replace(fmt.Sprintf(spec+string(verb), x))
}

var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`)

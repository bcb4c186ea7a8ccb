package redisd

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// luaFunctions are functions of the libraries, in a state as a script finds it.
type luaFunctions struct{ l *lua.LState }

func openLua(tb testing.TB) luaFunctions {
	tb.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true, CallStackSize: maxCalls, MinimizeStackMemory: true,
		RegistrySize: 1 << 10, RegistryGrowStep: 8 << 10, RegistryMaxSize: maxRegisters})
	tb.Cleanup(l.Close)
	(&run{script: &script{libraries: true}}).open(l, nil, nil)
	l.SetContext(context.Background())
	return luaFunctions{l}
}

// call calls library.function and returns its results.
func (f luaFunctions) call(name string, args ...lua.LValue) ([]lua.LValue, error) {
	library, function, _ := strings.Cut(name, ".")
	defer f.l.SetTop(0)
	err := f.l.CallByParam(lua.P{Fn: f.l.GetField(f.l.GetGlobal(library), function), NRet: lua.MultRet, Protect: true}, args...)
	if err != nil {
		return nil, err
	}
	results := make([]lua.LValue, f.l.GetTop())
	for i := range results {
		results[i] = f.l.Get(i + 1)
	}
	return results, nil
}

// loneSurrogate is half of a pair in a JSON string, which cjson refuses and encoding/json replaces.
var loneSurrogate = regexp.MustCompile(`\\u[dD][89a-fA-F]`)

// odd is a number as JSON or cjson reads it, of which cjson permits more.
var odd = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?[0-9][-+0-9.eE]*`)

// fromLua is a value that cjson.decode returned, as encoding/json has it.
func fromLua(null, v lua.LValue) any {
	switch v := v.(type) {
	case lua.LBool:
		return bool(v)
	case lua.LNumber:
		return float64(v)
	case lua.LString:
		return string(v)
	case *lua.LTable:
		object, list := map[string]any{}, []any{}
		v.ForEach(func(k, e lua.LValue) {
			if name, ok := k.(lua.LString); ok {
				object[string(name)] = fromLua(null, e)
			} else {
				list = append(list, fromLua(null, e))
			}
		})
		switch {
		case len(object) > 0 && len(list) > 0:
			return fmt.Errorf("a table with %d names and %d elements", len(object), len(list))
		case len(list) > 0:
			return list
		}
		return object
	}
	if v == null {
		return nil
	}
	return fmt.Errorf("a %s", v.Type())
}

// asLua is a value of encoding/json as cjson has it: an empty list is an empty object, and written
// numbers have 14 digits where written is true.
func asLua(v any, written bool) any {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return map[string]any{}
		}
		for i := range v {
			v[i] = asLua(v[i], written)
		}
	case map[string]any:
		for k := range v {
			v[k] = asLua(v[k], written)
		}
	case float64:
		if written {
			v, _ = strconv.ParseFloat(fmt.Sprintf("%.14g", v), 64)
		}
		return v
	}
	return v
}

// FuzzCJSON compares cjson with encoding/json, both ways. cjson also takes numbers that JSON does not
// have, refuses half a surrogate pair, and writes 14 digits of a number.
func FuzzCJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,true,false,null,"x"],"":{}}`, `"\u0041\u00e9\u20ac\ud83d\ude00\n\/\\\""`, ` [ ] `, `[[[]],{}]`, `{"a":1,"a":2}`,
		`[9007199254740993,0.1,1e-7,123456789012345678901234567890,-0]`, `010`, `1.`, `"\ud800"`, "\"\x7f\xff\"", "[1,", `{"1":1}`, "tru", "[nul]", "1e999", "{\"\\u0000\":\"\x00\"}",
	} {
		f.Add(s, len(s)%2 == 0)
	}
	lib := openLua(f)
	null := lib.l.GetField(lib.l.GetGlobal("cjson"), "null")
	f.Fuzz(func(t *testing.T, text string, whole bool) {
		if whole { // one JSON string
			coded, err := lib.call("cjson.encode", lua.LString(text))
			if err != nil || utf8.ValidString(text) && !json.Valid([]byte(coded[0].String())) {
				t.Fatalf("%q is written %q, %v", text, coded, err)
			}
			if back, err := lib.call("cjson.decode", coded[0]); err != nil || back[0] != lua.LString(text) {
				t.Errorf("%q is written %q, which is read as %q, %v", text, coded, back, err)
			}
			return
		}
		got, err := lib.call("cjson.decode", lua.LString(text))
		if !json.Valid([]byte(text)) {
			plain := odd.ReplaceAllStringFunc(text, func(s string) string {
				if s[0] == '"' {
					return s
				}
				return "0"
			})
			if err == nil && !json.Valid([]byte(plain)) {
				t.Errorf("%q is read as %v", text, fromLua(null, got[0]))
			}
			return
		}
		var want any
		if json.Unmarshal([]byte(text), &want) != nil || loneSurrogate.MatchString(text) || strings.Count(text, "[")+strings.Count(text, "{") > 1000 || !utf8.ValidString(text) {
			return // a number beyond float64, and what the two see differently
		}
		if want = asLua(want, false); err != nil || !reflect.DeepEqual(fromLua(null, got[0]), want) {
			t.Fatalf("%q is read as %v, %v; want %v", text, got, err, want)
		}
		again, err := lib.call("cjson.encode", got[0])
		var back any
		if err != nil || json.Unmarshal([]byte(again[0].String()), &back) != nil || !reflect.DeepEqual(asLua(back, false), asLua(want, true)) {
			t.Errorf("%q is read and written as %q, %v", text, again, err)
		}
	})
}

// bitwise are bit's functions, as Go computes them.
var bitwise = []struct {
	name string
	of   func(a, b uint32, by int) uint32
	args int // 1, 2 and 3: a number; two; a number and by how much
}{
	{"tobit", func(a, _ uint32, _ int) uint32 { return a }, 1},
	{"bnot", func(a, _ uint32, _ int) uint32 { return ^a }, 1},
	{"bswap", func(a, _ uint32, _ int) uint32 { return bits.ReverseBytes32(a) }, 1},
	{"band", func(a, b uint32, _ int) uint32 { return a & b }, 2},
	{"bor", func(a, b uint32, _ int) uint32 { return a | b }, 2},
	{"bxor", func(a, b uint32, _ int) uint32 { return a ^ b }, 2},
	{"lshift", func(a, _ uint32, by int) uint32 { return a << (by & 31) }, 3},
	{"rshift", func(a, _ uint32, by int) uint32 { return a >> (by & 31) }, 3},
	{"arshift", func(a, _ uint32, by int) uint32 { return uint32(int32(a) >> (by & 31)) }, 3},
	{"rol", func(a, _ uint32, by int) uint32 { return bits.RotateLeft32(a, by) }, 3},
	{"ror", func(a, _ uint32, by int) uint32 { return bits.RotateLeft32(a, -by) }, 3},
}

// FuzzBit compares bit with Go's operations on 32 bits.
func FuzzBit(f *testing.F) {
	for i := range 12 {
		f.Add(uint8(i), int64(0x12345678)<<14, int64(-1), 0.5, int32(12))
		f.Add(uint8(i), int64(1)<<45, int64(0xffffffff), 0.0, int32(-4))
		f.Add(uint8(i), int64(255)<<14, int64(-256), 1.5, int32(0))
	}
	lib := openLua(f)
	f.Fuzz(func(t *testing.T, which uint8, x, y int64, rest float64, by int32) {
		if rest = math.Mod(rest, 4); math.IsNaN(rest) {
			rest = 0
		}
		number := float64(x>>14) + rest // Lua BitOp takes up to 51 bits, and rounds half to even
		a, b := uint32(int64(math.RoundToEven(number))), uint32(y>>13)
		if which %= 12; int(which) == len(bitwise) {
			digits := int(by) % 12
			form, count := "%08x", digits
			if digits < 0 {
				form, count = "%08X", -digits
			}
			want := fmt.Sprintf(form, a)[8-min(count, 8):]
			if got, err := lib.call("bit.tohex", lua.LNumber(number), lua.LNumber(digits)); err != nil || got[0] != lua.LString(want) {
				t.Errorf("bit.tohex(%v, %d): %q, %v; want %q", number, digits, got, err, want)
			}
			return
		}
		op := bitwise[which]
		args := [][]lua.LValue{{}, {lua.LNumber(y >> 13)}, {lua.LNumber(by)}}[op.args-1]
		want := lua.LNumber(int32(op.of(a, b, int(by))))
		if got, err := lib.call("bit."+op.name, append([]lua.LValue{lua.LNumber(number)}, args...)...); err != nil || got[0] != want {
			t.Errorf("bit.%s(%v, %v): %v, %v; want %v", op.name, number, args, got, err, want)
		}
	})
}

// oneReply reads one value of the protocol in the plainest way, and returns what is left.
func oneReply(in string) (rest string, ok bool) {
	line, rest, found := strings.Cut(in, "\r\n")
	if !found || line == "" || strings.ContainsAny(line, "\r\n") {
		return in, false
	}
	n, err := strconv.ParseInt(line[1:], 10, 64)
	switch line[0] {
	case '+', '-':
		return rest, true
	case ':':
		return rest, err == nil
	case '$':
		if n == -1 && err == nil {
			return rest, true
		}
		if err != nil || n < 0 || int64(len(rest)) < n+2 || rest[n:n+2] != "\r\n" {
			return in, false
		}
		return rest[n+2:], true
	case '*':
		for ok = err == nil && n >= 0; ok && n > 0; n-- {
			rest, ok = oneReply(rest)
		}
		return rest, ok
	}
	return in, false
}

// FuzzScript runs scripts of any text, whose reply is one value of the protocol and nothing behind it, and
// gives any bytes to a script, which come back as they are.
func FuzzScript(f *testing.F) {
	for _, s := range scripts {
		f.Add(s.script, "x")
	}
	f.Add(`return {1, {ok = 'a\r\nb'}, {err = 'c\nd'}, 1.9, false, true, nil, 5}`, "\r\n$-1\r\n\x00\xff")
	f.Add(`return redis.call('SET', KEYS[1], ARGV[1])`, "")
	f.Add(`return redis.error_reply(ARGV[1])`, "-a\r\nb")
	f.Add(`local t = {} t[1] = t return t`, "")
	s, err := Open(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	s.scriptLimit = 2 * time.Millisecond
	eval := func(script, arg string) string {
		s.gate.Lock()
		defer s.gate.Unlock()
		s.redis.Lock()
		defer s.redis.Unlock()
		return string(s.script([]string{"EVAL", script, "1", arg, arg}, s.scripts.nested, "0", false))
	}
	f.Fuzz(func(t *testing.T, source, arg string) {
		if reply := eval(source, arg); reply != "" {
			if rest, ok := oneReply(reply); !ok || rest != "" {
				t.Errorf("%q: the reply %q is not one value", source, reply)
			}
		}
		bulk, line := fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg), strings.NewReplacer("\r", " ", "\n", " ").Replace(arg)
		echo := []struct{ script, want string }{
			{`return {KEYS[1], #ARGV[1], ARGV}`, "*3\r\n" + bulk + fmt.Sprintf(":%d\r\n*1\r\n", len(arg)) + bulk},
			{`redis.call('SET', 'k', ARGV[1]) return redis.call('GET', 'k')`, bulk},
			{`return {{ok = ARGV[1]}, 7}`, "*2\r\n+" + line + "\r\n:7\r\n"},
			{`return redis.sha1hex(ARGV[1]) == redis.sha1hex(KEYS[1]) and ARGV[1] .. ''`, bulk},
		}[len(source)%4]
		if got := eval(echo.script, arg); got != echo.want && !strings.Contains(got, "was stopped") {
			t.Errorf("%s with %q: %q, want %q", echo.script, arg, got, echo.want)
		}
	})
}

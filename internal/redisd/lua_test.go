package redisd

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// scripts are what a real Redis answers to each; TestRealRedisScripts asks one.
var scripts = []struct{ script, want string }{
	{`return cjson.encode({})`, `{}`},
	{`return cjson.encode({{}, {1, 2}, {a = {}}})`, `[{},[1,2],{"a":{}}]`},
	{`return cjson.encode({1, nil, 3})`, `[1,null,3]`},
	{`return cjson.encode({[3] = 'c'})`, `[null,null,"c"]`},
	{`return cjson.encode({[0] = 'z'})`, `{"0":"z"}`},
	{`return cjson.encode({1.5, -0.1, 1e20, 1e-7, 123456789012, 100000, 1/3, 2^53, true, false})`,
		`[1.5,-0.1,1e+20,1e-07,123456789012,100000,0.33333333333333,9.007199254741e+15,true,false]`},
	{`return cjson.encode('a"\\/\b\f\n\r\t\1\127é\255')`, "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u007fé\xff\""},
	{`return cjson.encode(cjson.null)`, `null`},
	{`return tostring(cjson.decode('null') == cjson.null)`, `true`},
	{`return cjson.encode(cjson.decode(' { "a" : [ 1 , -2.5e3, true, false, null, "x" ] } '))`, `{"a":[1,-2500,true,false,null,"x"]}`},
	{`return cjson.decode('"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\n\\/\\\\\\""')`, "Aé€😀\n/\\\""},
	{`return cjson.encode(cjson.decode('[]'))`, `{}`},
	{`return tostring(pcall(cjson.decode, '[1,'))`, `false`},
	{`return tostring(pcall(cjson.decode, ''))`, `false`},
	{`return tostring(pcall(cjson.decode, '{"a":1} x'))`, `false`},
	{`return tostring(pcall(cjson.encode, {[1000] = 1}))`, `false`},
	{`return tostring(pcall(cjson.encode, 0/0))`, `false`},
	{`return tostring(pcall(cjson.encode, tostring))`, `false`},
	{`local t = {} for i = 1, 1001 do t = {t} end return tostring(pcall(cjson.encode, t))`, `false`},

	{`return tostring(bit.tobit(0xffffffff)) .. bit.tobit(2^31) .. bit.tobit(-2^31) .. ' ' .. bit.bnot(0)`, `-1-2147483648-2147483648 -1`},
	{`return bit.band(0x12345678, 0xff) .. ' ' .. bit.bor(1, 2, 4) .. ' ' .. bit.bxor(0xa5a5f0f0, 0xaa55ff00)`, `120 7 267390960`},
	{`return bit.lshift(1, 31) .. ' ' .. bit.lshift(1, 32) .. ' ' .. bit.rshift(-256, 8) .. ' ' .. bit.arshift(-256, 8) .. ' ' .. bit.rshift(-1, 0)`,
		`-2147483648 1 16777215 -1 -1`},
	{`return bit.tohex(bit.rol(0x12345678, 12)) .. bit.tohex(bit.ror(0x12345678, 12)) .. bit.tohex(bit.bswap(0x12345678))`, `456781236781234578563412`},
	{`return bit.tohex(-1, 4) .. bit.tohex(255, -4) .. bit.tohex(255)`, `ffff00FF000000ff`},

	{`return struct.pack('>I2<I2bBhHlL', 258, 258, -1, 255, -2, 65534, -3, 4)`, "\x01\x02\x02\x01\xff\xff\xfe\xff\xfe\xff\xfd\xff\xff\xff\xff\xff\xff\xff\x04\x00\x00\x00\x00\x00\x00\x00"},
	{`return struct.pack('>dfc3sxc0', 1.5, -0.1, 'abcd', 'zero', 'rest')`, "\x3f\xf8\x00\x00\x00\x00\x00\x00\xbd\xcc\xcc\xcdabczero\x00\x00rest"},
	{`return cjson.encode({struct.unpack('>I2i2bBc2sdf', struct.pack('>I2i2bBc2sdf', 65000, -5, -128, 200, 'xy', 'text', -2.25, 0.5))})`,
		`[65000,-5,-128,200,"xy","text",-2.25,0.5,26]`},
	{`return cjson.encode({struct.unpack('<i8>l<Bc0', struct.pack('<i8>l<Bc0', -2, -3, 3, 'abc'))})`, `[-2,-3,"abc",21]`},
	{`return cjson.encode({struct.unpack('>I4', 'xx' .. '\0\0\1\0', 3)}) .. struct.size('>ihbdx')`, `[256,7]16`},
	{`return tostring(pcall(struct.unpack, 'bc0', '\253abc')) .. tostring(pcall(struct.unpack, 'B', 'abc', -2)) .. cjson.encode({struct.unpack('<fc0B', '\0\0\192\63abc')})`, `falsefalse["a",98,7]`},
	{`return cjson.encode({struct.unpack('<i7>i7', '\254\255\255\255\255\255\255\255\255\255\255\255\255\253')})`, `[-2,-3,15]`},
	{`return tostring(pcall(struct.unpack, '>I4', 'abc')) .. tostring(pcall(struct.pack, 'q', 1)) .. tostring(pcall(struct.pack, 'I')) .. tostring(pcall(struct.size, 's'))`,
		`falsefalsefalsefalse`},

	{`return cmsgpack.pack(0, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296)`,
		"\x00\x7f\xcc\x80\xcc\xff\xcd\x01\x00\xcd\xff\xff\xce\x00\x01\x00\x00\xce\xff\xff\xff\xff\xcf\x00\x00\x00\x01\x00\x00\x00\x00"},
	{`return cmsgpack.pack(-1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649)`,
		"\xff\xe0\xd0\xdf\xd0\x80\xd1\xff\x7f\xd1\x80\x00\xd2\xff\xff\x7f\xff\xd2\x80\x00\x00\x00\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"},
	{`return cmsgpack.pack(1.5, 0.1, true, false, nil, 'abc')`, "\xca\x3f\xc0\x00\x00\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xc3\xc2\xc0\xa3abc"},
	{`return cmsgpack.pack({}, {1, 2, {3}}, {a = 1}, {[1] = 1, [3] = 3})`, ""},
	{`return cmsgpack.pack(string.rep('x', 31), string.rep('x', 32), string.rep('x', 256))`,
		"\xbf" + strings.Repeat("x", 31) + "\xd9\x20" + strings.Repeat("x", 32) + "\xda\x01\x00" + strings.Repeat("x", 256)},
	{`return cjson.encode(cmsgpack.unpack(cmsgpack.pack({1, -1, 300, -300, 70000, -70000, 2^40, -2^40, 1.25, 1e300, true, 'x', {a = {}}})))`,
		`[1,-1,300,-300,70000,-70000,1099511627776,-1099511627776,1.25,1e+300,true,"x",{"a":{}}]`},
	{`local t = {} for i = 1, 20 do t[i] = i end return cjson.encode(cmsgpack.unpack(cmsgpack.pack(t)))`, `[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]`},
	{`return cjson.encode({cmsgpack.unpack('\1\2\163abc')})`, `[1,2,"abc"]`},
	{`return cjson.encode({cmsgpack.unpack_one('\1\2\3')}) .. cjson.encode({cmsgpack.unpack_one('\1\2\3', 2)}) .. cjson.encode({cmsgpack.unpack_limit('\1\2\3', 2)})`,
		`[1,1][-1,3][2,1,2]`},
	{`return tostring(pcall(cmsgpack.unpack, '\205\1')) .. tostring(pcall(cmsgpack.unpack, '\163ab')) .. tostring(pcall(cmsgpack.unpack, '\193')) .. tostring(pcall(cmsgpack.pack))`,
		`falsefalsefalsefalse`},
	{`local t = 1 for i = 1, 20 do t = {t} end return cmsgpack.pack(t)`, strings.Repeat("\x91", 16) + "\xc0"},
	{`local a = {} for i = 1, 16 do a = {a} end return cjson.encode(cmsgpack.unpack(cmsgpack.pack(a)))`, strings.Repeat("[", 15) + "{}" + strings.Repeat("]", 15)},

	{`return string.format('%s|%5s|%-5s|%.2s|%5.1f|%g|%g|%g|%x|%X|%o|%c|%q|%%|%i|%u|%e', 'a', 'b', 'c', 'defg', 1.25, 1e20, 0.1, 100, 255, 255, 8, 65, 'a"b\n', 7.9, 9, 12345.678)`,
		"a|    b|c    |de|  1.2|1e+20|0.1|100|ff|FF|10|A|\"a\\\"b\\\n\"|%|7|9|1.234568e+04"},
	{`return string.format('%5.3d|%+d|% d|%#x|%05d|%d', 7, 7, 7, 255, 42, '12')`, "  007|+7| 7|0xff|00042|12"},
	{`return string.format('%g %g %f', 1/0, -1/0, 1/0)`, "inf -inf inf"},
	{`return cjson.encode({string.find('hello world', '(o)( )(w)')})`, `[5,7,"o"," ","w"]`},
	{`return cjson.encode({string.gsub('hello', 'l', {l = 'L'})}) .. cjson.encode({string.gsub('hello', '', '-')})`, `["heLLo",2]["-h-e-l-l-o-",6]`},
	{`return cjson.encode({string.gsub('abc', '(a)(b)', '%2%1%0')}) .. cjson.encode({string.gsub('abc abc', 'b', 'x', 1)})`, `["baabc",1]["axc abc",1]`},
	{`return cjson.encode({string.gsub('hello world', '%f[%w]%w+', string.upper)})`, `["HELLO WORLD",2]`},
	{`return cjson.encode({string.gsub('a(b(c)d)e', '%b()', '')}) .. cjson.encode({string.gsub('x^y', '^x', 'z')})`, `["ae",1]["z^y",1]`},
	{`return cjson.encode({string.match('key=value', '(%w+)=(%w+)')}) .. cjson.encode({string.match('abcabc', '()(b)c.-%2()')})`, `["key","value"][2,"b",6]`},
	{`return cjson.encode({string.find('a.b', '.', 2, true)}) .. cjson.encode({string.find('abc', 'b', -1)}) .. cjson.encode({string.find('abc', '', 10)})`, `[2,2]{}[4,3]`},
	{`local r = {} for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do r[#r+1] = k .. v end return table.concat(r, ' ')`, `a1 b2`},
	{`return string.find(']', '[]]') .. string.find('^', '[%^]') .. string.find('a\0b', '%z') .. string.find('-', '[a-]') .. string.find('b', '[^%a-c]?')`, `11211`},
	{`return string.match('  trim  ', '^%s*(.-)%s*$') .. string.match('2026-01-02', '%d+-(%d+)') .. string.match('aaa', 'a-', 2) .. string.match('aXb', '%u')`, `trim01X`},
	{`return tostring(pcall(string.find, 'a', '[')) .. tostring(pcall(string.find, 'a', '%')) .. tostring(pcall(string.find, 'a', '(')) .. tostring(pcall(string.gsub, 'abc', 'b', '%9'))`, `falsefalsefalsefalse`},
	{`return table.concat({1, 2, 3}, ', ', 2, 3) .. table.concat({}, ',') .. tostring(pcall(table.concat, {1, 2}, ',', 1, 4)) .. string.rep('ab', 3)`, `2, 3falseababab`},
	{`local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
local function twice(n) return coroutine.wrap(function() for x in gen(n) do coroutine.yield(x * 2) end end) end
local r = {} for x in twice(3) do r[#r + 1] = x end return table.concat(r, ' ')`, `2 4 6`},
	{`local co = coroutine.create(function() error('inside') end) local ok, e = coroutine.resume(co) return tostring(ok) .. e .. coroutine.status(co) .. tostring(coroutine.resume(co))`,
		`falseuser_script:1: insidedeadfalse`},
	{`local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) return c, 'end' end)
return cjson.encode({coroutine.resume(co, 1, 2)}) .. cjson.encode({coroutine.resume(co, 'c')}) .. coroutine.status(co)`, `[true,3][true,"c","end"]dead`},
	{`local ok, e = pcall(function() error({code = 7}) end) return tostring(ok) .. e.code .. tostring(select(2, pcall(error)))`, `false7nil`},
	{`local ok, e = xpcall(function() error('x') end, function(m) return 'handled ' .. m end) return tostring(ok) .. e`, `falsehandled user_script:1: x`},
	{`local function two() return 'x', 'y' end local function all(...) return '<' .. ... end
return 'a' .. 1 .. two() .. (two()) .. 1.5 .. all('p', 'q') .. ('b' .. 'c') .. #('d' .. 'e') .. -('1' .. '2')`, `a1xx1.5<pbc2-12`},
	{`local t = setmetatable({}, {__concat = function(a, b) return (type(a) == 'table' and 't' or a) .. '~' .. (type(b) == 'table' and 't' or b) end})
return cjson.encode({t .. 'a', 'a' .. t, t .. t, 'x' .. 'y' .. t .. 'z' .. 'w', 1 .. t})`, `["t~a","a~t","t~t","xyt~zw","1~t"]`},
	{`local s = '' for i = 1, 3 do s = s .. i .. ',' end local t = {k = 'v' .. 1, ['w' .. 2] = 'u'} return s .. t.k .. t.w2 .. ('a' .. 'b'):upper() .. (('a' .. 'b') == 'ab' and 'same' or 'other')`, `1,2,3,v1uABsame`},
	{`local ok, e = pcall(function() return 'a' .. nil end) return tostring(ok) .. string.match(e, 'attempt to concatenate a nil value')`, `falseattempt to concatenate a nil value`},
	{`return cjson.encode({tonumber('1e5'), tonumber(' -1E-3 '), tonumber('010'), tonumber('123456789012345678901'), tonumber('0x10'), tonumber('1e5', 16), tonumber('.5'), tonumber(7)})`,
		`[100000,-0.001,10,1.2345678901235e+20,16,485,0.5,7]`},
	{`return string.format('%g %g %g ', tonumber('inf'), tonumber('-INF'), math.huge) .. cmsgpack.pack(math.huge) .. struct.pack('>d', -math.huge) .. tostring(tonumber('1-2')) .. tostring(tonumber('1e')) .. tostring(tonumber('')) .. tostring(tonumber('1 2')) .. tostring(tonumber({}))`,
		"inf -inf inf \xca\x7f\x80\x00\x00\xff\xf0\x00\x00\x00\x00\x00\x00nilnilnilnilnil"},
	{`return cjson.encode({'010' + 1, '1e2' - 1, 2 * '08', '0x10' / '2', '010' % 7, '010' ^ '2', -'010', cjson.decode('[1e-7,010,12345678901234567890123]')})`,
		`[11,99,16,8,3,100,-10,[1e-07,10,1.2345678901235e+22]]`},
	{`return tostring(pcall(function() return 'x' + 1 end)) .. tostring(pcall(function() return 1 - 'x' end)) .. tostring(pcall(function() return -'x' end)) .. tostring(pcall(function() return {} * '1' end))`, `falsefalsefalsefalse`},
	{`return bit.tohex(-1, 0) .. bit.tohex(255, 1) .. '|' .. cjson.encode({struct.unpack('>L', '\255\255\255\255\255\255\251\255') == 2^64 - 2048})`, `f|[true]`},
	{`return loadstring('return 7')() .. tostring(loadstring('return +')) .. string.byte('abc', -1) .. select('#', unpack({1, nil, 3}, 1, 3))`, `7nil993`},
}

func TestScriptLibraries(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	for _, sc := range scripts {
		got, err := c.Eval(ctx, sc.script, nil).Text()
		if sc.want == "" {
			continue // the order of a table's keys differs: see below
		}
		if err != nil || got != sc.want {
			t.Errorf("%s: %q, %v, want %q", sc.script, got, err, sc.want)
		}
	}
}

func TestRealRedisScripts(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/redisd -run RealRedisScripts")
	}
	c := realRedis(t)
	for _, sc := range scripts {
		if got, err := c.Eval(ctx, sc.script, nil).Text(); err != nil || sc.want != "" && got != sc.want {
			t.Errorf("%s: %q, %v, expected %q", sc.script, got, err, sc.want)
		}
	}
}

// Random numbers in every form, on both servers.
func TestRealRedisNumbers(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/redisd -run RealRedisNumbers")
	}
	s, _ := open(t, Config{})
	theirs, ours := realRedis(t), dial(t, s, 0, 2)
	const script = `local x, n, a, by = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local packed = struct.pack('>df<dfI4>i8<i3', x, x, x, x, a, n, n)
return {packed, cmsgpack.pack(x, n, {x, n, ARGV[1]}), cjson.encode({x, n, struct.unpack('>df<dfI4>i8<i3', packed)}),
  cjson.encode({cmsgpack.unpack(cmsgpack.pack(x, n, {k = x}))}), bit.tohex(n), bit.tohex(bit.bxor(n, a, by)) .. bit.tohex(bit.band(n, a)) .. bit.tohex(bit.bor(n, a)),
  bit.tohex(bit.rol(n, by)) .. bit.tohex(bit.ror(n, by)) .. bit.tohex(bit.lshift(n, by)) .. bit.tohex(bit.rshift(n, by)) .. bit.tohex(bit.arshift(n, by)), bit.bswap(n)}`
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		x := math.Float64frombits(rnd.Uint64())
		if rnd.IntN(2) == 0 {
			x = float64(rnd.IntN(2000)-1000) / 8
		}
		if math.IsNaN(x) || math.IsInf(float64(float32(x)), 0) {
			continue // cjson refuses them
		}
		if float32(x) == 0 && math.Signbit(x) {
			continue // gopher-lua has no negative zero
		}
		n := int64(rnd.Uint64()) >> (13 + rnd.IntN(51))
		args := []any{strconv.FormatFloat(x, 'g', 17, 64), n, rnd.Uint32(), rnd.IntN(32)}
		want := must[[]any](t)(theirs.Eval(ctx, script, nil, args...).Slice())
		got := must[[]any](t)(ours.Eval(ctx, script, nil, args...).Slice())
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v, part %d: %q, a real Redis %q", args, i, got[i], want[i])
			}
		}
	}
}

// Scripts that need the libraries keep their digest in every way that there is to call them.
func TestScriptsWithLibrariesKeepTheirDigest(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	const loaded, evaluated = `return cjson.encode({ARGV[1]})`, `return cmsgpack.pack(KEYS[1])`
	if sha := must[string](t)(c.ScriptLoad(ctx, loaded).Result()); sha != redis.NewScript(loaded).Hash() {
		t.Errorf("the digest is %s", sha)
	}
	must[any](t)(c.Eval(ctx, evaluated, []string{"k"}).Result())
	shas := []string{redis.NewScript(loaded).Hash(), redis.NewScript(evaluated).Hash()}
	if found := must[[]bool](t)(c.ScriptExists(ctx, shas...).Result()); !found[0] || !found[1] {
		t.Errorf("known: %v", found)
	}
	for _, call := range []func() *redis.Cmd{
		func() *redis.Cmd { return c.EvalSha(ctx, shas[0], nil, "x") },
		func() *redis.Cmd { return c.EvalShaRO(ctx, shas[0], nil, "x") },
		func() *redis.Cmd { return c.EvalRO(ctx, loaded, nil, "x") },
		func() (reply *redis.Cmd) {
			_, _ = c.TxPipelined(ctx, func(p redis.Pipeliner) error { reply = p.EvalSha(ctx, shas[0], nil, "x"); return nil })
			return reply
		},
	} {
		if got, err := call().Text(); err != nil || got != `["x"]` {
			t.Errorf("%q, %v", got, err)
		}
	}
	must[string](t)(c.ScriptFlush(ctx).Result())
	if err := c.EvalSha(ctx, shas[0], nil, "x").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
		t.Errorf("after SCRIPT FLUSH: %v", err)
	}
	must[any](t)(c.Eval(ctx, evaluated, []string{"k"}).Result())
	must[any](t)(c.EvalSha(ctx, shas[1], []string{"k"}).Result())
}

func TestScriptErrorsKeepTheirLine(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	for script, want := range map[string]string{
		"local x = bit.bnot(1)\n\nerror('wrong')": ":3: wrong",
		"return\n struct.nothing()":               "struct.nothing is not served by weir's embedded Redis; use a real one with --redis",
		"cjson.encode({})\n x = 1":                "global variable 'x'",
		"return bit.band(1, 3) + and":             "line:1(column:27) near 'and'",
		"return struct.pack('!4i', 1)":            "use a real one with --redis",
	} {
		if err := c.Eval(ctx, script, nil).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", script, err, want)
		}
	}
}

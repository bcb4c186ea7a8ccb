package redisd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// hostile are scripts that would end the process, or take its memory or its time, if
// nothing bounded them, and a part of the error that each gets. A real Redis answers
// those without alone an error, too, or what is in same.
var hostile = []struct {
	script, want, same string
	alone              bool // a real Redis does not survive it, or does not end it
}{
	{script: `local t = {} t[1] = t return t`, want: "reached lua stack limit", same: "array"},
	{script: `local t = {} t[1] = t error(t)`, want: "without a field err", alone: true},
	{script: `local t = {} t[1] = t return redis.call('SET', 'k', t)`, want: "must be strings or integers"},
	{script: `local t = {} t[1] = t return cjson.encode(t)`, want: "excessive nesting (1001)"},
	{script: `local t = {} t.a = t return cjson.encode(t)`, want: "excessive nesting (1001)"},
	{script: `local t = {} t[1] = t return struct.pack('>I', t)`, want: "number expected, got table"},
	{script: `local t = {} t[1] = t return struct.pack('s', t)`, want: "string expected, got table"},
	{script: `local a = {string.rep('x', 1e5)} for i = 1, 40 do a = {a, a} end return a`, want: "larger than", alone: true},
	{script: `return cjson.decode(string.rep('[', 1001) .. string.rep(']', 1001))`, want: "nested data structures (1001)"},
	{script: `return cmsgpack.unpack(string.rep('\145', 100000))`, want: "overflow"},
	{script: `local function f() return 1 + f() end return f()`, want: "overflow"},
	{script: `local function f() return coroutine.wrap(f)() end return f()`, want: "C stack overflow"},
	{script: `local function f() return (string.gsub('x', 'x', f)) end return f()`, want: "overflow"},
	{script: `local function f() table.sort({1, 2, 3}, f) end f()`, want: "overflow"},
	{script: `local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x`, want: "overflow"},
	{script: `local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x`, want: "gettable"},
	{script: `return unpack({}, 1, 1e8)`, want: "too many results to unpack"},
	{script: `return string.byte(string.rep('x', 1e6), 1, -1)`, want: "string slice too long"},
	{script: `return string.rep('x', 1e18)`, want: "resulting string too large", alone: true},
	{script: `local s = string.rep('x', 1e6) return string.gsub(s, '.', s)`, want: "resulting string too large", alone: true},
	{script: `local s = string.rep('x', 1e6) local t = {} for i = 1, 100 do t[i] = s end return table.concat(t)`, want: "resulting string too large", alone: true},
	{script: `local s = string.rep('x', 1e6) return ` + strings.Repeat("s .. ", 150) + "s", want: "resulting string too large", alone: true},
	{script: `local s = 'x' while true do s = s .. s end`, want: "resulting string too large", alone: true},
	{script: `return loadstring("local s = 'x' while true do s = s .. 1 .. s end")()`, want: "resulting string too large", alone: true},
	{script: `return 1 ` + strings.Repeat(" .. 1", 20_000), want: "overflow"},
	{script: `return setfenv(1, {})`, want: "nonexistent global variable 'setfenv'"},
	{script: `return string.format('%99999d', 1)`, want: "width or precision too long"},
	{script: `return string.format('%[1]999d', 1)`, want: "invalid option"},
	{script: `return dofile('/etc/hostname')`, want: "nonexistent global variable 'dofile'"},
	{script: `return require('os')`, want: "nonexistent global variable 'require'"},
	{script: `error(nil)`, want: "ERR nil"},
	{script: `return redis.call('SUBSCRIBE', 'c')`, want: "not allowed from script"},
	{script: `return redis.call('EVAL', 'return 1', 0)`, want: "not allowed from script"},
	{script: `return redis.call('` + hiddenPrefix + `X', 0)`, want: "Unknown Redis command"},
	{script: `return ` + strings.Repeat("{", 20_000), want: "syntax error"},
	{script: `return ` + strings.Repeat("not ", 15_000) + `1`, want: "too many syntax levels"},
	{script: `--` + strings.Repeat("x", maxSource), want: "use a real one with --redis", alone: true},
}

// patient is a client that waits long, for machines that are slow.
func patient(t *testing.T, s *Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: time.Minute, MaxRetries: -1, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestHostileScripts(t *testing.T) {
	s, _ := open(t, Config{})
	s.scriptLimit = time.Hour
	other := patient(t, s)
	for _, h := range hostile {
		c := patient(t, s)
		if got, err := c.Eval(ctx, h.script, nil).Result(); err == nil || !strings.Contains(err.Error(), h.want) {
			t.Errorf("%.80s: %.80v, error %.200v, want %q", h.script, got, err, h.want)
		}
		must[string](t)(c.Ping(ctx).Result()) // on the same connection
		if got := must[int64](t)(other.Incr(ctx, "others").Result()); got == 0 {
			t.Error("the counter does not count")
		}
	}
}

func TestRealRedisHostileScripts(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/redisd -run RealRedisHostileScripts")
	}
	c := realRedis(t)
	for _, h := range hostile {
		if h.alone {
			continue
		}
		if got, err := c.Eval(ctx, h.script, nil).Result(); err == nil && h.same != "array" {
			t.Errorf("%.80s: a real Redis answers %.80v", h.script, got)
		}
	}
}

// What a script may return though it is deep or odd.
func TestUnusualReplies(t *testing.T) {
	s, _ := open(t, Config{})
	for script, want := range map[string]string{
		`return {1, tostring, 2, coroutine.create(tostring), cjson.null, 3}`: "[1 <nil> 2 <nil> <nil> 3]",
		`return {err = 'a\r\n+OK'}`:                                                                                      "a  +OK",
		`return {ok = 'a\r\n+OK'}`:                                                                                       "a  +OK",
		`local t = {} t.err = t t.ok = t return t`:                                                                       "[]",
		`return {true, false, 3.7, 'x', {ok = 'fine'}, {err = 'MY bad'}, {}}`:                                            "[1 <nil> 3 x fine MY bad []]",
		`local t = {} for i = 1, 1500 do t = {t} end return t`:                                                           strings.Repeat("[", 1501) + strings.Repeat("]", 1501),
		`local t = {} t[1] = t return #cmsgpack.pack(t)`:                                                                 "17",
		`local ok, e = pcall(redis.call, 'GET') return {type(e), (redis.pcall('GET').err == e and 1)}`:                   "[string 1]",
		`return {pcall(function() return 1, 2 end)}`:                                                                     "[1 1 2]",
		`local function f() pcall(f) end f() return 'back'`:                                                              "back",
		`local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end return f(15000)`:                        "15000",
		`local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) return {co(1), co(5)}`: "[2 10]",
		`return #string.match(string.rep('a', 5000000), '.*')`:                                                           "5000000",
		`return redis.call('BLPOP', 'nothing', 0)`:                                                                       "redis: nil",
		`return redis.call('XREAD', 'BLOCK', 0, 'STREAMS', 'nothing', '$')`:                                              "redis: nil",
		`return redis.call('SELECT', 3) and redis.call('SET', 'in3', 'x') and redis.call('DBSIZE')`:                      "1",
	} {
		c := dial(t, s, 0, 2)
		got, err := c.Eval(ctx, script, nil).Result()
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s: %.200s, want %.200s", script, text, want)
		}
	}
	if n := must[int64](t)(dial(t, s, 0, 2).DBSize(ctx).Result()); n != 0 {
		t.Errorf("%d keys in database 0: SELECT in a script is for that script alone", n)
	}
}

// endless are scripts that do not end.
var endless = []string{
	`while true do end`,
	`while true do pcall(function() while true do end end) end`,
	`local co = coroutine.wrap(function() while true do end end) co()`,
	`local function f() return f() end return f()`,
	`return string.find(string.rep('a', 100000), '.-.-.-.-b')`,
	`local a = {} for i = 1, 60 do a = {a, a} end return cjson.encode(a)`,
	`redis.call('SET', 'k', 'half') while true do redis.call('INCR', 'n') end`,
}

// A script that does not end is stopped; others are served afterwards.
func TestEndlessScripts(t *testing.T) {
	for i, script := range endless {
		s, _ := open(t, Config{})
		s.scriptLimit = 20 * time.Millisecond
		c := patient(t, s)
		waiting := make(chan error, 1)
		var err error
		if i%2 == 0 {
			err = c.Eval(ctx, script, nil).Err()
		} else { // inside a transaction
			_, err = c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Eval(ctx, script, nil); return nil })
		}
		go func() { waiting <- patient(t, s).Set(ctx, "after", "1", 0).Err() }()
		if err == nil || !strings.Contains(err.Error(), "was stopped; what it wrote until then stays") || !strings.Contains(err.Error(), "--redis") {
			t.Errorf("%s: error %v", script, err)
		}
		if err := <-waiting; err != nil {
			t.Errorf("%s: another client: %v", script, err)
		}
	}
}

// A script that wrote gets more time, for to stop it half-way is worse.
func TestScriptsThatWroteGetMoreTime(t *testing.T) {
	limit := 10 * watchEvery
	for _, wrote := range []bool{false, true} {
		var looks int
		r := &run{stop: func(error) {}}
		r.wrote.Store(wrote)
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			stopped := make(chan struct{})
			r.stop = func(error) { close(stopped) }
			defer r.watch(limit)()
			<-stopped
			looks = int(time.Since(begun) / watchEvery)
		})
		want := 10
		if wrote {
			want *= 6
		}
		if looks != want {
			t.Errorf("wrote %v: stopped after %d looks, not %d", wrote, looks, want)
		}
	}
}

// A script that takes ever more memory is stopped long before its time is over.
func TestScriptMemory(t *testing.T) {
	s, _ := open(t, Config{})
	s.scriptLimit = time.Hour
	err := patient(t, s).Eval(ctx, `local t = {} while true do t[#t + 1] = string.rep('x', 1e6) end`, nil).Err()
	if err == nil || !strings.Contains(err.Error(), "needed more than 256 MB") {
		t.Errorf("error %v", err)
	}
}

func TestScriptKill(t *testing.T) {
	s, _ := open(t, Config{})
	s.scriptLimit = time.Hour
	killer := dial(t, s, 0, 2)
	if err := killer.ScriptKill(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOTBUSY") {
		t.Errorf("nothing runs: error %v", err)
	}
	run := func(script string) chan error {
		end := make(chan error, 1)
		c := patient(t, s)
		go func() { end <- c.Eval(ctx, script, nil).Err() }()
		for s.running.Load() == nil {
			<-time.After(time.Millisecond)
		}
		return end
	}
	for range 200 { // some of them before their first instruction
		end := run(`while true do end`)
		must[string](t)(killer.ScriptKill(ctx).Result())
		if err := <-end; err == nil || !strings.Contains(err.Error(), "Script killed by user") {
			t.Fatalf("the killed script: %v", err)
		}
	}
	end := run(`redis.call('SET', 'k', 1) while true do end`)
	for !s.running.Load().wrote.Load() {
		<-time.After(time.Millisecond)
	}
	if err := killer.ScriptKill(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "UNKILLABLE") {
		t.Errorf("a script that wrote: error %v", err)
	}
	s.running.Load().stop(errScriptTime)
	if err := <-end; err == nil {
		t.Error("the script was not stopped")
	}
	must[string](t)(killer.Get(ctx, "k").Result())
}

// Scripts in transactions, in either protocol: in order, with errors in their place,
// and in the database that is selected when EXEC runs them.
func TestScriptsInTransactions(t *testing.T) {
	s, _ := open(t, Config{})
	for _, protocol := range []int{2, 3} {
		c := dial(t, s, 0, protocol)
		sha := must[string](t)(c.ScriptLoad(ctx, `return redis.call('GET', KEYS[1])`).Result())
		cmds, _ := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "k", "v0", 0)
			p.Eval(ctx, `return {1, {ok = 'fine'}, false}`, nil)
			p.EvalSha(ctx, sha, []string{"k"})
			p.Do(ctx, "SELECT", "5")
			p.EvalSha(ctx, sha, []string{"k"})
			p.Eval(ctx, `error('wrong')`, nil)
			p.ScriptExists(ctx, sha)
			p.Do(ctx, "SELECT", "0")
			p.Get(ctx, "k")
			return nil
		})
		var got []string
		for _, cmd := range cmds {
			text, _, _ := strings.Cut(fmt.Sprint(cmd), " script: ")
			got = append(got, text[strings.LastIndex(text, ": ")+2:])
		}
		if want := "OK, [1 fine <nil>], v0, OK, nil, wrong, [true], OK, v0"; strings.Join(got, ", ") != want {
			t.Errorf("RESP%d: %s, want %s", protocol, strings.Join(got, ", "), want)
		}
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Do(ctx, "EVAL", "return 1"); return nil })
		if err == nil || !strings.HasPrefix(err.Error(), "EXECABORT") && !strings.Contains(err.Error(), "wrong number") {
			t.Errorf("a malformed EVAL: %v", err)
		}
	}
}

// EVAL leaves a bounded number of scripts behind; those of SCRIPT LOAD stay.
func TestEvaluatedScriptsAreBounded(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	kept := must[string](t)(c.ScriptLoad(ctx, "return 'kept'").Result())
	first := redis.NewScript("return 0")
	for i := range maxEvaluated + 10 {
		must[any](t)(c.Eval(ctx, fmt.Sprintf("return %d", i), nil).Result())
	}
	if n := len(s.scripts.bySHA); n != maxEvaluated+1 {
		t.Errorf("%d scripts are kept", n)
	}
	if known := must[[]bool](t)(c.ScriptExists(ctx, kept, first.Hash()).Result()); !known[0] || known[1] {
		t.Errorf("known: %v", known)
	}
}

// A script changes all that it reaches of what it found; the next one finds it as it was.
func TestScriptsDoNotSeeWhatOthersChanged(t *testing.T) {
	s, stop := open(t, Config{})
	defer stop()
	c := dial(t, s, 0, 2)
	const found = `
local seen, all = {}, {}
local function look(name, t)
  if seen[t] then return end
  seen[t] = true
  local mt = getmetatable(t)
  if type(mt) == 'table' then look(name .. '@', mt) end
  for k, v in pairs(t) do
    if k ~= 'KEYS' and k ~= 'ARGV' and k ~= 'server' then
      all[#all + 1] = name .. '.' .. tostring(k) .. ' ' .. type(v)
      if type(v) == 'table' then look(name .. '.' .. tostring(k), v) end
    end
  end
end
look('_G', _G)
look('string@', getmetatable(''))
table.sort(all)
return all`
	const ruin = `
local seen, empty, pairs, type, rawset, getmetatable, setmetatable = {}, {}, pairs, type, rawset, getmetatable, setmetatable
local function ruin(t)
  if seen[t] then return end
  seen[t] = true
  local keys = {}
  for k, v in pairs(t) do keys[k] = v end
  local mt = getmetatable(t)
  if type(mt) == 'table' then ruin(mt) end
  if type(t) == 'table' then setmetatable(t, nil) end
  for k, v in pairs(keys) do
    if type(v) == 'table' then ruin(v) end
    rawset(t, k, nil)
  end
  rawset(t, 'mine', 1)
end
local strings = getmetatable('')
ruin(_G)
ruin(strings)
return 'ruined'`
	for _, library := range []string{"", "local _ = cjson\n"} {
		before, err := c.Eval(ctx, library+found, nil).StringSlice()
		if err != nil || len(before) < 60 {
			t.Fatalf("a script finds %q: %v", before, err)
		}
		if v, err := c.Eval(ctx, library+ruin, nil).Result(); err != nil || v != "ruined" {
			t.Fatalf("the changes: %v, %v", v, err)
		}
		after, err := c.Eval(ctx, library+found, nil).StringSlice()
		if err != nil || !slices.Equal(before, after) {
			t.Errorf("after it a script finds\n%q (%v)\nand not\n%q", after, err, before)
		}
		if v, err := c.Eval(ctx, library+`return string.upper(('x'):rep(2)) .. redis.call('ECHO', 'y')`, nil).Result(); err != nil || v != "XXy" {
			t.Errorf("after it: %v, %v", v, err)
		}
	}
}

// Scripts that end in the middle of coroutines take nothing from those after them.
func TestScriptsThatEndInCoroutines(t *testing.T) {
	s, stop := open(t, Config{})
	defer stop()
	c := dial(t, s, 0, 2)
	const nested = `local function nest(n) if n > 0 then coroutine.wrap(nest)(n - 1) elseif #ARGV > 0 then error('here') end end `
	for range 3 {
		_, err := c.Eval(ctx, nested+`nest(150)`, nil, "error").Result()
		if err == nil || !strings.Contains(err.Error(), "here") {
			t.Fatal(err)
		}
		if v, err := c.Eval(ctx, nested+`nest(150) return 'fine'`, nil).Result(); err != nil || v != "fine" {
			t.Fatalf("%v, %v", v, err)
		}
	}
	if _, err := c.Eval(ctx, nested+`nest(1000)`, nil).Result(); err == nil || !strings.Contains(err.Error(), "C stack overflow") {
		t.Errorf("too many: %v", err)
	}
}

package redisd

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// Random patterns, on both servers.
func TestRealRedisLuaPatterns(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/redisd -run RealRedisLuaPatterns")
	}
	s, _ := open(t, Config{})
	theirs, ours := realRedis(t), dial(t, s, 0, 2)
	const script = `local function all(...) local r = {...} for i = 1, select('#', ...) do r[i] = tostring(r[i]) end return table.concat(r, ',') end
local s, p, by, at = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local each = {} local ok = pcall(function() for a, b in string.gmatch(s, p) do each[#each + 1] = all(a, b) end end)
return {all(pcall(string.find, s, p, at)), all(pcall(string.match, s, p, at)), all(pcall(string.gsub, s, p, by)), all(pcall(string.gsub, s, p, by, 2)),
  all(pcall(string.gsub, s, p, function(a) return a == 'a' and 'X' or nil end)), all(ok, unpack(each)), all(pcall(string.byte, s, at, at + 2))}`
	parts := []string{"a", "b", "ab", ".", "%a", "%d", "%s", "%u", "%w", "%p", "%A", "[ab]", "[^a]", "[a-c]", "[%d_]", "(", ")", "()", "(a)", "(.-)", "%1", "%2", "%b()", "%f[%w]", "^", "$", "*", "+", "-", "?", "%", "[", "]", "%%", "1", " "}
	subjects := []string{"a", "b", "c", "A", "1", " ", "(", ")", "_", "ab", "\x00", "\xff", "%"}
	replacements := []string{"", "x", "%0", "%1", "<%0>", "%2", "%%", "%1%1"}
	rnd := rand.New(rand.NewPCG(5, 6))
	join := func(from []string, n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(from[rnd.IntN(len(from))])
		}
		return b.String()
	}
	valid := 0
	for range 4000 {
		args := []any{join(subjects, rnd.IntN(12)), join(parts, 1+rnd.IntN(6)), replacements[rnd.IntN(len(replacements))], rnd.IntN(9) - 3}
		want := must[[]any](t)(theirs.Eval(ctx, script, nil, args...).Slice())
		got := must[[]any](t)(ours.Eval(ctx, script, nil, args...).Slice())
		for i := range want {
			w, g := want[i].(string), got[i].(string)
			if strings.HasPrefix(w, "false") && strings.HasPrefix(g, "false") {
				continue // both fail; the words differ in places
			}
			if valid++; g != w {
				t.Errorf("%q, part %d: %q, a real Redis %q", args, i, g, w)
			}
		}
	}
	if valid < 10_000 {
		t.Errorf("only %d results to compare", valid)
	}
}

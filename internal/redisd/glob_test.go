package redisd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patterns that miniredis does not compile, or gives another meaning.
var patterns = []string{
	"\xff*", "[z-a]", "[z-a]*", `\\E(`, `\\E.*\\Q`, `\`, `a\`, "[", "[^", "[^]", "[]", "[a", `[a\`, `[\d]`, `[a-`, "[a-]", "[a-]x]", "[[:alpha:]]",
	"??", "h?llo", "é*", "?", "*\xa9", "[\xc3]\xa9", "[^a]", "[^a-z]?", "*", "**", "a**b", "*a*b*", `\*`, `[\]]`, `[\^a]`, "h[ae]llo", "",
	strings.Repeat("*a", 40), strings.Repeat("*", 5000),
}

var names = []string{
	"a", "b", "ab", "m", "z", "-", "]", "[", "^", "d", `\`, `\E(`, `a\`, "é", "\xc3", "\xa9", "\xff", "\xffx", "hello", "hallo", "héllo", "*", "\ufffd",
	"-x]", "a\nb", strings.Repeat("a", 100),
}

// reference matches by trying everything, as the documentation of KEYS reads.
func reference(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		p = strings.TrimLeft(p, "*")
		for i := range len(s) + 1 {
			if reference(p, s[i:]) {
				return true
			}
		}
		return false
	case s == "":
		return false
	case p[0] == '?':
		return reference(p[1:], s[1:])
	case p[0] == '[':
		var in [256]bool
		p = p[1:]
		negated := strings.HasPrefix(p, "^")
		p = strings.TrimPrefix(p, "^")
		for p != "" && p[0] != ']' {
			if len(p) > 1 && p[0] == '\\' {
				in[p[1]], p = true, p[2:]
				continue
			}
			if len(p) > 2 && p[1] == '-' {
				for c := range 256 {
					if c >= int(p[0]) && c <= int(p[2]) || c <= int(p[0]) && c >= int(p[2]) {
						in[c] = true
					}
				}
				p = p[3:]
				continue
			}
			in[p[0]], p = true, p[1:]
		}
		p = strings.TrimPrefix(p, "]")
		return in[s[0]] != negated && reference(p, s[1:])
	case p[0] == '\\' && len(p) > 1:
		return p[1] == s[0] && reference(p[2:], s[1:])
	}
	return p[0] == s[0] && reference(p[1:], s[1:])
}

func FuzzMatch(f *testing.F) {
	for i, p := range patterns {
		f.Add(p, names[i%len(names)])
	}
	f.Fuzz(func(t *testing.T, p, s string) {
		if len(s) > 12 || strings.Count(p, "*") > 6 {
			_ = match(p, s) // the reference takes too long
			return
		}
		if got, want := match(p, s), reference(p, s); got != want {
			t.Errorf("%q and %q: %v, want %v", p, s, got, want)
		}
	})
}

// Every command that takes a pattern, in every place, answers each pattern.
func TestPatterns(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) { checkPatterns(t, protocol) })
	}
}

func checkPatterns(t *testing.T, protocol int) {
	s, _ := open(t, Config{})
	c := dial(t, s, 2, protocol)
	for _, n := range names {
		must[string](t)(c.Set(ctx, n, "v", 0).Result())
	}
	other := dial(t, s, 0, protocol)
	for _, n := range names {
		must[int64](t)(other.HSet(ctx, "hash", n, "value of "+n).Result())
		must[int64](t)(other.SAdd(ctx, "set", n).Result())
		must[int64](t)(other.ZAdd(ctx, "zset", redis.Z{Score: 7, Member: n}).Result())
	}
	for _, p := range patterns {
		var want, fields, scores []string
		for _, n := range names {
			if reference(p, n) {
				want, fields, scores = append(want, n), append(fields, n, "value of "+n), append(scores, n, "7")
			}
		}
		check := func(what string, got, want []string) {
			t.Helper()
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s with %q: %q, want %q", what, p, got, want)
			}
		}
		scanned := func(c *redis.Client, args ...any) (all []string) { // until the cursor is 0
			t.Helper()
			for cursor := "0"; ; {
				args[len(args)-1] = cursor
				reply := must[[]any](t)(c.Do(ctx, append(slices.Clone(args), "COUNT", "4", "MATCH", p)...).Slice())
				for _, v := range reply[1].([]any) {
					all = append(all, fmt.Sprint(v))
				}
				if cursor = reply[0].(string); cursor == "0" {
					return all
				}
			}
		}
		check("KEYS", must[[]string](t)(c.Keys(ctx, p).Result()), want)
		check("SCAN", scanned(c, "SCAN", ""), want)
		check("HSCAN", scanned(other, "HSCAN", "hash", ""), fields)
		check("SSCAN", scanned(other, "SSCAN", "set", ""), want)
		check("ZSCAN", scanned(other, "ZSCAN", "zset", ""), scores)
		check("KEYS in a script", must[[]string](t)(c.Eval(ctx, "return redis.call('keys', ARGV[1])", nil, p).StringSlice()), want)
		check("SCAN in a script", must[[]string](t)(c.Eval(ctx, "return redis.call('SCAN', '0', 'match', ARGV[1])[2]", nil, p).StringSlice()), want)
		var keys *redis.StringSliceCmd
		_, err := c.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "a", "v", 0)
			keys = pipe.Keys(ctx, p)
			pipe.Do(ctx, "HSCAN", "a", "0", "MATCH", p)
			return nil
		})
		if err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
			t.Errorf("HSCAN of a string in MULTI with %q: %v", p, err)
		}
		check("KEYS in MULTI", must[[]string](t)(keys.Result()), want)
	}
}

// A subscription gets what its pattern matches, or an error that names the way out.
func TestPatternsOfSubscriptions(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	served := 0
	for _, p := range slices.Concat(patterns, []string{"news.*", "h[a-e]llo", "[^b-z]", `a\[b`}) {
		sub := c.PSubscribe(ctx, p)
		_, err := sub.Receive(ctx)
		_, cerr := c.PubSubChannels(ctx, p).Result()
		for _, err := range []error{err, cerr} {
			if err != nil && !strings.Contains(err.Error(), "use a real one with --redis") {
				t.Errorf("%q: %v", p, err)
			}
		}
		if err == nil {
			served++
			for _, n := range append(names, "news.1", "a[b") {
				if slices.ContainsFunc([]byte(n), func(b byte) bool { return b >= 0x80 }) {
					continue // a character may be several bytes
				}
				if got := must[int64](t)(c.Publish(ctx, n, "x").Result()) == 1; got != reference(p, n) {
					t.Errorf("%q gets messages of %q: %v", p, n, got)
				}
			}
		}
		_ = sub.Close()
		for deadline := time.Now().Add(30 * time.Second); must[int64](t)(c.PubSubNumPat(ctx).Result()) > 0; {
			if time.Now().After(deadline) {
				t.Fatal("a subscriber that left is still counted")
			}
		}
	}
	if served < 10 {
		t.Errorf("%d patterns are served", served)
	}
}

// Inside MULTI a command that is refused makes EXEC fail.
func TestWhatIsRefusedAbortsATransaction(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	for _, refused := range [][]any{{"PFADD", "h", "x"}, {"PSUBSCRIBE", "[z-a]"}, {"SELECT", "16"}, {"SSCAN", "s", "-1"}, {"ZSCAN", "z", "-1"}} {
		_, err := c.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "k", "v", 0)
			pipe.Do(ctx, refused...)
			return nil
		})
		if err == nil || must[int64](t)(c.Exists(ctx, "k").Result()) != 0 {
			t.Errorf("%v: error %v, and the rest was done", refused, err)
		}
	}
}

// realRedis starts a redis-server.
func realRedis(t *testing.T) *redis.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	until(t, "redis-server answers", func() bool { return c.Ping(ctx).Err() == nil })
	return c
}

// The same patterns and names on a real Redis.
func TestRealRedisMatches(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/redisd -run RealRedisMatches")
	}
	c := realRedis(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		const alphabet = "aab-^[]*?\\z\xc3\xa9\xff"
		b := make([]byte, 1+rnd.IntN(8))
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	all, globs := slices.Clone(names), slices.Clone(patterns)
	for range 300 {
		all = append(all, random())
	}
	// In a range a real Redis compares bytes from 0x80 on as its platform's C does.
	signed := regexp.MustCompile(`(?s)-[^\x00-\x7f]|[^\x00-\x7f]-`)
	for range 3000 {
		if p := random(); !signed.MatchString(p) {
			globs = append(globs, p)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, n := range all {
		must[string](t)(c.Set(ctx, n, "v", 0).Result())
	}
	for _, p := range globs {
		got := must[[]string](t)(c.Keys(ctx, p).Result())
		slices.Sort(got)
		var ours, plain []string
		for _, n := range all {
			if match(p, n) {
				ours = append(ours, n)
			}
			if strings.Count(p, "*") < 7 && reference(p, n) {
				plain = append(plain, n)
			}
		}
		if !slices.Equal(ours, got) {
			t.Errorf("%q: %q, a real Redis %q", p, ours, got)
		}
		if strings.Count(p, "*") < 7 && !slices.Equal(plain, got) {
			t.Errorf("%q: the reference has %q, a real Redis %q", p, plain, got)
		}
	}
}

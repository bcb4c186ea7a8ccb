package tally

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

// FuzzURL takes what a user can give for Redis. The password is in no error, and not in the URL that is
// shown; whatever weir makes of a URL with a password is a URL again.
func FuzzURL(f *testing.F) {
	for _, scheme := range []string{"redis", "rediss", "redis-sentinel", "redis-cluster"} {
		f.Add(scheme, "h:1/2?master=m")
	}
	f.Add("redis", "h:notaport/1")
	f.Add("redis", "h/1?password=x&ssl_ca_certs=ca.pem#f")
	f.Add("redis", "[::1]:7,%zz")
	f.Add("http", "h")
	const password = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, scheme, rest string) {
		if strings.Contains(scheme+rest, password) || strings.Contains(rest, "file=") || strings.Contains(rest, "ssl_") {
			t.Skip("names a file, which is not looked for")
		}
		raw := scheme + "://user:" + password + "@" + rest
		if err := CheckURL(raw); err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", raw, err)
		}
		if shown := Redacted(raw); strings.Contains(shown, password) {
			t.Errorf("%q is shown as %q", raw, shown)
		}
		bare := scheme + "://" + rest
		if with := WithPassword(bare, "p@ss/word"); CheckURL(bare) == nil && CheckURL(with) != nil {
			t.Errorf("%q with a password is %q", bare, with)
		}
	})
}

// FuzzHash reads keys and fields of any text, as anybody can have written them to Redis. A key is written
// as the same. Fields are taken exactly where math/big finds numbers that are counts or offsets in them.
func FuzzHash(f *testing.F) {
	f.Add("weir:tally:g:t:0", "5", "0", "create", "7")
	f.Add("weir:tally:a:b:t:2147483647", "05", "+1", "", "-1")
	f.Add("weir:tally::t:-1", "9223372036854775807", "1e3", "x", "9223372036854775808")
	f.Add("weir:tally:t:07", "5 ", "", "k", "0x1")
	f.Fuzz(func(t *testing.T, k, next, start, kind, count string) {
		group, topic, partition, ok := parseKey(k)
		if ok && (strings.Contains(topic, ":") || partition < 0) {
			t.Errorf("%q is %q, %q, %d", k, group, topic, partition)
		}
		if again, at, p, known := parseKey(key(group, topic, partition)); ok && (!known || again != group || at != topic || p != partition) {
			t.Errorf("%q is written %q", k, key(group, topic, partition))
		}
		if !strings.Contains(kind, ":") {
			if g, at, p, known := parseKey(key(next, kind, 7)); !known || g != next || at != kind || p != 7 {
				t.Errorf("%q of group %q is read as %q, %q, %d", kind, next, g, at, p)
			}
		}
		number := func(text string, exact bool) bool {
			n, ok := new(big.Int).SetString(text, 10)
			return ok && n.Sign() >= 0 && n.IsInt64() && (!exact || n.String() == text && n.Cmp(big.NewInt(math.MaxInt64)) < 0)
		}
		got, err := parseTally(k, map[string]string{fieldNext: next, fieldStart: start, kindPrefix + kind: count})
		if want := number(next, true) && number(start, true) && number(count, false); want != (err == nil) {
			t.Errorf("next %q, start %q, count %q: %+v, %v", next, start, count, got, err)
		}
		if err != nil {
			if !errors.Is(err, ErrGarbage) || !strings.Contains(err.Error(), strconv.Quote(k)) {
				t.Errorf("%q: %v", k, err)
			}
			return
		}
		if fmt.Sprint(got.Next, " ", got.Start) != next+" "+start || len(got.Counts) != 1 || got.Sum() != got.Counts[kind] {
			t.Errorf("next %q, start %q, count %q are %+v", next, start, count, got)
		}
	})
}

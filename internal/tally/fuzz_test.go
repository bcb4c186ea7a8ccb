package tally

import (
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

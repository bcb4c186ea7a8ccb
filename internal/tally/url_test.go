package tally

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]struct {
		addrs                  []string
		user, password, master string
		db                     int
		tls                    bool
	}{
		"redis://127.0.0.1:6379/1":              {addrs: []string{"127.0.0.1:6379"}, db: 1},
		"redis://127.0.0.1":                     {addrs: []string{"127.0.0.1:6379"}, db: DefaultDB},
		"redis://[::1]:7000/0":                  {addrs: []string{"[::1]:7000"}},
		"rediss://u:p%40ss@example.test:6380/3": {addrs: []string{"example.test:6380"}, user: "u", password: "p@ss", db: 3, tls: true},
		"redis://:secret@h/":                    {addrs: []string{"h:6379"}, password: "secret", db: DefaultDB},
		"redis://u@h?password_file=" + file:     {addrs: []string{"h:6379"}, user: "u", password: "from a file", db: DefaultDB},
		"redis-sentinel://a,b:5,[::1]:7/2":      {addrs: []string{"a:26379", "b:5", "[::1]:7"}, master: "mymaster", db: 2},
		"rediss+sentinel://:p@a,b?master=main":  {addrs: []string{"a:26379", "b:26379"}, password: "p", master: "main", db: DefaultDB, tls: true},
		"redis-cluster://u:p,q@a,b:7001":        {addrs: []string{"a:6379", "b:7001"}, user: "u", password: "p,q"},
	} {
		l, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		o, err := l.options()
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if !slices.Equal(o.Addrs, want.addrs) || o.Username != want.user || o.Password != want.password || o.MasterName != want.master || o.DB != want.db || (o.TLSConfig != nil) != want.tls {
			t.Errorf("%s: %+v", raw, o)
		}
		if want.tls && o.TLSConfig.InsecureSkipVerify {
			t.Errorf("%s: TLS is not verified", raw)
		}
	}
	for raw, want := range map[string]string{
		"": "redis://", "127.0.0.1:6379": "redis://", "http://u:hunter2@h/1": "redis://", "redis://u:hunter2@/1": "redis://",
		"redis://u:hunter2@h:notaport/1": "redis://", "redis://u:hunter2@h:99999/1": "redis://",
		"redis://u:hunter2@h/x": "redis://", "redis://u:hunter2@h/-1": "redis://", "redis://u:hunter2@h/1?password=hunter2": "password_file",
		"redis://u:hunter2@h:1/1#x": "redis://", "redis://u:hunter2%zz@h/1": "redis://", "redis://u:hunter2\x7f@h": "redis://",
		"redis://u:hunter2@a,b/1":                                  "several hosts",
		"redis-cluster://u:hunter2@a/1":                            "has only 0",
		"redis://u:hunter2@h/1?master=m":                           "redis-sentinel://",
		"redis://u:hunter2@h/1?ssl_ca_certs=/ca.pem":               "rediss",
		"rediss://u:hunter2@h/1?ssl_ca_certs=ca.pem":               "absolute path",
		"rediss://u:hunter2@h/1?ssl_ca_certs=/nowhere/ca.pem":      "/nowhere/ca.pem",
		"rediss://u:hunter2@h/1?ssl_ca_certs=" + file:              "PEM",
		"rediss://u:hunter2@h/1?ssl_certfile=" + file:              "belong together",
		"redis://u:hunter2@h/1?password_file=" + file:              "leave out",
		"redis://u@h/1?password_file=/nowhere/hunter1":             "/nowhere",
		"redis://u:hunter2@h/1?password_file=/a&password_file=/b":  "several",
		"redis-sentinel://u:hunter2@a/1?sentinel_password_file=/x": "/x",
	} {
		_, err := Open(ctx, raw)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
	}
}

func TestPasswordsInURLs(t *testing.T) {
	for raw, want := range map[string]struct{ with, redacted string }{
		"redis://h:1/1":                       {"redis://:new%40@h:1/1", "redis://h:1/1"},
		"redis://u@h:1/1":                     {"redis://u:new%40@h:1/1", "redis://u@h:1/1"},
		"redis://u:old@h:1/1":                 {"redis://u:old@h:1/1", "redis://u:xxxxx@h:1/1"},
		"redis-sentinel://u@a,b:2/1?master=x": {"redis-sentinel://u:new%40@a,b:2/1?master=x", "redis-sentinel://u@a,b:2/1?master=x"},
		"redis-cluster://:o%2Fld@a,b":         {"redis-cluster://:o%2Fld@a,b", "redis-cluster://:xxxxx@a,b"},
		"redis://u@h?password_file=/p":        {"redis://u@h?password_file=/p", "redis://u@h?password_file=/p"},
		"nonsense with a s3cret":              {"nonsense with a s3cret", "(not a Redis URL)"},
	} {
		if got := WithPassword(raw, "new@"); got != want.with {
			t.Errorf("%s with a password is %s, want %s", raw, got, want.with)
		}
		if got := Redacted(raw); got != want.redacted {
			t.Errorf("%s is shown as %s, want %s", raw, got, want.redacted)
		}
	}
}

package learn

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/visible"
)

// Commands of weir by the flags that they know; all others know --kafka as well as --data.
var (
	knowsNone  = regexp.MustCompile(`^weir exercise start\b`)
	knowsData  = regexp.MustCompile(`^weir (lab (backpressure|list|compare)|exercise|groups (join|leave)|brokers (kill|restart))\b`)
	knowsRedis = regexp.MustCompile(`^weir (verify|counts|learn|groups (reset|replay))\b`)
)

// commands fills in the names in braces, and makes of weir's commands those that find this cluster.
func (l *look) commands(list []Command) []Command {
	out := make([]Command, 0, len(list))
	for _, c := range list {
		if l.impossible(c.Command) {
			continue
		}
		c.Command = l.named(c.Command)
		if c.Tool == tools["weir"] {
			c.Command = l.run(c.Command)
		}
		out = append(out, c)
	}
	return out
}

// impossible reports whether a command cannot work here: it needs brokers or members that this weir runs, or a
// Redis that redis-cli finds.
func (l *look) impossible(line string) bool {
	switch {
	case strings.HasPrefix(line, "weir brokers "):
		return l.c.cfg.Own == ""
	case strings.HasPrefix(line, "weir groups join "):
		return !l.c.cfg.Members
	}
	return strings.HasPrefix(line, "{redis-cli}") && redisCLI(l.c.cfg.Where.RedisURL) == ""
}

// run is a command line of weir in a sentence that says what to do.
func (l *look) run(line string) string { return l.c.cfg.Where.Command(line) }

// Command is a command line of weir as a learner can paste it: it names this program, and has the flags
// that find the cluster, before the program of the learner and before a comment.
func (w Where) Command(line string) string {
	flags := w.Kafka
	switch {
	case knowsNone.MatchString(line):
		flags = nil
	case knowsData.MatchString(line):
		flags = w.Data
	case knowsRedis.MatchString(line):
		flags = w.Redis
	}
	var added strings.Builder
	for _, f := range flags {
		added.WriteString(" " + visible.ShellWord(f))
	}
	at := len(line)
	for _, end := range []string{"  # ", " -- "} {
		if i := strings.Index(line, end); i >= 0 {
			at = min(at, i)
		}
	}
	return cmp.Or(w.Program, "weir") + strings.TrimPrefix(line[:at], "weir") + added.String() + line[at:]
}

// redisCLI is the beginning of a command that asks the Redis with the counts; empty where redis-cli
// cannot find it by its URL: behind Sentinels, or where there is none.
func redisCLI(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || strings.Contains(u.Scheme, "sentinel") {
		return ""
	}
	host, _, _ := strings.Cut(u.Host, ",")
	words := []string{"redis-cli"}
	plain := url.URL{Scheme: "redis", Host: host, Path: u.Path}
	if strings.Trim(u.Path, "/") == "" {
		plain.Path = "/1" // weir's own default; that of redis-cli is 0
	}
	if strings.Contains(u.Scheme, "cluster") {
		words, plain.Path = append(words, "-c"), ""
	}
	words = append(words, "-u", "")
	if strings.HasPrefix(u.Scheme, "rediss") {
		plain.Scheme = "rediss"
		for _, f := range [][2]string{{"ssl_ca_certs", "--cacert"}, {"ssl_certfile", "--cert"}, {"ssl_keyfile", "--key"}} {
			if file := u.Query().Get(f[0]); file != "" {
				words = append(words, f[1], visible.ShellWord(file))
			}
		}
	}
	if u.User != nil || u.Query().Has("password_file") { // the password stays where it is: redis-cli asks for it
		if words = append(words, "--askpass"); u.User.Username() != "" {
			words = append(words, "--user", visible.ShellWord(u.User.Username()))
		}
	}
	words[slices.Index(words, "")] = visible.ShellWord(plain.String())
	return strings.Join(words, " ")
}

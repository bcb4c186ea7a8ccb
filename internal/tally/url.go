package tally

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/weir-project/weir/internal/certs"
	"github.com/weir-project/weir/internal/intake"
)

// DefaultDB is the database used where the URL names none. The original
// project's consumers GET every key of database 0 and crash on a hash there. A
// Redis Cluster has database 0 alone.
const DefaultDB = 1

// DefaultMaster is the name under which Sentinels watch a primary where the URL
// names none: the one of Sentinel's own example of a configuration.
const DefaultMaster = "mymaster"

// urlKind is what a URL points to.
type urlKind uint8

const (
	ofServer urlKind = iota
	ofSentinel
	ofCluster
)

// location is a Redis URL, taken apart.
type location struct {
	kind  urlKind
	tls   bool
	user  *url.Userinfo
	hosts []string // host:port
	db    int
	query url.Values

	scheme, after string // what stands before and after the user
}

// schemes, with the names that other clients have for the same; each begins with rediss for TLS.
var schemes = map[string]urlKind{
	"redis": ofServer, "redis-sentinel": ofSentinel, "redis+sentinel": ofSentinel, "redis-cluster": ofCluster,
}

// parameters are what may stand behind the question mark. Those about TLS have the
// names of redis-py, whose URLs they are.
var parameters = []string{"master", "password_file", "sentinel_user", "sentinel_password_file", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}

const urlHint = "; want redis://[user[:password]@]host[:port][/db], redis-sentinel://host,host/db?master=NAME or redis-cluster://host,host, each with rediss for TLS"

// CheckURL says what is wrong with the form of a Redis URL, without connecting;
// nil for nothing. The error never contains the password. The forms:
//
//	redis://[user[:password]@]host[:port][/db]          one server, database 1 unless it says another
//	redis-sentinel://host[:port],…[/db][?master=NAME]   the primary that Sentinels name
//	redis-cluster://host[:port],…                       a Redis Cluster, from any of its nodes
//
// and rediss, rediss-sentinel, rediss-cluster with TLS; certificates are always
// verified. Parameters: password_file, sentinel_user and sentinel_password_file,
// ssl_ca_certs, ssl_certfile and ssl_keyfile, all of them absolute paths.
func CheckURL(rawURL string) error {
	l, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	_, err = l.options()
	return err
}

// HasPassword reports whether a URL itself holds a password.
func HasPassword(rawURL string) bool {
	l, err := parseURL(rawURL)
	return err == nil && l.hasPassword()
}

func (l *location) hasPassword() bool {
	_, has := l.user.Password()
	return has
}

// withPassword is the URL with another password.
func (l *location) withPassword(password string) string {
	return l.scheme + "://" + url.UserPassword(l.user.Username(), password).String() + "@" + l.after
}

// WithPassword is the URL with a password, where it has none of its own and names
// no file of one.
func WithPassword(rawURL, password string) string {
	l, err := parseURL(rawURL)
	if err != nil || password == "" || l.query.Has("password_file") || l.hasPassword() {
		return rawURL
	}
	return l.withPassword(password)
}

// Redacted is a URL without its password.
func Redacted(rawURL string) string {
	l, err := parseURL(rawURL)
	switch {
	case err != nil:
		return "(not a Redis URL)"
	case !l.hasPassword():
		return rawURL
	}
	return l.withPassword("xxxxx")
}

// parseURL is strict and never puts the URL into an error: it can hold a password.
// go-redis's own parsers quote it, take one host in the authority, and have no scheme
// for Sentinels; net/url takes one host alone, so the list is taken apart here.
func parseURL(raw string) (*location, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	lower := strings.ToLower(scheme)
	kind, known := schemes[strings.Replace(lower, "rediss", "redis", 1)]
	switch {
	case !ok:
		return nil, errors.New("the Redis URL cannot be parsed" + urlHint)
	case !known:
		return nil, fmt.Errorf("the Redis URL has scheme %q%s", scheme, urlHint)
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	at := strings.LastIndexByte(authority, '@') + 1
	list := strings.Split(authority[at:], ",")
	if len(list) > 1 && kind == ofServer {
		return nil, errors.New("the Redis URL names several hosts, which redis-sentinel:// and redis-cluster:// do" + urlHint)
	}
	l := &location{kind: kind, tls: strings.HasPrefix(lower, "rediss"), db: DefaultDB, scheme: scheme, after: rest[at:]}
	port := "6379"
	switch kind {
	case ofSentinel:
		port = "26379"
	case ofCluster:
		l.db = 0
	}
	for _, host := range list {
		u, err := url.Parse("redis://" + rest[:at] + host + tail)
		if err != nil { // its text can quote the port, the host, or the password
			return nil, errors.New("the Redis URL cannot be parsed" + urlHint)
		}
		if err := l.add(u, port); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// add takes one host in, and what stands around it.
func (l *location) add(u *url.URL, port string) error {
	if u.Hostname() == "" {
		return errors.New("the Redis URL names no host" + urlHint)
	}
	port = cmp.Or(u.Port(), port)
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("the Redis URL has port %q%s", port, urlHint)
	}
	l.hosts = append(l.hosts, net.JoinHostPort(u.Hostname(), port))
	l.user = u.User
	if db := strings.Trim(u.Path, "/"); db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return fmt.Errorf("the Redis URL has database %q%s", db, urlHint)
		}
		if n != 0 && l.kind == ofCluster {
			return fmt.Errorf("the Redis URL has database %d, and a Redis Cluster has only 0", n)
		}
		l.db = n
	}
	var err error
	if l.query, err = url.ParseQuery(u.RawQuery); err != nil || u.Fragment != "" {
		return errors.New("the Redis URL's end cannot be parsed" + urlHint)
	}
	for k, v := range l.query {
		switch {
		case !slices.Contains(parameters, k):
			return fmt.Errorf("the Redis URL has parameter %q, and there are: %s", k, strings.Join(parameters, ", "))
		case len(v) != 1 || v[0] == "":
			return fmt.Errorf("the Redis URL gives %s no value, or several", k)
		case (k == "master" || strings.HasPrefix(k, "sentinel_")) && l.kind != ofSentinel:
			return fmt.Errorf("the Redis URL has parameter %s, which belongs to redis-sentinel://", k)
		case strings.HasPrefix(k, "ssl_") && !l.tls:
			return fmt.Errorf("the Redis URL has parameter %s, and its scheme does not speak TLS: begin it with rediss", k)
		case (strings.HasSuffix(k, "_file") || strings.HasPrefix(k, "ssl_")) && !filepath.IsAbs(v[0]):
			return fmt.Errorf("the Redis URL's %s is %q: give an absolute path", k, v[0])
		}
	}
	return nil
}

// options reads the files that the URL names.
func (l *location) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs: l.hosts, DB: l.db,
		DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		ContextTimeoutEnabled: true,
		PoolSize:              4,
		// The counter retries by itself, and says so; a silent second try hides it.
		MaxRetries:               -1,
		DialerRetries:            1,
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if l.user != nil {
		o.Username = l.user.Username()
		o.Password, _ = l.user.Password()
	}
	var err error
	if path := l.query.Get("password_file"); path != "" {
		if o.Password != "" {
			return nil, errors.New("the Redis URL has a password and password_file: leave out one of them")
		}
		if o.Password, err = readPassword(path); err != nil {
			return nil, err
		}
	}
	if l.kind == ofSentinel {
		o.MasterName = cmp.Or(l.query.Get("master"), DefaultMaster)
		o.SentinelUsername = l.query.Get("sentinel_user")
		if path := l.query.Get("sentinel_password_file"); path != "" {
			if o.SentinelPassword, err = readPassword(path); err != nil {
				return nil, err
			}
		}
	}
	if l.tls {
		o.TLSConfig, err = l.tlsConfig()
	} else { // the embedded Redis of this process admits these connections always
		o.Dialer = intake.Dialer{Timeout: o.DialTimeout}.DialContext
	}
	return o, err
}

// readSmall reads a file that the URL names.
func readSmall(path string) ([]byte, error) {
	b, err := certs.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what the Redis URL names: %w", err)
	}
	return b, nil
}

// readPassword reads a file that holds a password and perhaps the end of a line.
func readPassword(path string) (string, error) {
	b, err := readSmall(path)
	if err != nil {
		return "", err
	}
	p := strings.TrimRight(string(b), "\r\n")
	if p == "" || strings.ContainsAny(p, "\r\n") {
		return "", fmt.Errorf("%s, which the Redis URL names, does not hold one line with a password", path)
	}
	return p, nil
}

// tlsConfig trusts the system's authorities, or those of the URL's file alone. The
// name that a certificate has to have is that of the address which is dialled.
func (l *location) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.kind == ofServer {
		cfg.ServerName, _, _ = net.SplitHostPort(l.hosts[0])
	}
	if path := l.query.Get("ssl_ca_certs"); path != "" {
		pem, err := readSmall(path)
		if err != nil {
			return nil, err
		}
		if cfg.RootCAs, err = certs.Pool(path+", which the Redis URL names as ssl_ca_certs,", pem); err != nil {
			return nil, err
		}
	}
	cert, key := l.query.Get("ssl_certfile"), l.query.Get("ssl_keyfile")
	if (cert == "") != (key == "") {
		return nil, errors.New("ssl_certfile and ssl_keyfile of the Redis URL belong together, and one is missing")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate that the Redis URL names: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// otherProtocol looks whether a server that does not answer speaks TLS where the URL
// does not, or the reverse: neither says so by itself.
func (l *location) otherProtocol(ctx context.Context) (cause, out string) {
	shake, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var conns [2]net.Conn
	for i := range conns {
		var err error
		if conns[i], err = new(net.Dialer).DialContext(ctx, "tcp", l.hosts[0]); err != nil {
			return "", ""
		}
		defer conns[i].Close()
		deadline, _ := ctx.Deadline()
		_ = conns[i].SetDeadline(deadline)
	}
	host, _, _ := net.SplitHostPort(l.hosts[0])
	if !l.tls {
		if certs.Spoken(ctx, conns[0], host) {
			return "it speaks TLS at this port, and was spoken to without", "begin the URL with rediss instead of redis"
		}
		return "", ""
	}
	if cfg, err := l.tlsConfig(); err == nil {
		if _, err := certs.Handshake(shake, conns[0], host, cfg); err != nil {
			if cause, out := waysOut.Cause(err); cause != "" {
				return cause, out
			}
		}
	}
	var answer [1]byte
	_, _ = conns[1].Write([]byte("PING\r\n"))
	if _, err := io.ReadFull(conns[1], answer[:]); err == nil && (answer[0] == '+' || answer[0] == '-') {
		return waysOut.Cause(tls.RecordHeaderError{})
	}
	return "", ""
}

const ownCertificate = "give one that it trusts with ssl_certfile=/path and ssl_keyfile=/path in the URL"

// waysOut are the ways out of what can be wrong with TLS.
var waysOut = certs.Ways{
	Name: "name the server as its certificate does", Expired: "renew it, or set this machine's clock",
	Authority: "give the CA's certificate with ssl_ca_certs=/path in the URL", Unusable: "give the server another certificate",
	Client: ownCertificate, Version: ownCertificate + ", or check the versions of TLS that the server has enabled",
	Plain: "begin the URL with redis instead of rediss, or name its TLS port",
}

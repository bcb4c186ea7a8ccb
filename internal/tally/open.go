package tally

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultDB is the database used where the URL names none. The original
// project's consumers GET every key of database 0 and crash on a hash there.
const DefaultDB = 1

// Store is a connection to a Redis server that holds tallies. It is safe for
// concurrent use.
type Store struct {
	client   *redis.Client
	addr     string
	warnings []string
}

// ConnectError is an error of reaching the server, in contrast to one that it answered.
type ConnectError struct {
	// Addr is the server's address as host:port.
	Addr string
	Err  error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("cannot reach Redis at %s: %v", e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// PolicyError says that the server may delete keys on its own when memory is short.
type PolicyError struct{ Addr, Policy string }

func (e *PolicyError) Error() string {
	return fmt.Sprintf("Redis at %s has maxmemory-policy %s, under which it may delete counts when memory is short; "+
		"set it with `redis-cli -u redis://%s CONFIG SET maxmemory-policy noeviction`, or give weir a Redis of its own with --redis",
		e.Addr, e.Policy, e.Addr)
}

// Open connects and checks the server: it must answer, accept the credentials,
// be writable, and not evict keys (*PolicyError). rawURL is
// redis://[user:password@]host[:port][/db] or rediss:// for TLS (certificates
// are always verified); without a database it is DefaultDB. Errors never contain
// the password. *ConnectError means that the server could not be reached.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	opts, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	quiet.Do(func() { redis.SetLogger(silence{}) })
	s := &Store{client: redis.NewClient(opts), addr: opts.Addr}
	if err := s.check(ctx); err != nil {
		_ = s.client.Close()
		return nil, err
	}
	return s, nil
}

// The client library logs failed connections to standard error, in the midst of a
// status line. Every one of them is also an error that is returned.
var quiet sync.Once

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Close closes the connections. It is idempotent.
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("close Redis client: %w", err)
	}
	return nil
}

// Addr is the server's address as host:port, without credentials.
func (s *Store) Addr() string { return s.addr }

// Warnings are what Open found that is no error but that a user should know:
// missing persistence, settings that could not be read.
func (s *Store) Warnings() []string { return s.warnings }

// CheckURL says what is wrong with the form of a Redis URL, without connecting;
// nil for nothing. The error never contains the password.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

const urlHint = "; want redis://[user:password@]host:port[/db], or rediss:// for TLS"

// parseURL is strict and never puts the URL into an error: it can hold a password.
func parseURL(raw string) (*redis.Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // ue.Err alone can still quote the port or the host
			return nil, errors.New("the Redis URL cannot be parsed" + urlHint)
		}
		return nil, errors.New("the Redis URL is invalid" + urlHint)
	}
	o := &redis.Options{
		DB:          DefaultDB,
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
	switch u.Scheme {
	case "redis":
	case "rediss":
		o.TLSConfig = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return nil, fmt.Errorf("the Redis URL has scheme %q%s", u.Scheme, urlHint)
	}
	if u.Hostname() == "" {
		return nil, errors.New("the Redis URL names no host" + urlHint)
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("the Redis URL has port %q%s", port, urlHint)
	}
	o.Addr = net.JoinHostPort(u.Hostname(), port)
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("the Redis URL has database %q%s", db, urlHint)
		}
		o.DB = n
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the Redis URL has parameters, which are not supported" + urlHint)
	}
	return o, nil
}

// check is what Open does after connecting.
func (s *Store) check(ctx context.Context) error {
	if err := s.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("open Redis: %w", s.explain(err))
	}
	for _, script := range []*redis.Script{applyScript, beginScript, resetScript} {
		if err := script.Load(ctx, s.client).Err(); err != nil {
			return fmt.Errorf("load script: %w", s.explain(err))
		}
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	if info["role"] == "slave" {
		return fmt.Errorf("redis at %s is a read-only replica; name its primary with --redis", s.addr)
	}
	if info["cluster_enabled"] == "1" {
		return fmt.Errorf("redis at %s runs in cluster mode, which is not supported; name a single server with --redis", s.addr)
	}
	return s.checkPolicy(ctx, info)
}

// info reads the sections of INFO that check needs. A server that forbids it
// gives nothing: that is a warning.
func (s *Store) info(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	text, err := s.client.Info(ctx).Result()
	if err != nil {
		if !isReply(err) {
			return nil, fmt.Errorf("read Redis settings: %w", s.explain(err))
		}
		return out, nil
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			out[k] = v
		}
	}
	return out, nil
}

// checkPolicy insists on noeviction: an LRU policy deleted a hash of counts when
// tried. Managed services forbid CONFIG, but INFO tells the policy too.
func (s *Store) checkPolicy(ctx context.Context, info map[string]string) error {
	config := func(name string) (string, bool, error) {
		v, err := s.client.ConfigGet(ctx, name).Result()
		if err != nil {
			if isReply(err) {
				return "", false, nil
			}
			return "", false, fmt.Errorf("read Redis settings: %w", s.explain(err))
		}
		text, ok := v[name]
		return text, ok, nil
	}
	policy, ok, err := config("maxmemory-policy")
	if err != nil {
		return err
	}
	if !ok {
		policy, ok = info["maxmemory_policy"]
	}
	switch {
	case !ok:
		s.warn("Redis at %s does not tell its maxmemory-policy (CONFIG and INFO are forbidden or not served): make sure that it is noeviction, or counts can be deleted when memory is short", s.addr)
	case policy != "noeviction":
		return &PolicyError{Addr: s.addr, Policy: policy}
	}
	save, saveKnown, err := config("save")
	if err != nil {
		return err
	}
	aof, aofKnown := info["aof_enabled"]
	switch {
	case aofKnown && aof == "1":
	case saveKnown && save != "":
	case saveKnown && aofKnown:
		s.warn("Redis at %s keeps nothing on disk (appendonly is no, save is empty): after its restart everything is counted again from what Kafka keeps", s.addr)
	default:
		s.warn("Redis at %s does not tell whether it keeps data on disk (CONFIG is forbidden): if it does not, everything is counted again from what Kafka keeps after its restart", s.addr)
	}
	if info["rdb_last_bgsave_status"] == "err" {
		s.warn("Redis at %s could not write its last snapshot: see its log", s.addr)
	}
	return nil
}

func (s *Store) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// explain adds the way out to errors that have one, and says which ones mean
// that the server could not be reached.
func (s *Store) explain(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case !isReply(err):
		return &ConnectError{Addr: s.addr, Err: err}
	case redis.HasErrorPrefix(err, "LOADING"):
		return &ConnectError{Addr: s.addr, Err: err}
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "AUTH"):
		return fmt.Errorf("redis at %s refuses the credentials (%w); give them as redis://user:password@host:port/db", s.addr, err)
	case redis.HasErrorPrefix(err, "NOPERM"):
		return fmt.Errorf("redis at %s lacks permission for this user (%w); weir needs EVALSHA, SCRIPT LOAD, TYPE, HMGET, HGETALL, HSET, HINCRBY, HLEN, DEL, SCAN and INFO on weir:tally:*", s.addr, err)
	case redis.HasErrorPrefix(err, "READONLY"):
		return fmt.Errorf("redis at %s is a read-only replica (%w); name its primary with --redis", s.addr, err)
	case redis.HasErrorPrefix(err, "OOM"):
		return fmt.Errorf("redis at %s is out of memory (%w); raise its maxmemory", s.addr, err)
	case redis.HasErrorPrefix(err, "MISCONF"):
		return fmt.Errorf("redis at %s cannot write its snapshot and refuses writes (%w); see its log", s.addr, err)
	case redis.HasErrorPrefix(err, "DB index"):
		return fmt.Errorf("redis at %s has no such database (%w); name another one in the URL's path", s.addr, err)
	}
	return fmt.Errorf("redis at %s: %w", s.addr, err)
}

package tally

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Store is a connection to the Redis that holds counts: one server, the primary
// that Sentinels name, or a Redis Cluster. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	cluster bool
	master  string // as Sentinels call it
	user    string
	// addr is where the URL points: host:port, several with commas.
	addr     string
	findings []Finding
}

// Finding is a fact about a Redis that is not an error, but that a user should know
// before trusting it with counts.
type Finding struct {
	// Breaks is set where counts can be lost; else something merely differs.
	Breaks bool
	// Cause says what is so and what follows, Out what to do about it.
	Cause, Out string
}

// ConnectError is an error of reaching the server, in contrast to one that it answered.
type ConnectError struct {
	// Addr is where the URL points: host:port, several with commas.
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
	host, port, _ := strings.Cut(e.Addr, ":")
	return fmt.Sprintf("Redis at %s has maxmemory-policy %s, under which it may delete counts when memory is short; "+
		"set it with `redis-cli -h %s -p %s CONFIG SET maxmemory-policy noeviction`, or give weir a Redis of its own with --redis",
		e.Addr, e.Policy, host, port)
}

// Open connects and checks: Redis must answer, accept the credentials, allow what
// counting needs (*PermissionError), be writable, and not evict keys (*PolicyError).
// The URL has one of the forms of CheckURL. Errors never contain a password.
// *ConnectError means that Redis could not be reached. dial is for tests: it connects instead.
func Open(ctx context.Context, rawURL string, dial ...func(ctx context.Context, network, addr string) (net.Conn, error)) (*Store, error) {
	l, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	opts, err := l.options()
	if err != nil {
		return nil, err
	}
	for _, d := range dial {
		opts.Dialer = d
	}
	quiet.Do(func() { redis.SetLogger(silence{}) })
	s := &Store{addr: strings.Join(opts.Addrs, ","), user: opts.Username, master: opts.MasterName}
	switch l.kind {
	case ofCluster:
		s.cluster, s.client = true, redis.NewClusterClient(opts.Cluster())
	case ofSentinel:
		s.client = redis.NewFailoverClient(opts.Failover())
	default:
		s.client = redis.NewClient(opts.Simple())
	}
	err = s.check(ctx, l.kind)
	if err == nil {
		return s, nil
	}
	_ = s.client.Close()
	if ce, ok := errors.AsType[*ConnectError](err); ok {
		if cause, out := l.otherProtocol(ctx); cause != "" {
			return nil, &ConnectError{Addr: ce.Addr, Err: fmt.Errorf("%s; %s", cause, out)}
		}
	}
	return nil, err
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

// Addr is where the URL points, without credentials: host:port, several with commas.
func (s *Store) Addr() string { return s.addr }

// Findings are what Open found that is not an error: missing persistence, settings that
// could not be read.
func (s *Store) Findings() []Finding { return s.findings }

// eachPrimary calls do for the server, or for every primary of a cluster, one after
// the other.
func (s *Store) eachPrimary(ctx context.Context, do func(ctx context.Context, c *redis.Client) error) error {
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		var mu sync.Mutex
		return c.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return do(ctx, one)
		})
	case *redis.Client:
		return do(ctx, c)
	}
	return errors.New("internal error: unknown type of Redis client")
}

// primary is one server that is written, and what it says of itself.
type primary struct {
	client *redis.Client
	info   map[string]string
}

// check is what Open does after connecting.
func (s *Store) check(ctx context.Context, kind urlKind) error {
	if err := s.client.Ping(ctx).Err(); err != nil && !redis.HasErrorPrefix(err, "NOPERM") {
		return fmt.Errorf("open Redis: %w", s.explain(err))
	}
	var primaries []primary
	err := s.eachPrimary(ctx, func(ctx context.Context, c *redis.Client) error {
		info, err := s.info(ctx, c)
		if err != nil {
			return err
		}
		primaries = append(primaries, primary{c, info})
		return s.checkKind(kind, info)
	})
	if err == nil && len(primaries) == 0 {
		err = errors.New("the cluster has no primary")
	}
	if err != nil {
		return fmt.Errorf("open Redis: %w", s.explain(err))
	}
	if err := s.checkPermissions(ctx); err != nil {
		return err
	}
	for _, p := range primaries {
		if err := s.checkSettings(ctx, p); err != nil {
			return fmt.Errorf("open Redis: %w", err)
		}
	}
	for _, script := range []*redis.Script{applyScript, beginScript, resetScript} {
		if err := script.Load(ctx, s.client).Err(); err != nil {
			return fmt.Errorf("load script: %w", s.explain(err))
		}
	}
	return nil
}

// errKind is in the chain where the URL names another type of server than there is.
var errKind = errors.New("the URL names another type of server")

// checkKind rejects a server that is of another type than the URL says.
func (s *Store) checkKind(kind urlKind, info map[string]string) error {
	switch {
	case info["redis_mode"] == "sentinel":
		return fmt.Errorf("redis at %s is a Sentinel (%w); name it as redis-sentinel://%s/1?master=NAME", s.addr, errKind, s.addr)
	case info["role"] == "slave":
		return fmt.Errorf("redis at %s is a read-only replica (%w); name its primary with --redis", s.addr, errKind)
	case info["cluster_enabled"] == "1" && kind != ofCluster:
		return fmt.Errorf("redis at %s is part of a Redis Cluster (%w); name it as redis-cluster://%s", s.addr, errKind, s.addr)
	}
	return nil
}

// info reads INFO. A server that forbids it gives nothing: that is a finding.
func (s *Store) info(ctx context.Context, c *redis.Client) (map[string]string, error) {
	out := map[string]string{}
	text, err := c.Info(ctx).Result()
	if err != nil && !isReply(err) {
		return nil, err
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			out[k] = v
		}
	}
	return out, nil
}

// checkSettings insists on noeviction, since an LRU policy deleted a hash of counts
// when tried, and tells how the server keeps what it holds. Managed services forbid
// CONFIG, but INFO tells the policy too.
func (s *Store) checkSettings(ctx context.Context, p primary) error {
	c, info, at := p.client, p.info, s.addr
	if s.cluster {
		at = c.Options().Addr
	}
	config := map[string]string{}
	for _, name := range []string{"maxmemory-policy", "save"} {
		v, err := c.ConfigGet(ctx, name).Result()
		if err != nil && !isReply(err) {
			return s.explain(err)
		}
		maps.Copy(config, v)
	}
	policy, ok := config["maxmemory-policy"]
	if !ok {
		policy, ok = info["maxmemory_policy"]
	}
	switch {
	case !ok:
		s.find(false, "allow CONFIG GET or INFO, or make sure that it is noeviction",
			"weir cannot read the maxmemory-policy of Redis at %s (CONFIG and INFO are forbidden or not served): under a policy other than noeviction, Redis can delete counts when memory is short", at)
	case policy != "noeviction":
		return &PolicyError{Addr: at, Policy: policy}
	}
	save, saveKnown := config["save"]
	aof, aofKnown := info["aof_enabled"]
	const keep = "set appendonly to yes"
	switch {
	case aofKnown && aof == "1":
	case saveKnown && save != "" && info["weir_embedded"] == "1": // every second
	case saveKnown && save != "":
		s.find(false, keep+" to count nothing again",
			"Redis at %s keeps only snapshots (appendonly is no, save is %q): after its crash what it counted since the last one is counted again, and nothing is lost that Kafka still keeps", at, save)
	case saveKnown && aofKnown:
		s.find(true, keep,
			"Redis at %s keeps nothing on disk (appendonly is no, save is empty): after its restart everything is counted again from what Kafka keeps, and what retention has deleted by then is gone from the counts", at)
	default:
		s.find(false, "make sure that it does",
			"weir cannot read whether Redis at %s keeps data on disk (CONFIG is forbidden): if it does not, weir counts everything that Kafka keeps again after a restart of Redis", at)
	}
	if info["rdb_last_bgsave_status"] == "err" {
		s.find(true, "see its log", "Redis at %s could not write its last snapshot", at)
	}
	if info["aof_last_write_status"] == "err" {
		s.find(true, "see its log", "Redis at %s could not write its append-only file", at)
	}
	return nil
}

func (s *Store) find(breaks bool, out, format string, args ...any) {
	f := Finding{breaks, fmt.Sprintf(format, args...), out}
	if !slices.Contains(s.findings, f) {
		s.findings = append(s.findings, f)
	}
}

// explain adds the way out to errors that have one, and says which ones mean
// that the server could not be reached.
func (s *Store) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, errKind) {
		return err
	}
	text := err.Error()
	sentinels := strings.Contains(text, "all sentinels") // of the library: none of them knew the primary's address
	switch {
	case sentinels && (strings.Contains(text, "NOAUTH") || strings.Contains(text, "WRONGPASS")):
		return fmt.Errorf("the Sentinels at %s refuse the credentials (%w); give them with sentinel_user=NAME and sentinel_password_file=/path in the URL", s.addr, err)
	case sentinels && errors.Is(err, redis.Nil):
		return fmt.Errorf("the Sentinels at %s watch no primary called %s; name one that they do with master=NAME in the URL", s.addr, s.master)
	case sentinels:
		return &ConnectError{Addr: s.addr, Err: err}
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "AUTH"), strings.Contains(text, "without any password configured"):
		return fmt.Errorf("redis at %s refuses the credentials (%w); give the user as redis://user@host:port/db and the password in WEIR_REDIS_PASSWORD", s.addr, err)
	case redis.HasErrorPrefix(err, "NOPERM"):
		return s.denied(err)
	case strings.Contains(text, "cluster support disabled"):
		return fmt.Errorf("redis at %s is not a Redis Cluster; name it as redis://host:port/db", s.addr)
	case !isReply(err):
		if cause, out := waysOut.Cause(err); cause != "" {
			err = fmt.Errorf("%s; %s", cause, out)
		}
		return &ConnectError{Addr: s.addr, Err: err}
	}
	for _, x := range explanations {
		if redis.HasErrorPrefix(err, x.prefix) {
			if x.text == "" {
				return &ConnectError{Addr: s.addr, Err: err}
			}
			return fmt.Errorf("redis at %s "+x.text, s.addr, err)
		}
	}
	return fmt.Errorf("redis at %s: %w", s.addr, err)
}

// explanations are what errors of a server mean, by how they begin; without a text the server
// cannot be used at present.
var explanations = []struct{ prefix, text string }{
	{prefix: "LOADING"}, {prefix: "CLUSTERDOWN"}, {prefix: "MASTERDOWN"}, {prefix: "TRYAGAIN"},
	{"READONLY", "is a read-only replica (%w); name its primary with --redis"},
	{"OOM", "is out of memory (%w); raise its maxmemory"},
	{"MISCONF", "cannot write its snapshot and refuses writes (%w); see its log"},
	{"NOREPLICAS", "has too few replicas and refuses writes (%w); start them, or lower its min-replicas-to-write"},
	{"DB index", "has no such database (%w); name another one in the URL's path"},
}

// PermissionError says what the user of the URL may not do and has to.
type PermissionError struct {
	Addr, User string
	// Lacks are commands, and "keys" where the keys of counts are forbidden.
	Lacks []string
	// Rule is the line of redis-cli that allows it.
	Rule string
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("user %s of Redis at %s may not use %s; an administrator runs: %s", e.User, e.Addr, strings.Join(e.Lacks, ", "), e.Rule)
}

// permissionError makes one of commands' names and "keys".
func (s *Store) permissionError(lacks []string) *PermissionError {
	user := cmp.Or(s.user, "default")
	e := &PermissionError{Addr: s.addr, User: user, Rule: "redis-cli ACL SETUSER " + user}
	if slices.Contains(lacks, lacksKeys) {
		e.Rule += " '~" + prefix + "*'"
	}
	for _, c := range lacks {
		if slices.Contains(e.Lacks, c) {
			continue
		}
		e.Lacks = append(e.Lacks, c)
		if c != lacksKeys {
			e.Rule += " '+" + c + "'"
		}
	}
	return e
}

// commands are those that weir uses, in scripts and outside.
var commands = []string{"type", "hmget", "hgetall", "scan", "script|load", "evalsha", "hset", "hincrby", "hlen", "del"}

// lacksKeys stands for the pattern of keys among commands.
const lacksKeys = "keys " + prefix + "*"

// commandDenied finds the command in what Redis says from 7.0 on and before.
var commandDenied = regexp.MustCompile(`run the '([a-z|]+)' command`)

// denied is a refusal that came while working: what is missing is in its text.
func (s *Store) denied(err error) error {
	m := commandDenied.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return s.permissionError([]string{lacksKeys})
	case m[1] == "select" || strings.HasPrefix(m[1], "cluster"): // which come first, and hide the rest
		return s.permissionError(append([]string{m[1], lacksKeys}, commands...))
	}
	return s.permissionError([]string{m[1]})
}

// probeScript tries what the other scripts do with a key that is not a hash of counts, and
// leaves nothing behind. Answers the commands that failed, and why. Without DEL
// nothing is written. HINCRBY comes first and fails: a server that is out of memory
// lets a script go on that has begun to write.
var probeScript = redis.NewScript(`
local lacks = {}
local function try(name, ...)
  local r = redis.pcall(name, KEYS[1], ...)
  local e = type(r) == 'table' and r.err
  if e and not (name == 'HINCRBY' and string.find(e, 'not an integer')) then lacks[#lacks + 1] = string.lower(name) .. ' ' .. e end
  return not e
end
try('HINCRBY', 'k', 'one')
if try('DEL') then
  try('HSET', 'next', '0')
  try('HMGET', 'next', 'k')
  try('HLEN')
  try('TYPE')
  try('DEL')
end
return lacks
`)

// checkPermissions tries every command that weir uses, and names all that are
// forbidden at once.
func (s *Store) checkPermissions(ctx context.Context) error {
	c := s.client
	var lacks []string
	k := prefix + "probe"
	note := func(command string, err error) error {
		switch {
		case err == nil, errors.Is(err, redis.Nil):
			return nil
		case !redis.HasErrorPrefix(err, "NOPERM"):
			return s.explain(err)
		}
		m := commandDenied.FindStringSubmatch(err.Error())
		switch {
		case m == nil:
			lacks = append(lacks, lacksKeys)
		case m[1] == "select": // which begins every connection, and hides the rest
			return s.denied(err)
		default:
			lacks = append(lacks, command)
		}
		return nil
	}
	for _, try := range []struct {
		command string
		cmd     redis.Cmder
	}{
		{"type", c.Type(ctx, k)},
		{"hmget", c.HMGet(ctx, k, fieldNext)},
		{"hgetall", c.HGetAll(ctx, k)},
		{"scan", c.Scan(ctx, 0, prefix+"*", 1)},
		{"script|load", probeScript.Load(ctx, c)},
		{"evalsha", c.EvalSha(ctx, strings.Repeat("0", 40), nil)}, // as such it needs no key, and the key no script
	} {
		if err := try.cmd.Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			if err := note(try.command, err); err != nil {
				return err
			}
		}
	}
	if slices.Contains(lacks, "script|load") || slices.Contains(lacks, "evalsha") || slices.Contains(lacks, lacksKeys) {
		// What scripts use cannot be tried, and has to be allowed all the same.
		lacks = append(lacks, "type", "hmget", "hset", "hincrby", "hlen", "del")
		if slices.Contains(lacks, "hgetall") { // nor can the keys
			lacks = append(lacks, lacksKeys)
		}
		return s.permissionError(lacks)
	}
	inside, err := c.EvalSha(ctx, probeScript.Hash(), []string{k}).StringSlice()
	if err := note("evalsha", err); err != nil {
		return err
	}
	for _, line := range inside {
		command, text, _ := strings.Cut(line, " ")
		if !strings.Contains(text, "can't run this command") && !strings.Contains(text, "NOPERM") && !strings.Contains(text, "no permissions") {
			if strings.Contains(text, "OOM ") || strings.Contains(text, "maxmemory") {
				text += "; raise its maxmemory: it is out of memory"
			}
			return fmt.Errorf("redis at %s cannot do %s in a script: %s", s.addr, strings.ToUpper(command), text)
		}
		lacks = append(lacks, command)
		if command == "del" { // the rest could not be tried
			lacks = append(lacks, "hset", "hlen")
		}
	}
	if len(lacks) > 0 {
		return s.permissionError(lacks)
	}
	return nil
}

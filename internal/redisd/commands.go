package redisd

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// own are the commands that this package answers because miniredis does not, or
// not in the form that redis-cli, redis-py and others read. A function reports
// false to leave the command to miniredis.
var own map[string]func(c *client, args []string) bool

func init() { // the table would refer to itself
	own = map[string]func(c *client, args []string) bool{
		"INFO": outside((*client).info), "CONFIG": outside((*client).config),
		"SAVE": outside((*client).save), "BGSAVE": outside((*client).save), "LASTSAVE": outside((*client).lastSave),
		"SHUTDOWN": outside(func(c *client, _ []string) {
			c.peer.WriteError("ERR SHUTDOWN is not served: stop weir instead")
		}),
		"COMMAND": (*client).command, "CLIENT": (*client).client, "HELLO": (*client).hello,
		"SCRIPT": (*client).scriptKill,
	}
}

// outside refuses a command inside MULTI, where miniredis does the queueing.
func outside(answer func(*client, []string)) func(*client, []string) bool {
	return func(c *client, args []string) bool {
		if !c.multi {
			answer(c, args)
			return true
		}
		c.refuse("ERR " + strings.ToUpper(args[0]) + " is not served inside MULTI")
		return true
	}
}

// refuse answers an error. Inside MULTI it makes EXEC fail: a transaction must not run
// without one of its commands.
func (c *client) refuse(message string) {
	if c.multi {
		c.out.sending.Lock()
		defer c.out.sending.Unlock()
		wrong := func() { c.dispatch([]string{"GET"}) } // the wrong number of arguments
		c.rewritten(wrong, func([]byte) []byte { return nil })
	}
	c.peer.WriteError(message)
}

// version is what miniredis says that it follows, in answer to HELLO.
const version = "8.4.0"

// info answers INFO [section ...].
func (c *client) info(args []string) {
	wanted := func(section string) bool {
		return len(args) == 1 || slices.ContainsFunc(args[1:], func(a string) bool {
			return slices.Contains([]string{"all", "default", "everything", strings.ToLower(section)}, strings.ToLower(a))
		})
	}
	var sections []string
	for _, sec := range c.s.infoSections() {
		if wanted(sec.name) {
			text := "# " + sec.name + "\r\n"
			for i := 0; i < len(sec.pairs); i += 2 {
				text += fmt.Sprintf("%v:%v\r\n", sec.pairs[i], sec.pairs[i+1])
			}
			sections = append(sections, text)
		}
	}
	c.peer.WriteBulk(strings.Join(sections, "\r\n"))
}

// infoSection is a part of INFO: names and values alternately.
type infoSection struct {
	name  string
	pairs []any
}

func (s *Server) infoSections() []infoSection {
	up, st, bgsave, size := time.Since(s.begun), s.diskStatus(), "ok", s.size.Load()
	if st.err != nil {
		bgsave = "err"
	}
	s.mu.Lock()
	clients := len(s.clients)
	s.mu.Unlock()
	_, port, _ := net.SplitHostPort(s.Addr())
	return []infoSection{
		{"Server", []any{
			"redis_version", version, "redis_mode", "standalone", "weir_embedded", 1,
			"os", runtime.GOOS + " " + runtime.GOARCH, "arch_bits", strconv.IntSize,
			"tcp_port", port, "uptime_in_seconds", int64(up.Seconds()), "uptime_in_days", int64(up.Hours() / 24),
		}},
		{"Clients", []any{"connected_clients", clients, "maxclients", s.places.Limit(), "blocked_clients", s.blocking.Load()}},
		{"Memory", []any{
			"used_memory", size, "used_memory_human", fmt.Sprintf("%.2fM", float64(size)/(1<<20)), "used_memory_peak", size, "used_memory_rss", size,
			"maxmemory", s.cfg.MaxMemory, "maxmemory_policy", "noeviction", "mem_fragmentation_ratio", "1.00",
		}},
		{"Persistence", []any{
			"loading", 0, "rdb_changes_since_last_save", s.unsaved(), "rdb_bgsave_in_progress", 0,
			"rdb_last_save_time", st.last.Unix(), "rdb_last_bgsave_status", bgsave, "aof_enabled", 0,
		}},
		{"Stats", []any{"total_connections_received", s.connections.Load(), "total_commands_processed", s.commands.Load(), "evicted_keys", 0}},
		{"Replication", []any{"role", "master", "connected_slaves", 0}},
		{"Cluster", []any{"cluster_enabled", 0}},
		{"Keyspace", s.keyspace()},
	}
}

// keyspace counts the keys by database.
func (s *Server) keyspace() (pairs []any) {
	s.gate.Lock()
	defer s.gate.Unlock()
	in := s.inner(nil)
	for db := range Databases {
		if n, _ := in.do(db, "DBSIZE").(int); n > 0 {
			expires, ttl := s.ttls(db)
			pairs = append(pairs, fmt.Sprintf("db%d", db), fmt.Sprintf("keys=%d,expires=%d,avg_ttl=%d", n, expires, ttl.Milliseconds()))
		}
	}
	return pairs
}

// ttls counts the keys of a database that expire, and averages how long they have
// left. The caller holds the gate.
func (s *Server) ttls(db int) (n int, average time.Duration) {
	if !s.expiring.Load() {
		return 0, 0
	}
	d, since := s.redis.DB(db), time.Since(s.ticked)
	var sum float64 // of a million keys with the longest TTL an integer overflows
	for _, k := range d.Keys() {
		if ttl := d.TTL(k); ttl > 0 {
			n++
			sum += float64(max(0, ttl-since))
		}
	}
	return n, time.Duration(sum / float64(max(1, n)))
}

// config answers CONFIG GET pattern [pattern ...]; nothing can be set.
func (c *client) config(args []string) {
	switch {
	case len(args) >= 3 && strings.EqualFold(args[1], "GET"):
	case len(args) == 2 && strings.EqualFold(args[1], "RESETSTAT"):
		c.peer.WriteOK()
		return
	default:
		c.peer.WriteError("ERR CONFIG " + head(args) + " is not served; only CONFIG GET is")
		return
	}
	found, settings := []string(nil), c.s.settings()
	for i := 0; i < len(settings); i += 2 {
		if slices.ContainsFunc(args[2:], func(p string) bool { return match(strings.ToLower(p), settings[i]) }) {
			found = append(found, settings[i:i+2]...)
		}
	}
	c.peer.Block(func(w *server.Writer) {
		w.WriteMapLen(len(found) / 2)
		for _, text := range found {
			w.WriteBulk(text)
		}
	})
}

// head is the subcommand as it may be repeated to a client.
func head(args []string) string {
	if len(args) < 2 {
		return ""
	}
	return strconv.QuoteToASCII(args[1][:min(len(args[1]), 32)])
}

// settings are what CONFIG GET knows: names and values alternately.
func (s *Server) settings() []string {
	save := ""
	if s.cfg.Dir != "" {
		save = fmt.Sprintf("%d 1", max(1, int(s.cfg.SnapshotEvery.Seconds())))
	}
	return []string{
		"appendonly", "no", "databases", strconv.Itoa(Databases), "dir", s.cfg.Dir, "dbfilename", currentName,
		"maxclients", strconv.Itoa(s.places.Limit()), "maxmemory", strconv.FormatInt(s.cfg.MaxMemory, 10),
		"maxmemory-policy", "noeviction", "proto-max-bulk-len", strconv.Itoa(maxRequest), "save", save,
		"slave-read-only", "yes", "timeout", "0",
	}
}

// save answers SAVE and BGSAVE, both by writing a snapshot now.
func (c *client) save(args []string) {
	if c.s.cfg.Dir == "" {
		c.peer.WriteError("ERR this server keeps nothing on disk")
		return
	}
	if err := c.s.save(true); err != nil {
		c.peer.WriteError("ERR the snapshot could not be written: " + err.Error())
		return
	}
	if strings.EqualFold(args[0], "BGSAVE") {
		c.peer.WriteInline("Background saving started")
		return
	}
	c.peer.WriteOK()
}

func (c *client) lastSave([]string) { c.peer.WriteInt(int(c.s.diskStatus().last.Unix())) }

// command answers what clients ask to build their help from. miniredis answers
// any COMMAND with the list of an old version, also where a map is expected.
func (c *client) command(args []string) bool {
	if len(args) == 1 {
		return false
	}
	switch strings.ToUpper(args[1]) {
	case "DOCS":
		c.peer.WriteMapLen(0)
	case "COUNT":
		c.peer.WriteInt(200)
	case "LIST", "INFO":
		c.peer.WriteLen(0)
	default:
		c.peer.WriteError("ERR COMMAND " + head(args) + " is not served")
	}
	return true
}

// client answers the subcommands of CLIENT that libraries send when they connect.
func (c *client) client(args []string) bool {
	if len(args) < 2 {
		return false
	}
	line := fmt.Sprintf("id=%d addr=%s laddr=%s name=%s", c.id, c.conn.RemoteAddr(), c.conn.LocalAddr(), c.peer.ClientName)
	switch strings.ToUpper(args[1]) {
	case "SETINFO", "NO-EVICT", "NO-TOUCH":
		c.peer.WriteOK()
	case "ID":
		c.peer.WriteInt(int(c.id))
	case "INFO":
		c.peer.WriteBulk(line + "\n")
	case "LIST":
		c.peer.WriteBulk(c.s.clientList())
	default:
		return false
	}
	return true
}

func (s *Server) clientList() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, 0, len(s.clients))
	for c := range s.clients {
		lines = append(lines, fmt.Sprintf("id=%d addr=%s laddr=%s\n", c.id, c.conn.RemoteAddr(), c.conn.LocalAddr()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// hello lets HELLO without a version ask for what is in use.
func (c *client) hello(args []string) bool {
	if len(args) > 1 {
		return false
	}
	v := "2"
	if c.peer.Resp3 {
		v = "3"
	}
	c.dispatch([]string{"HELLO", v})
	return true
}

// guard is called before each command, also before those that scripts call. It
// answers the commands that miniredis cannot serve.
func (s *Server) guard(p *server.Peer, cmd string, args ...string) bool {
	if message := refusal(cmd, args); message != "" {
		p.WriteError(message)
		return true
	}
	if !scans[cmd] {
		return false
	}
	pattern, all := scanOf(append([]string{cmd}, args...))
	if pattern == "*" {
		return false
	}
	s.scan(p, pattern, all)
	return true
}

// notServed is the end of an error that names the way out.
const notServed = " not served by weir's embedded Redis; use a real one with --redis"

// refusal is the error for a command that a snapshot could not hold or that makes
// miniredis panic, or "".
func refusal(cmd string, args []string) string {
	var dbs []string
	switch cmd {
	case "PFADD", "PFCOUNT", "PFMERGE":
		return "ERR " + cmd + " is" + notServed
	case "PSUBSCRIBE":
		if slices.ContainsFunc(args, func(p string) bool { return !subscribable(p) }) {
			return "ERR this pattern is" + notServed
		}
	case "PUBSUB":
		if len(args) > 1 && strings.EqualFold(args[0], "CHANNELS") && !subscribable(args[1]) {
			return "ERR this pattern is" + notServed
		}
	case "SSCAN", "ZSCAN":
		if len(args) > 1 && strings.HasPrefix(args[1], "-") {
			return "ERR invalid cursor"
		}
	case "SELECT", "SWAPDB":
		dbs = args
	case "MOVE":
		dbs = args[min(1, len(args)):]
	case "COPY":
		for i := 2; i+1 < len(args); i++ {
			if strings.EqualFold(args[i], "DB") {
				dbs = args[i+1 : i+2]
			}
		}
	}
	for _, db := range dbs {
		if n, err := strconv.Atoi(db); err == nil && (n < 0 || n >= Databases) {
			return "ERR DB index is out of range"
		}
	}
	return ""
}

// frees are the commands that stay allowed when memory is used up.
var frees = set("DEL", "UNLINK", "HDEL", "SREM", "ZREM", "XDEL", "XTRIM", "LTRIM", "LPOP", "RPOP", "LREM", "SPOP", "GETDEL",
	"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "FLUSHDB", "FLUSHALL", "EXEC", "XACK", "ZPOPMIN", "ZPOPMAX", "PERSIST")

// full reports whether the data exceed the limit.
func (s *Server) full() bool { return s.size.Load() > s.cfg.MaxMemory }

// adds reports whether a command can make the data larger.
func (s *Server) adds(cmd string) bool {
	return !inert[cmd] && !frees[cmd] && !s.redis.Server().IsReadOnlyCommand(cmd)
}

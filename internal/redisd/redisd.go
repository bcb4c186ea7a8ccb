// Package redisd is the Redis-compatible server inside weir: miniredis behind a
// real TCP listener, with limits, a snapshot on disk and a clock for expiry. It
// owns the connections and the snapshot files; the commands are miniredis'. It
// does not know what is stored: the counts are internal/tally's.
//
// It is made so that `weir up` needs nothing but one binary, and so that
// redis-cli, Python's redis and any other client can look at the counts. What a
// Redis serves and this does not:
//
//   - HyperLogLog (PFADD, PFCOUNT, PFMERGE), which could not be kept in a snapshot;
//   - PSUBSCRIBE and PUBSUB CHANNELS with unusual patterns (bytes that are not UTF-8,
//     ranges from high to low, punctuation in a class), where an error says so; in
//     the others `?` and a class match a character, not a byte;
//   - replication, cluster mode, sentinels, modules, functions, ACLs and
//     passwords, TLS, MONITOR, SLOWLOG, LATENCY, DEBUG, keyspace notifications,
//     client-side caching, CONFIG SET, SHUTDOWN;
//   - RDB and AOF files: the snapshot has a format of its own, DUMP and RESTORE
//     work for strings only;
//   - in scripts: cjson's settings, struct's alignment (both are errors), negative zero,
//     numbers as texts (all digits, not 14; `+Inf`), texts such as `010` as numbers in
//     arguments, and replies of RESP3 (redis.setresp). A script runs for 5 s (30 s
//     if it wrote) and holds 256 MB at most, then it is stopped: what it wrote stays;
//   - eviction: at MaxMemory commands that add data are refused;
//   - durability of the last second: a kill -9 goes back to the last snapshot, an
//     older state that was whole at one moment. weir's counts hold their position
//     in Kafka with them, so what is missing is counted again.
package redisd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/intake"
)

// Defaults and limits.
const (
	// Databases is how many numbered databases there are, as in Redis.
	Databases = 16
	// DefaultSnapshotEvery is how often a changed state is written to disk.
	DefaultSnapshotEvery = time.Second
	// DefaultMaxMemory bounds the data in bytes, as their snapshot measures it.
	DefaultMaxMemory = 256 << 20
	// maxClients bounds the connections where descriptors are plenty.
	maxClients = 2000
)

// Config is what a Server needs.
type Config struct {
	// Addr is where to listen, as host:port; port 0 is any free one.
	Addr string
	// Dir is where the snapshots are, created where missing; empty keeps nothing on
	// disk. The caller makes sure that no other process uses it.
	Dir string
	// Log gets what happens; nil discards it.
	Log *slog.Logger
	// SnapshotEvery is how often a changed state is written; 0 is the default.
	SnapshotEvery time.Duration
	// MaxMemory bounds the data in bytes; 0 is the default. It is looked at with
	// each snapshot, so it can be exceeded by what arrives in between.
	MaxMemory int64

	// Listen binds Addr; nil means net.Listen.
	Listen func(network, addr string) (net.Listener, error)

	// conns is how many connections are admitted; 0 is the share of maxClients that
	// the process's descriptors permit. held bounds the bytes of requests; 0 is maxHeld.
	conns int
	held  int64
}

// ListenError says that the address cannot be bound.
type ListenError struct {
	// Addr is the address that was asked for.
	Addr string
	Err  error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("redis: cannot listen on %s: %v; is another Redis or weir running? choose another address", e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Server is a running server. It is safe for concurrent use.
type Server struct {
	cfg   Config
	log   *slog.Logger
	l     net.Listener
	redis *miniredis.Miniredis
	begun time.Time

	// gate is held by each command that cannot block, and by a snapshot: what a
	// snapshot sees was whole at one moment.
	gate     sync.Mutex
	blocking atomic.Int32 // commands that can block and have not returned

	changes  atomic.Int64 // counts commands that may have changed something
	size     atomic.Int64 // bytes of the last snapshot
	expiring atomic.Bool  // some key may have a TTL
	ticked   time.Time    // how far TTLs have advanced; under gate
	tickCost time.Duration

	scripts     scriptStore
	running     atomic.Pointer[run] // the script that runs
	scriptLimit time.Duration

	commands, connections atomic.Int64

	budget *intake.Budget // of requests that were not answered
	places *intake.Places

	writer  atomicfile.Writer // of snapshots
	saving  sync.Mutex
	stateMu sync.Mutex // guards status
	status  diskStatus

	mu      sync.Mutex
	clients map[*client]struct{}
	lastID  int64
	closed  bool
	wg      sync.WaitGroup
}

// Open reads the newest whole snapshot, binds the address (*ListenError) and
// serves clients from then on. Snapshots are written by Run and Close.
func Open(cfg Config) (*Server, error) {
	if cfg.SnapshotEvery <= 0 {
		cfg.SnapshotEvery = DefaultSnapshotEvery
	}
	if cfg.MaxMemory <= 0 {
		cfg.MaxMemory = DefaultMaxMemory
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == nil {
		cfg.Listen = net.Listen
	}
	if cfg.conns == 0 {
		cfg.conns = intake.Share(maxClients)
	}
	if cfg.held == 0 {
		cfg.held = maxHeld
	}
	now := time.Now()
	s := &Server{cfg: cfg, log: cfg.Log, redis: miniredis.NewMiniRedis(), begun: now, ticked: now, clients: map[*client]struct{}{}, scriptLimit: scriptLimit,
		budget: intake.NewBudget(cfg.held - maxRequest), places: intake.NewPlaces("redis", cfg.conns, cfg.Log)}
	s.status.last = now
	if err := s.open(); err != nil {
		s.redis.Close()
		return nil, err
	}
	s.wg.Go(s.accept)
	return s, nil
}

// open starts miniredis, reads the newest snapshot, and binds the address.
func (s *Server) open() error {
	// Dial is the one way to start miniredis without a listener of its own.
	pipe, err := s.redis.Dial()
	if err == nil {
		_ = pipe.Close()
		s.redis.Server().SetPreHook(s.guard)
		err = s.prepare()
	}
	if err != nil {
		return fmt.Errorf("start the embedded Redis: %w", err)
	}
	if s.cfg.Dir != "" {
		if err := s.restore(); err != nil {
			return err
		}
	}
	if s.l, err = s.cfg.Listen("tcp", s.cfg.Addr); err != nil {
		return &ListenError{Addr: s.cfg.Addr, Err: err}
	}
	return nil
}

// Addr is the address that the server listens on, as host:port.
func (s *Server) Addr() string { return s.l.Addr().String() }

// URL is the address with weir's own database.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/1" }

// Run writes snapshots and lets keys expire until ctx ends. It returns nil. A
// snapshot that cannot be written is logged and tried again.
func (s *Server) Run(ctx context.Context) error {
	save := time.NewTicker(s.cfg.SnapshotEvery)
	defer save.Stop()
	expire := time.NewTimer(tickEvery)
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-expire.C:
			expire.Reset(s.tick())
		case <-save.C:
			_ = s.save(false)
		}
	}
}

// Close ends all connections, writes the last snapshot and frees the address. It
// is idempotent.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.l.Close()
	for c := range s.clients {
		c.hangUp()
	}
	s.mu.Unlock()
	s.redis.CtxCancel() // wakes commands that block
	s.wake()
	s.wg.Wait()
	if serr := s.save(true); serr != nil {
		err = errors.Join(err, fmt.Errorf("write the last snapshot: %w", serr))
	}
	s.redis.Close()
	return err
}

// wake makes every command that blocks look again at what it waits for. When its
// context ends, miniredis (2.40.0, blocking) wakes them without holding its lock, and
// so misses those that have just looked and do not wait yet: they would wait for ever.
// Every other command wakes them under the lock; this is one that changes nothing.
func (s *Server) wake() {
	s.redis.Server().Dispatch(server.NewPeer(bufio.NewWriter(io.Discard)), []string{"EXISTS", ""})
}

func (s *Server) accept() {
	for {
		conn, err := s.places.Accept(s.l)
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.serve(conn)
	}
}

// serve admits a connection, or rejects it when there are too many.
func (s *Server) serve(conn net.Conn) {
	c := newClient(s, conn)
	if c == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n"))
		_ = conn.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.place.Leave()
		_ = conn.Close()
		return
	}
	s.lastID++
	c.id = s.lastID
	s.clients[c] = struct{}{}
	s.wg.Go(func() {
		c.run()
		c.place.Leave()
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
	})
}

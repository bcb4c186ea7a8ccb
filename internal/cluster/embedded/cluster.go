// Package embedded runs three Kafka brokers inside this process, on kfake, a
// Kafka-compatible broker that is used as a pinned module through its public API,
// with the log on disk.
//
// The package owns what the module lacks for work that lasts: the sockets and the
// check of every frame that comes in, brokers that can be killed and restarted,
// even placement of leaders, a data directory that one process at a time uses,
// recovery of transactions after a crash, retention, and the few answers
// of the module that would mislead a client. It does not own topics, clients or
// anything that is specific to weir's data, and nothing that talks to a cluster
// needs it: the boundary is the Kafka protocol.
//
// There is one copy of the data on one disk; three replicas are a simulation.
package embedded

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/intake"
)

// ErrClosed is returned by what is asked of a cluster after Close.
var ErrClosed = errors.New("the cluster is closed")

// moduleController is the broker that the module has as controller, always.
const moduleController = Size - 1

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	cfg     Config
	log     *slog.Logger
	dir     *dataDir // nil in memory
	brokers []*broker
	mlog    *moduleLog
	intents *intents // nil in memory
	refused atomic.Int64
	budget  *intake.Budget // of requests that were not answered

	failed atomic.Pointer[DiskError] // set: nothing is acknowledged any more
	outage atomic.Pointer[DiskError] // the failure for which the brokers are down, until they serve again
	faults atomic.Int64              // failed writes that stopped the brokers
	broken chan struct{}             // tells mend about one
	room   room
	spoke  atomic.Int64 // when a lack of room was last logged, Unix seconds

	// life guards k: the module blocks forever when asked after its Close.
	life   sync.RWMutex
	k      *kfake.Cluster
	closed bool

	// ops serializes what moves leaders and coordinators. It is held for as long
	// as that takes, so what every client looks up is under st instead.
	ops    sync.Mutex
	epochs map[partition]int32
	alters sync.Mutex // held while settings change

	st         sync.Mutex
	preferred  map[partition]int32 // written with ops held as well
	controller int32
	keys       recentKeys

	trim    trimmer
	done    chan struct{} // closed when Close begins
	mending sync.WaitGroup
	// stopMending ends mend, also while it repairs.
	stopMending context.CancelFunc
	closeOnce   sync.Once
	closeErr    error
}

// partition names a partition.
type partition struct {
	topic string
	id    int32
}

// Open starts a cluster: on return clients are served. An address that cannot be
// had is an *AddrError, a directory in use a *LockedError, one that cannot be
// read a *FormatError. Everything acknowledged before the last process ended is
// there again, and its open transactions are ended: committed if their commit
// had begun, otherwise aborted.
func Open(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open cluster: %w", err)
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Log, controller: moduleController, budget: intake.NewBudget(maxHeld - maxProduceFrame),
		preferred: make(map[partition]int32), epochs: make(map[partition]int32), done: make(chan struct{}),
		broken: make(chan struct{}, 1),
	}
	c.mlog = &moduleLog{log: cfg.Log, failed: c.fail}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open cluster: %w", err)
			c.abandon()
		}
	}()
	if cfg.Dir != "" {
		if c.dir, err = openDataDir(cfg.Dir); err != nil {
			return nil, err
		}
		c.room.dir, c.room.space = c.dir.path, cfg.space
		c.readEpochs()
	}
	for i, addr := range cfg.Addrs {
		b := &broker{
			id: int32(i), c: c, bind: addr, conns: make(map[*conn]struct{}),
			places: intake.NewPlaces("broker "+strconv.Itoa(i), cfg.conns, cfg.Log),
		}
		if err := b.listen(); err != nil {
			return nil, err
		}
		b.door.Store(newDoor(b.addr))
		c.brokers = append(c.brokers, b)
	}
	started := time.Now()
	report := newProgress(cfg.Progress)
	defer report.stop()
	if err := c.load(ctx, report); err != nil {
		return nil, err
	}
	if e := c.failed.Load(); e != nil {
		return nil, e
	}
	mendCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stopMending = stop
	if c.dir != nil {
		c.mending.Go(func() { c.mend(mendCtx) })
	}
	for _, b := range c.brokers {
		b.serve()
	}
	c.log.Info("cluster open", "brokers", c.Addrs(), "data", cfg.Dir,
		"unclean", c.dir != nil && c.dir.unclean, "took_ms", time.Since(started).Milliseconds())
	return c, nil
}

// load brings the module up on what is on disk, with no client let in.
func (c *Cluster) load(ctx context.Context, report *progress) error {
	unclean := c.dir != nil && c.dir.unclean
	var logBytes int64
	var commits map[producer]intent
	if c.dir != nil {
		log := c.dir.file(logName)
		sizes, err := scanSizes(log)
		if err != nil {
			return err
		}
		logBytes = sizes.total()
		if commits, err = c.openIntents(); err != nil {
			return err
		}
		if !unclean {
			sound, err := soundHeaders(sizes)
			if err != nil {
				return fmt.Errorf("check log: %w", err)
			}
			unclean = !sound
		}
		if unclean {
			what := "the last run was not closed"
			if !c.dir.unclean {
				what = "damage found"
			}
			report.say(what + ": checking " + megabytes(logBytes) + " of log")
			if err := c.repair(ctx, log, commits); err != nil {
				return fmt.Errorf("repair log: %w", err)
			}
		}
		report.say("reading " + megabytes(logBytes) + " of log")
	}
	k, err := c.startModule()
	if err != nil {
		return err
	}
	if c.dir != nil {
		if err := c.mlog.locate(c.dir.path); err != nil {
			k.Close()
			return err
		}
	}
	if c.dir != nil && !unclean && len(c.mlog.list()) > 0 {
		// The module cuts off what is damaged and keeps bookkeeping that does not
		// fit what is left: it would neither read nor write that partition right.
		report.say("damage found: checking " + megabytes(logBytes) + " of log")
		unclean = true
		if k, err = c.startRepaired(ctx, k); err != nil {
			return err
		}
	}
	c.life.Lock()
	c.k = k
	c.life.Unlock()
	if logBytes > 64<<20 {
		// Reading takes memory of about the log's size, which the runtime would
		// otherwise keep for minutes.
		debug.FreeOSMemory()
	}
	report.say("placing leaders")
	if err := c.settle(ctx); err != nil {
		return fmt.Errorf("place leaders: %w", err)
	}
	if unclean {
		report.say("ending the transactions of the last run")
		if err := c.recoverTxns(ctx, commits); err != nil {
			return fmt.Errorf("recover transactions: %w", err)
		}
	}
	return nil
}

// startRepaired closes k, repairs the log and starts the module again.
func (c *Cluster) startRepaired(ctx context.Context, k *kfake.Cluster) (*kfake.Cluster, error) {
	k.Close()
	c.mlog.forgetSaves()
	if err := c.repair(ctx, c.dir.file(logName), nil); err != nil {
		return nil, fmt.Errorf("repair log: %w", err)
	}
	return c.startModule()
}

func (c *Cluster) options() []kfake.Opt {
	next := 0
	opts := []kfake.Opt{
		kfake.NumBrokers(Size),
		kfake.DefaultNumPartitions(Size),
		kfake.WithLogger(c.mlog),
		kfake.ClusterID(randomID()),
		// Called for broker 0, 1 and 2, in this order, before NewCluster returns.
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			next++
			b := c.brokers[next-1]
			d := newDoor(b.addr)
			b.door.Store(d)
			return d, nil
		}),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes": strconv.FormatInt(c.cfg.SegmentBytes, 10),
			// The module's own cleaner compacts in place, which a crash turns into a
			// loss, and its retention applies to compacted topics and can empty a
			// partition, which then starts again at offset 0. A hundred years.
			"log.cleaner.backoff.ms": "3155760000000",
		}),
	}
	if c.dir != nil {
		opts = append(opts, kfake.DataDir(c.dir.file(logName)))
		if c.cfg.SyncWrites {
			opts = append(opts, kfake.SyncWrites())
		}
	}
	return opts
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// module calls fn with the running module, or returns ErrClosed. Calls do not nest.
func (c *Cluster) module(fn func(k *kfake.Cluster) error) error {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.closed {
		return ErrClosed
	}
	if c.k == nil {
		return c.down()
	}
	return fn(c.k)
}

// down is why there is no module.
func (c *Cluster) down() error {
	if e := c.failed.Load(); e != nil {
		return e
	}
	return ErrClosed
}

// Addrs returns the addresses that clients get to connect to, in the order of the ids.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.addr.String()
	}
	return addrs
}

// Refused counts the connections that were closed because what they sent is not
// Kafka's protocol.
func (c *Cluster) Refused() int64 { return c.refused.Load() }

// Truncations returns what the last start found damaged in the log and could not
// serve any more.
func (c *Cluster) Truncations() []Truncation { return c.mlog.list() }

// Close stops serving, writes what the next start reads, and gives the directory
// back. It is idempotent. Clients' open transactions survive it for as long as
// their timeout allows.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.shutdown() })
	return c.closeErr
}

func (c *Cluster) shutdown() error {
	close(c.done)
	c.stopMending()
	c.mending.Wait()
	c.life.Lock()
	c.closed = true
	c.life.Unlock()
	var err error
	if c.k != nil {
		// New clients first, then the module: what it has read it answers or drops.
		for _, b := range c.brokers {
			b.mu.Lock()
			b.closing = true
			b.mu.Unlock()
		}
		c.k.Close()
	}
	for _, b := range c.brokers {
		b.shut()
		b.wg.Wait()
	}
	if e := c.failed.Load(); e != nil {
		err = fmt.Errorf("close cluster: %w", e)
	} else if e := c.mlog.saveError(); e != nil {
		err = fmt.Errorf("close cluster: %w", e)
	}
	if c.intents != nil {
		err = errors.Join(err, c.intents.close())
	}
	if c.dir != nil {
		// A save that failed leaves the marker, so the next start checks the log.
		err = errors.Join(err, c.dir.close(err == nil))
	}
	return err
}

// abandon undoes an Open that failed. The directory keeps its marker unless
// nothing was begun in it.
func (c *Cluster) abandon() {
	c.life.Lock()
	c.closed = true
	c.life.Unlock()
	if c.k != nil {
		c.k.Close()
	}
	for _, b := range c.brokers {
		b.shut()
		b.wg.Wait()
	}
	if c.intents != nil {
		_ = c.intents.close()
	}
	if c.dir != nil {
		_ = c.dir.close(c.k == nil && !c.dir.unclean)
	}
}

// progress says what is being done once that takes longer than a second.
type progress struct {
	mu   sync.Mutex
	line string
	done chan struct{}
	wg   sync.WaitGroup
}

func newProgress(say func(string)) *progress {
	p := &progress{done: make(chan struct{})}
	p.wg.Go(func() {
		started := time.Now()
		wait := time.NewTimer(time.Second)
		defer wait.Stop()
		for {
			select {
			case <-p.done:
				return
			case <-wait.C:
			}
			p.mu.Lock()
			line := p.line
			p.mu.Unlock()
			say(fmt.Sprintf("%s (%.0f s)", line, time.Since(started).Seconds()))
			wait.Reset(500 * time.Millisecond)
		}
	})
	return p
}

func (p *progress) say(line string) {
	p.mu.Lock()
	p.line = line
	p.mu.Unlock()
}

func (p *progress) stop() {
	close(p.done)
	p.wg.Wait()
}

func megabytes(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt(n>>10, 10) + " kB"
	}
	return strconv.FormatInt(n>>20, 10) + " MB"
}

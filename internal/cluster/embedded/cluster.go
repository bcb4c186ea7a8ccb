// Package embedded runs three Kafka brokers inside this process, on kfake, a
// Kafka-compatible broker that is used as a pinned module through its public API,
// with the log on disk.
//
// The package owns what the module lacks for work that lasts: the sockets and the
// check of every frame that arrives (conn.go), requests and responses that differ from
// Kafka's (rewrite.go), brokers that can be killed and restarted, even placement of
// leaders, a data directory that one process at a time uses, recovery after a crash
// (repair.go) and a failed disk (disk_fault.go), and retention. It does not own topics,
// clients or anything that is specific to weir's data, and nothing that talks to a
// cluster needs it: the boundary is the Kafka protocol.
//
// There is one copy of the data on one disk; three replicas are a simulation.
package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/intake"
)

// errClosed is returned by the methods of a cluster after Close.
var errClosed = errors.New("the cluster is closed")

// moduleController is the broker that the module has as controller, always.
const moduleController = Size - 1

// Cluster is a running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	cfg     config
	log     *slog.Logger
	dir     *dataDir // nil in memory
	brokers []*broker
	mlog    *moduleLog
	journal *commitJournal
	refused atomic.Int64   // connections that were closed because they do not speak Kafka's protocol
	budget  *intake.Budget // of requests that were not answered

	failed atomic.Pointer[DiskError] // set: nothing is acknowledged any more
	outage atomic.Pointer[DiskError] // the failure for which the brokers are down, until they serve again
	faults atomic.Int64              // failed writes that stopped the brokers
	broken chan struct{}             // wakes mend after one
	room   room
	logged atomic.Int64 // when a lack of room was last logged, Unix seconds

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
	archive *archive      // nil in memory
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

func (p partition) compare(o partition) int {
	return cmp.Or(cmp.Compare(p.topic, o.topic), cmp.Compare(p.id, o.id))
}

// Open starts a cluster: on return clients are served. Everything acknowledged before the last process ended is
// there again, and its open transactions are ended: committed if their commit
// had begun, otherwise aborted.
//
// The brokers return to clients the address that they are bound to, 127.0.0.1 where that is
// every interface. Progress is called with one line about every half second while Open takes
// longer than a second, maybe from another goroutine, but not after Open has returned.
func Open(ctx context.Context, cfg Config) (*Cluster, error) {
	return newCluster(ctx, config{Config: cfg})
}

// sharedFiles is set by the linker for binaries whose brokers can replace files that are open, which
// Windows refuses otherwise: see ops/dist.
var sharedFiles = ""

// checkBuild returns an error for a program whose brokers could not write on this system.
func checkBuild(system string) error {
	if system != "windows" || sharedFiles != "" {
		return nil
	}
	return errors.New("the embedded brokers of this weir.exe cannot write on Windows, since it was built with go build or go run; " +
		"build one that can with: go run ./ops/dist windows/amd64")
}

func newCluster(ctx context.Context, cfg config) (_ *Cluster, err error) {
	if err := checkBuild(runtime.GOOS); err != nil {
		return nil, err
	}
	var c *Cluster
	defer func() {
		if err != nil {
			err = fmt.Errorf("open cluster: %w", err)
			if c != nil {
				c.abandon()
			}
		}
	}()
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	c = &Cluster{
		cfg: cfg, log: cfg.Log, controller: moduleController, budget: intake.NewBudget(maxHeld - maxProduceFrame),
		preferred: make(map[partition]int32), epochs: make(map[partition]int32), done: make(chan struct{}),
		broken: make(chan struct{}, 1), journal: newCommitJournal(""), trim: trimmer{state: make(map[partition]*compacting)},
	}
	c.mlog = &moduleLog{log: cfg.Log, failed: c.fail}
	if cfg.Dir != "" {
		if c.dir, err = openDataDir(cfg.Dir); err != nil {
			return nil, err
		}
		c.journal = newCommitJournal(c.dir.file(journalName))
		c.room.dir, c.room.space = c.dir.path, cfg.space
		c.readEpochs()
		if c.archive, err = openArchive(c.files(), c.dir.file(archiveName), cfg.archiveFile, cfg.Log, c.mlog.add); err != nil {
			return nil, err
		}
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
	if c.archive != nil {
		c.archive.missing(func(p partition) (int64, bool) {
			if info := c.partitionInfo(p); info != nil {
				return info.LogStartOffset, true
			}
			return 0, false
		})
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
	if c.dir == nil {
		k, err := c.startModule()
		if err != nil {
			return err
		}
		return c.use(ctx, k, report)
	}
	log, err := scanLog(c.dir.file(logName))
	if err != nil {
		return err
	}
	var logBytes int64
	for _, p := range log {
		logBytes += p.bytes()
	}
	commits, err := c.journal.open(c.dir.unclean)
	if err != nil {
		return err
	}
	why := "" // the log has to be repaired
	if c.dir.unclean {
		why = "the last run was not closed"
	} else if sound, err := soundHeaders(log); err != nil {
		return fmt.Errorf("check log: %w", err)
	} else if !sound {
		why = "damage found"
	}
	var k *kfake.Cluster
	for k == nil {
		if why != "" {
			report.say(why + ": checking " + megabytes(logBytes) + " of log")
			c.dir.unclean = true
			if err := c.repair(ctx, c.dir.file(logName), commits); err != nil {
				return fmt.Errorf("repair log: %w", err)
			}
		}
		report.say("reading " + megabytes(logBytes) + " of log")
		if k, err = c.startModule(); err != nil {
			return err
		}
		if !c.dir.unclean && len(c.mlog.list()) > 0 {
			// The module cuts off what is damaged and keeps bookkeeping that does not
			// fit what is left: it would neither read nor write that partition right.
			k.Close()
			k, why = nil, "damage found"
		}
	}
	if logBytes > 64<<20 {
		// Reading takes memory of about the log's size, which the runtime would
		// otherwise keep for minutes.
		debug.FreeOSMemory()
	}
	if err := c.use(ctx, k, report); err != nil || !c.dir.unclean {
		return err
	}
	report.say("ending the transactions of the last run")
	if err := c.recoverTxns(ctx, commits); err != nil {
		return fmt.Errorf("recover transactions: %w", err)
	}
	return nil
}

// use makes a module the cluster's and places its leaders.
func (c *Cluster) use(ctx context.Context, k *kfake.Cluster, report *progress) error {
	c.life.Lock()
	c.k = k
	c.life.Unlock()
	report.say("placing leaders")
	if err := c.settle(ctx); err != nil {
		return fmt.Errorf("place leaders: %w", err)
	}
	return nil
}

func (c *Cluster) options() []kfake.Opt {
	next := 0
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	opts := []kfake.Opt{
		kfake.NumBrokers(Size),
		kfake.DefaultNumPartitions(Size),
		kfake.WithLogger(c.mlog),
		kfake.ClusterID(base64.RawURLEncoding.EncodeToString(id[:])),
		// Called for broker 0, 1 and 2, in this order, before NewCluster returns.
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			next++
			b := c.brokers[next-1]
			d := newDoor(b.addr)
			b.door.Store(d)
			return d, nil
		}),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes": strconv.FormatInt(c.cfg.segmentBytes, 10),
			"log.retention.ms":  strconv.FormatInt(cmp.Or(c.cfg.Retention, week).Milliseconds(), 10),
			// The module's own cleaner compacts in place, which a crash turns into a
			// loss, and its retention applies to compacted topics and can empty a
			// partition, which then starts again at offset 0. A hundred years.
			"log.cleaner.backoff.ms": "3155760000000",
		}),
	}
	if c.dir != nil {
		opts = append(opts, kfake.DataDir(c.dir.file(logName)))
	}
	return append(opts, c.cfg.options...)
}

// module calls fn with the running module, or returns errClosed. Calls do not nest.
func (c *Cluster) module(fn func(k *kfake.Cluster) error) error {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.closed {
		return errClosed
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
	return errClosed
}

// Name returns the engine's name.
func (c *Cluster) Name() string { return "embedded" }

// Addrs returns the addresses that clients get to connect to, in the order of the IDs.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.addr.String()
	}
	return addrs
}

// Damage lists what the last start found damaged on the disk and cut off.
func (c *Cluster) Damage() (all []string) {
	for _, t := range c.mlog.list() {
		all = append(all, "damage on disk: "+t.String())
	}
	return all
}

// Close stops serving, writes what the next start reads, and releases the directory.
// It is idempotent. Clients' open transactions survive it for as long as
// their timeout allows.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.shutdown() })
	return c.closeErr
}

func (c *Cluster) shutdown() error {
	close(c.done)
	c.stopMending()
	c.mending.Wait()
	c.markClosed()
	c.trim.mu.Lock() // what Enforce writes is written, or not begun, before another process may open the directory
	defer c.trim.mu.Unlock()
	// New clients first, then the module: what it has read it answers or drops.
	err := c.unload(c.detach())
	if e := c.failed.Load(); e != nil {
		err = errors.Join(fmt.Errorf("close cluster: %w", e), err)
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
	c.markClosed()
	k := c.detach()
	_ = c.unload(k)
	if c.dir != nil {
		_ = c.dir.close(k == nil && !c.dir.unclean)
	}
}

// markClosed lets no new client in, and no other method of the module's begin.
func (c *Cluster) markClosed() {
	c.life.Lock()
	c.closed = true
	c.life.Unlock()
	for _, b := range c.brokers {
		b.mu.Lock()
		b.closing = true
		b.mu.Unlock()
	}
}

// detach takes the running module, or nil, away from all callers.
func (c *Cluster) detach() *kfake.Cluster {
	c.life.Lock()
	defer c.life.Unlock()
	k := c.k
	c.k = nil
	return k
}

// unload closes the module and what belongs to one run of it.
func (c *Cluster) unload(k *kfake.Cluster) error {
	if k != nil {
		k.Close() // after a failed write: what it cannot save, repair derives from the log
	}
	for _, b := range c.brokers {
		b.cut()
		_ = b.inner().Close()
		b.wg.Wait()
	}
	return c.journal.close()
}

// progress says what is being done once that takes longer than a second.
type progress struct {
	line atomic.Value
	stop func()
}

func newProgress(say func(string)) *progress {
	p := new(progress)
	p.say("")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for started, wait := time.Now(), time.Second; ; wait = 500 * time.Millisecond {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			say(fmt.Sprintf("%s (%.0f s)", p.line.Load(), time.Since(started).Seconds()))
		}
	})
	p.stop = func() {
		cancel()
		wg.Wait()
	}
	return p
}

func (p *progress) say(line string) { p.line.Store(line) }

func megabytes(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt(n>>10, 10) + " kB"
	}
	return strconv.FormatInt(n>>20, 10) + " MB"
}

// Package apache runs three Apache Kafka brokers (KRaft, combined with their
// controllers) as local Java processes, without Docker. It owns getting the
// jars, the configuration and formatting of the nodes, their processes, and the
// processes that a killed predecessor left behind. It does not own topics, and it
// speaks to the brokers only to see that they answer.
package apache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/cluster/local"
)

// nodes is the number of brokers: the fewest of which one may fail under
// replication 3 and min.insync.replicas 2.
const nodes = 3

// Config says what to run and where. One process at a time may use its Dir; the caller
// holds the lock.
type Config = local.Config

// Cluster is three running brokers.
type Cluster struct {
	cfg    Config
	id     string
	client *kgo.Client
	nodes  [nodes]*node
	up     atomic.Bool // all brokers have answered
	close  sync.Once
	closed error // of Close
}

// PortError says that another program took a broker's port after it had been chosen. A
// broker binds its port seconds later.
type PortError struct {
	ID   int32  // the broker's
	Addr string // host:port
}

func (e *PortError) Error() string {
	return fmt.Sprintf("broker %d cannot listen at %s: another program took this port meanwhile; start again, or choose other ports", e.ID, e.Addr)
}

// Open gets the jars, formats the nodes where that was never done, stops what a
// killed predecessor left running, starts the brokers and returns when all three
// answer. A start takes 3 to 6 s on two cores; the first one takes longer and fetches 55 MB. The error
// is a *PortError where another program took a broker's port meanwhile.
func Open(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	c := &Cluster{cfg: cfg}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start Apache Kafka: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) open(ctx context.Context) (err error) {
	if strings.Contains(c.cfg.Dir, ",") {
		return fmt.Errorf("the data directory %s has a comma in its name, which separates directories in Kafka's setting log.dirs; choose another one with --data", c.cfg.Dir)
	}
	if c.cfg.Addrs, err = local.Fill(c.cfg.Addrs, nodes); err != nil {
		return err
	}
	program, err := provide(ctx, c.cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if c.id, err = clusterID(c.cfg.Dir); err != nil {
		return err
	}
	if err := StopOrphans(ctx, c.cfg.Dir, c.cfg.Progress); err != nil {
		return err
	}
	if err := c.layout(program); err != nil {
		return err
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	c.cfg.Progress("starting three Apache Kafka brokers")
	for _, n := range c.nodes {
		if err := n.start(true); err != nil {
			return err
		}
	}
	c.client, err = kgo.NewClient(kgo.SeedBrokers(c.cfg.Addrs...), kgo.ClientID("weir-cluster"),
		kgo.RetryTimeout(2*time.Second), kgo.DialTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return c.waitAnswer(ctx)
}

// layout chooses a free controller port for each node and writes the configurations.
// Only the cluster uses the controllers' addresses: they change at every start.
func (c *Cluster) layout(p program) error {
	host, _, err := net.SplitHostPort(c.cfg.Addrs[0])
	if err != nil {
		return fmt.Errorf("broker address %q: %w", c.cfg.Addrs[0], err)
	}
	controllers, err := local.Free(host, nodes)
	if err != nil {
		return fmt.Errorf("choose the controllers' ports: %w", err)
	}
	var voters []string
	for i, addr := range controllers {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, addr))
	}
	for i := range c.nodes {
		dir := filepath.Join(c.cfg.Dir, fmt.Sprintf("broker-%d", i+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the broker's directory: %w", err)
		}
		n := &node{id: int32(i + 1), addr: c.cfg.Addrs[i], dir: dir, program: p, bound: c.cfg.Bound, log: c.cfg.Log, died: c.died, edit: c.cfg.Edit}
		if err := os.WriteFile(n.config(), properties(n, controllers[i], strings.Join(voters, ","), c.cfg.Retention, c.cfg.Properties), 0o600); err != nil {
			return fmt.Errorf("write the broker's configuration: %w", err)
		}
		c.nodes[i] = n
	}
	return nil
}

// died reports a broker that ended by itself. One that ends while the cluster starts
// is Open's error.
func (c *Cluster) died(b local.Broker) {
	if c.up.Load() && c.cfg.Died != nil {
		c.cfg.Died(b)
	}
}

// format prepares the data directories of nodes that have none yet.
func (c *Cluster) format(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		if !exists(filepath.Join(n.data(), "meta.properties")) {
			g.Go(func() error { return n.format(ctx, c.id) })
		}
	}
	return g.Wait()
}

// reportEvery is how often a start that takes long reports its progress.
const reportEvery = 3 * time.Second

// startPatience is how long three brokers may take to answer: about ten seconds on a
// quiet machine, and a busy one is no reason to give up.
const startPatience = 5 * time.Minute

// waitAnswer returns when every broker is registered, one is the controller, and each answers.
func (c *Cluster) waitAnswer(ctx context.Context) error {
	start, reported, before := time.Now(), time.Now(), 0
	return until(ctx, 100*time.Millisecond, func() (bool, error) {
		answering := c.answering(ctx)
		c.up.Store(answering == nodes)
		for _, n := range c.nodes {
			if b := n.broker(); !b.Alive {
				return false, n.startError(b.Reason)
			}
		}
		if answering == nodes {
			return true, nil
		}
		if answering != before || time.Since(reported) > reportEvery {
			reported, before = time.Now(), answering
			c.cfg.Progress(fmt.Sprintf("%d of %d Apache Kafka brokers answer after %v", answering, nodes, time.Since(start).Truncate(time.Second)))
		}
		if time.Since(start) > startPatience {
			return false, fmt.Errorf("%d of %d brokers answer after %v; what they printed is in %s", answering, nodes, startPatience, c.cfg.Dir)
		}
		return false, nil
	})
}

// until calls done, now and at every interval, until it returns true or an error or ctx ends.
func until(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answering counts the brokers that the cluster knows, are unfenced, and answer
// themselves. Those of another cluster, which may have taken the ports, do not count.
func (c *Cluster) answering(ctx context.Context) (n int) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return 0
	}
	for _, b := range resp.Brokers {
		resp, err := req.RequestWith(ctx, c.client.Broker(int(b.NodeID)))
		if err == nil && resp.ClusterID != nil && *resp.ClusterID == c.id {
			n++
		}
	}
	return n
}

// Addrs returns the brokers' client addresses.
func (c *Cluster) Addrs() []string { return c.cfg.Addrs }

// Name returns the engine's name.
func (c *Cluster) Name() string { return "apache" }

// Brokers returns the state of the three processes.
func (c *Cluster) Brokers(context.Context) (all []local.Broker, err error) {
	for _, n := range c.nodes {
		all = append(all, n.broker())
	}
	return all, nil
}

// Fault returns nil: the reason of each broker says why it ended.
func (c *Cluster) Fault() error { return nil }

// Damage returns nothing: Apache Kafka repairs its logs itself.
func (c *Cluster) Damage() []string { return nil }

// Kill stops a broker cleanly: its leaders move first, which takes a moment.
func (c *Cluster) Kill(ctx context.Context, id int32) error { return c.kill(ctx, id, false) }

// KillHard ends a broker with SIGKILL, as if the machine lost power.
func (c *Cluster) KillHard(ctx context.Context, id int32) error { return c.kill(ctx, id, true) }

func (c *Cluster) kill(ctx context.Context, id int32, hard bool) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	return n.stop(ctx, hard)
}

// Restart starts a broker that is not running, and returns when it answers.
func (c *Cluster) Restart(ctx context.Context, id int32) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	if err := n.start(false); err != nil {
		return err
	}
	err = until(ctx, 100*time.Millisecond, func() (bool, error) {
		if _, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.client.Broker(int(id))); err == nil {
			return true, nil
		}
		if b := n.broker(); !b.Alive {
			return false, fmt.Errorf("it %s; what it printed is in %s, and ends: %s", b.Reason, b.LogFile, n.lastWords())
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("it does not answer yet: %w", err)
	}
	return err
}

// Pause stops a broker's process from running.
func (c *Cluster) Pause(id int32) error { return c.signal(id, pauseSignal) }

// Resume lets a paused broker go on.
func (c *Cluster) Resume(id int32) error { return c.signal(id, resumeSignal) }

func (c *Cluster) signal(id int32, s os.Signal) error {
	n, err := c.node(id)
	if err == nil {
		_, err = n.signal(s, "")
	}
	return err
}

func (c *Cluster) node(id int32) (*node, error) {
	if id < 1 || id > nodes {
		return nil, fmt.Errorf("broker %d does not exist: the brokers are 1 to %d", id, nodes)
	}
	return c.nodes[id-1], nil
}

// Run blocks until the context ends. Brokers shows a broker that ended by itself. The
// user decides when to start it again.
func (c *Cluster) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close stops the brokers cleanly, all at once, and kills those that do not end
// within 15 s. Acknowledged records are on disk either way. A broker that writes the
// archive of its classes ends before the others: without their controllers it would wait.
func (c *Cluster) Close() error {
	c.close.Do(func() {
		if c.client != nil {
			c.client.Close()
		}
		var g errgroup.Group
		for _, n := range c.nodes {
			if n != nil && n.writesArchive() {
				_ = n.close(time.Minute) // an error comes again below
			}
		}
		for _, n := range c.nodes {
			if n != nil {
				g.Go(func() error { return n.close(15 * time.Second) })
			}
		}
		c.closed = g.Wait()
	})
	return c.closed
}

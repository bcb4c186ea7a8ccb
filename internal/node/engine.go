package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/intake"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/web"
)

// openEngine locks the data directory of the mode and opens the brokers and the Redis
// in it, side by side, except where the target names an existing one. Then it opens
// the control socket and writes the runtime file, by which other commands find them.
func (n *Node) openEngine(ctx context.Context) error {
	if n.cfg.Engine == "" {
		return nil
	}
	n.own = n
	if err := checkDescriptors(); err != nil {
		return err
	}
	if clients, fewer := intake.Clients(); fewer {
		n.Log.Warn("few descriptors: the brokers, Redis and the web UI admit fewer clients; raise the limit with ulimit -n 20000",
			"connections", clients)
	}
	var err error
	if n.home, err = openHome(n.cfg.Data, n.Mode); err != nil {
		return err
	}
	n.closing(func() error { n.home.close(); return nil })
	// They hold this directory's ports, whichever engine is to run now.
	if err := cluster.StopOrphans(ctx, n.home.dir, n.note); err != nil {
		return err
	}
	addrs, redisAddr, err := n.addresses()
	if err != nil {
		return err
	}
	var g errgroup.Group
	if len(n.Kafka) == 0 {
		g.Go(func() error { return n.openBrokers(ctx, addrs) })
	}
	if n.Redis == "" {
		g.Go(func() (err error) {
			// Counts belong to the topics of one engine: the other has its own.
			dir := n.home.path(redisDir)
			if n.cfg.Engine == cluster.Apache {
				dir = filepath.Join(cluster.Dir(n.home.dir, cluster.Apache), redisDir)
			}
			if n.redis, err = redisd.Open(redisd.Config{Addr: redisAddr, Dir: dir, Log: n.Log}); err != nil {
				return fmt.Errorf("open Redis: %w", err)
			}
			return nil
		})
	}
	err = g.Wait()
	if n.redis != nil {
		n.closing(n.redis.Close)
		n.Redis = RedisURL(n.redis.Addr())
	}
	if n.brokers != nil {
		n.closing(n.brokers.Close)
		n.Kafka = n.brokers.Addrs()
	}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		return errors.New("stopped before everything had started")
	case err != nil:
		return err
	}
	return n.announce()
}

// addresses chooses where to listen.
func (n *Node) addresses() (brokers []string, redisAddr string, err error) {
	choose := func(port int, what string) string {
		addr, note, fails := n.cfg.Ports.address(port, what)
		if err = cmp.Or(err, fails); note != "" {
			n.note(note)
		}
		return addr
	}
	if len(n.Kafka) == 0 {
		for i, p := range n.cfg.Ports.All[:3] {
			if n.cfg.Engine == cluster.Apache {
				i++ // Kafka's own numbers begin at 1
			}
			brokers = append(brokers, choose(p, fmt.Sprintf("broker %d", i)))
		}
	}
	if n.Redis == "" {
		redisAddr = choose(n.cfg.Ports.All[3], "Redis")
	}
	return brokers, redisAddr, err
}

// announce opens the control socket and writes the runtime file.
func (n *Node) announce() (err error) {
	if n.control, err = web.OpenSocket(n.home.path(controlName), n.overlay()); err != nil {
		return err
	}
	n.closing(func() error { n.control.Close(); return nil })
	// The runtime file goes first, so that no command is sent to something that is closing.
	n.closing(func() error { n.home.removeRuntime(); return nil })
	r := &Runtime{
		PID: os.Getpid(), Command: n.cfg.Command, Mode: n.Mode, Version: n.cfg.Version, Started: time.Now().UTC().Truncate(time.Second),
		Kafka: n.Kafka, Redis: n.Redis, Control: n.control.Path, ControlToken: n.control.Token, OwnKafka: n.brokers != nil,
	}
	if r.Engine = n.BrokerEngine(); r.Engine == "" && n.SecurityFile != "" {
		if r.KafkaConfig, err = filepath.Abs(n.SecurityFile); err != nil {
			return fmt.Errorf("write runtime file: %w", err)
		}
	}
	return n.home.writeRuntime(r)
}

// note keeps a remark for the banner.
func (n *Node) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, text)
}

// fault returns why the brokers of this process take no records at present, or nil. Where the archive
// alone fails they go on: the page Brokers and the log report that.
func (n *Node) fault() error {
	if n.brokers == nil {
		return nil
	}
	fault := n.brokers.Fault()
	if e := (*cluster.DiskError)(nil); errors.As(fault, &e) && e.Archive != "" {
		return nil
	}
	return fault
}

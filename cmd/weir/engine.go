package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/intake"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/web"
)

// engine is what `up` and `cluster` share: a mode's data directory with weir's
// own brokers and Redis in it, either of which an existing one can replace, and
// the runtime file and control socket by which other commands find them.
type engine struct {
	app     *app
	home    *home
	cluster cluster.Engine // nil with an existing cluster
	redis   *redisd.Server // nil with an existing Redis
	control *web.Socket
	ui      *userInterface // nil without web pages

	kafkaAddrs []string
	redisURL   string
	// notes are for the banner: ports that gave way, data that was cut.
	notes []string
}

// engineConfig says what an engine opens.
type engineConfig struct {
	command string // up or cluster, as the runtime file names it
	engine  string // embedded or apache, of the own brokers
	mode    string
	ports   *ports
	// kafka and redis are existing ones to use; empty opens an own one.
	kafka []string
	redis string
}

// fault returns why weir's own brokers take no records at present, or nil.
func (e *engine) fault() error {
	if e == nil || e.cluster == nil {
		return nil
	}
	return e.cluster.Fault()
}

// openEngine locks the data directory and opens what lies in it. The brokers'
// log and Redis's snapshot are read side by side.
func (a *app) openEngine(ctx context.Context, cfg engineConfig) (*engine, error) {
	if err := checkDescriptors(); err != nil {
		return nil, err
	}
	if n, fewer := intake.Clients(); fewer {
		a.log.Warn("few descriptors: the brokers, Redis and the web UI admit fewer clients; raise the limit with ulimit -n 20000",
			"connections", n)
	}
	data, err := a.data()
	if err != nil {
		return nil, err
	}
	h, err := openHome(data, cfg.mode)
	if err != nil {
		return nil, err
	}
	e := &engine{app: a, home: h, kafkaAddrs: cfg.kafka, redisURL: cfg.redis}
	if err := e.open(ctx, cfg); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("stopped before everything had started")
		}
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *engine) open(ctx context.Context, cfg engineConfig) error {
	if err := e.stopOrphans(ctx); err != nil {
		return err
	}
	addrs, redisAddr, err := e.addresses(cfg)
	if err != nil {
		return err
	}
	progress := cli.NewProgress(e.app.stderr)
	defer progress.Done()
	var g errgroup.Group
	if len(cfg.kafka) == 0 {
		g.Go(func() (err error) {
			e.cluster, err = e.openBrokers(ctx, cfg, addrs, progress.Show)
			if taken := (*cluster.PortError)(nil); errors.As(err, &taken) && !cfg.ports.given {
				e.notes = append(e.notes, fmt.Sprintf("another program took %s while broker %d started, so the brokers took free ports", taken.Addr, taken.ID))
				e.cluster, err = e.openBrokers(ctx, cfg, slices.Repeat([]string{net.JoinHostPort(host, "0")}, len(addrs)), progress.Show)
			}
			if err != nil {
				return err
			}
			e.cluster = loudBrokers{e.cluster, e.app.stderr}
			e.kafkaAddrs = e.cluster.Addrs()
			return nil
		})
	}
	if cfg.redis == "" {
		g.Go(func() (err error) {
			e.redis, err = redisd.Open(redisd.Config{Addr: redisAddr, Dir: e.redisPath(cfg), Log: e.app.log})
			if err != nil {
				return fmt.Errorf("open Redis: %w", err)
			}
			e.redisURL = redisURL(e.redis.Addr())
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if e.cluster != nil {
		e.notes = append(e.notes, e.cluster.Damage()...)
	}
	return e.announce(cfg)
}

// addresses chooses where to listen.
func (e *engine) addresses(cfg engineConfig) (brokers []string, redisAddr string, err error) {
	choose := func(port int, what string) string {
		if err != nil {
			return ""
		}
		var addr, note string
		if addr, note, err = cfg.ports.address(port, what); note != "" {
			e.notes = append(e.notes, note)
		}
		return addr
	}
	if len(cfg.kafka) == 0 {
		for i, p := range cfg.ports.brokers {
			if cfg.engine == cluster.Apache {
				i++ // Kafka's own numbers begin at 1
			}
			brokers = append(brokers, choose(p, fmt.Sprintf("broker %d", i)))
		}
	}
	if cfg.redis == "" {
		redisAddr = choose(cfg.ports.redis, "Redis")
	}
	return brokers, redisAddr, err
}

// announce opens the control socket and writes the runtime file.
func (e *engine) announce(cfg engineConfig) error {
	var overlay func(context.Context) (inspect.Overlay, error)
	if e.cluster != nil {
		overlay = overlayOf(e.cluster)
	}
	c, err := web.OpenSocket(e.home.path(controlName), overlay)
	if err != nil {
		return err
	}
	e.control = c
	kind, settings := "", ""
	if e.cluster != nil {
		kind = e.cluster.Name()
	} else if e.app.kafkaSettings != "" {
		if settings, err = filepath.Abs(e.app.kafkaSettings); err != nil {
			return fmt.Errorf("write runtime file: %w", err)
		}
	}
	return e.home.writeRuntime(&runtimeFile{
		PID: os.Getpid(), Command: cfg.command, Mode: cfg.mode, Version: buildVersion().Version, Started: time.Now().UTC().Truncate(time.Second),
		Kafka: e.kafkaAddrs, Redis: e.redisURL, Control: c.Path, OwnKafka: e.cluster != nil, Engine: kind, KafkaConfig: settings,
	})
}

// parts are what the engine runs besides serving: retention and snapshots.
func (e *engine) parts() []*part {
	var parts []*part
	if e.cluster != nil {
		parts = append(parts, &part{name: "brokers", run: e.cluster.Run})
	}
	if e.redis != nil {
		parts = append(parts, &part{name: "redis", run: e.redis.Run})
	}
	return parts
}

// close closes what was opened, in reverse order. The runtime file goes first, so
// that nobody is sent to something that is closing.
func (e *engine) close() error {
	e.home.removeRuntime()
	if e.control != nil {
		e.control.Close()
	}
	var errs []error
	if e.cluster != nil {
		errs = append(errs, e.cluster.Close())
	}
	if e.redis != nil {
		errs = append(errs, e.redis.Close())
	}
	e.home.close()
	return errors.Join(errs...)
}

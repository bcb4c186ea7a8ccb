package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/cluster/apache"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// Values of --engine.
const (
	engineEmbedded = "embedded"
	engineApache   = "apache"
)

// apacheDir is where the processes of Apache Kafka have their data, in a mode's
// directory; the counts of what they hold lie in it too.
const apacheDir = "apache"

// ownBrokers are the three brokers that weir itself runs, of either engine.
type ownBrokers interface {
	// Addrs are where clients connect, host:port.
	Addrs() []string
	// Kill stops a broker in order, KillHard as a machine that dies.
	Kill(ctx context.Context, id int32) error
	KillHard(ctx context.Context, id int32) error
	Restart(ctx context.Context, id int32) error
	Run(ctx context.Context) error
	Close() error

	// Fault returns why the brokers take no records at present, with the way out, or nil.
	Fault() error

	engine() string
	// overlay is what is known about them beyond the protocol.
	overlay(ctx context.Context) (inspect.Overlay, error)
	// damage is what was found and cut at the start, for the banner.
	damage() []string
}

// embeddedBrokers live in this process.
type embeddedBrokers struct{ *cluster.Cluster }

func (embeddedBrokers) engine() string { return engineEmbedded }

// KillHard is Kill: an embedded broker has no orderly way to stop.
func (b embeddedBrokers) KillHard(ctx context.Context, id int32) error { return b.Kill(ctx, id) }

func (b embeddedBrokers) overlay(ctx context.Context) (inspect.Overlay, error) {
	o := inspect.Overlay{Alive: make(map[int32]bool), Addresses: make(map[int32]string), Note: "replication is simulated: the brokers share one copy of the data on this disk"}
	brokers, err := b.Brokers(ctx)
	if fault := b.Fault(); fault != nil {
		o.Note = fault.Error()
		if err != nil { // all are down until the disk has room
			o.Reasons = make(map[int32]string)
			for i, addr := range b.Addrs() {
				o.Alive[int32(i)], o.Addresses[int32(i)], o.Reasons[int32(i)] = false, addr, fault.Error()
			}
			return o, nil
		}
	}
	if err != nil {
		return o, err
	}
	for _, b := range brokers {
		o.Alive[b.ID], o.Addresses[b.ID] = b.Alive, b.Addr
	}
	return o, nil
}

func (b embeddedBrokers) damage() (all []string) {
	for _, t := range b.Truncations() {
		all = append(all, "damage on disk: "+t.String())
	}
	return all
}

// apacheBrokers are Java processes under this one.
type apacheBrokers struct{ *apache.Cluster }

func (apacheBrokers) engine() string { return engineApache }

func (b apacheBrokers) Kill(ctx context.Context, id int32) error {
	return b.Cluster.Kill(ctx, id, false)
}

func (b apacheBrokers) KillHard(ctx context.Context, id int32) error {
	return b.Cluster.Kill(ctx, id, true)
}

func (b apacheBrokers) overlay(context.Context) (inspect.Overlay, error) {
	o := inspect.Overlay{Alive: make(map[int32]bool), Addresses: make(map[int32]string), PIDs: make(map[int32]int), Reasons: make(map[int32]string)}
	for _, b := range b.Brokers() {
		o.Alive[b.ID], o.Addresses[b.ID], o.PIDs[b.ID], o.Reasons[b.ID] = b.Alive, b.Addr, b.PID, b.Reason
	}
	return o, nil
}

// Fault is nil: the reasons why processes ended are in the overlay.
func (apacheBrokers) Fault() error { return nil }

func (apacheBrokers) damage() []string { return nil } // the brokers repair their logs themselves

// loudBrokers prints each kill and restart where the brokers run, whether it came
// from another terminal or from a page.
type loudBrokers struct {
	ownBrokers
	screen *cli.Screen
}

func (b loudBrokers) Kill(ctx context.Context, id int32) error {
	return b.report(id, "was killed", b.ownBrokers.Kill(ctx, id))
}

func (b loudBrokers) KillHard(ctx context.Context, id int32) error {
	return b.report(id, "was killed", b.ownBrokers.KillHard(ctx, id))
}

func (b loudBrokers) Restart(ctx context.Context, id int32) error {
	return b.report(id, "was restarted", b.ownBrokers.Restart(ctx, id))
}

func (b loudBrokers) report(id int32, what string, err error) error {
	if err == nil {
		b.screen.Linef("%s broker %d %s", time.Now().Format(time.TimeOnly), id, what)
	}
	return err
}

// engineFlag adds --engine.
func engineFlag(flags *pflag.FlagSet, engine *string) {
	flags.StringVar(engine, "engine", engineEmbedded, "`ENGINE` of the brokers: embedded, or apache (three local Java processes; needs Java 17, and Maven or KAFKA_HOME)")
}

// checkEngine refuses what contradicts itself, before anything is opened.
func (a *app) checkEngine(engine string) error {
	if !slices.Contains([]string{engineEmbedded, engineApache}, engine) {
		return cli.UsageError("choose one of embedded, apache", "--engine %s is unknown", engine)
	}
	if from := a.given["kafka"]; engine == engineApache && from != "" {
		return cli.UsageError("leave out one of them", "--engine apache starts brokers, and %s names others", from)
	}
	return nil
}

// openBrokers opens the engine's brokers at addrs.
func (e *engine) openBrokers(ctx context.Context, cfg engineConfig, addrs []string, progress func(string)) (ownBrokers, error) {
	if cfg.engine != engineApache {
		c, err := cluster.Open(ctx, cluster.Config{Dir: e.home.path(kafkaDir), Addrs: addrs, Log: e.app.log, Progress: progress})
		if err != nil {
			return nil, fmt.Errorf("open brokers: %w", err)
		}
		return embeddedBrokers{c}, nil
	}
	cache, err := cacheDir(e.app.env, runtime.GOOS)
	if err != nil {
		return nil, err
	}
	c, err := apache.Open(ctx, apache.Config{
		Dir: e.home.path(apacheDir), Cache: cache, Addrs: addrs, Home: e.app.env["KAFKA_HOME"],
		Progress: progress, Log: e.app.log, Died: e.brokerDied,
	})
	if err != nil {
		return nil, err
	}
	return apacheBrokers{c}, nil
}

// brokerDied tells of a broker that nobody stopped.
func (e *engine) brokerDied(b apache.Broker) {
	e.app.stderr.Linef("%s", e.app.stderr.Paint(cli.Yellow, visible.Text(fmt.Sprintf("broker %d %s; weir brokers restart %d%s starts it again, what it printed is in %s",
		b.ID, b.Reason, b.ID, e.app.sameData(), shortHome(b.LogFile, e.app.env)))))
}

// redisPath is the directory of the own Redis. Counts belong to the topics of one
// engine: the other one's count of its own.
func (e *engine) redisPath(cfg engineConfig) string {
	if cfg.engine == engineApache {
		return e.home.path(filepath.Join(apacheDir, redisDir))
	}
	return e.home.path(redisDir)
}

// stopOrphans stops the Java processes that a killed weir left on this directory,
// whichever engine is to run now: they hold its ports.
func (e *engine) stopOrphans(ctx context.Context) error {
	return apache.StopOrphans(ctx, e.home.path(apacheDir), func(what string) { e.notes = append(e.notes, what) })
}

// concrete gives every address with port 0 a free port: what Apache Kafka listens
// on is written into its configuration before it starts.
func concrete(addrs []string) ([]string, error) {
	host, _, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	free, err := apache.FreeAddrs(host, len(addrs))
	if err != nil {
		return nil, err
	}
	out := slices.Clone(addrs)
	for i, addr := range out {
		if strings.HasSuffix(addr, ":0") {
			out[i] = free[i]
		}
	}
	return out, nil
}

// cacheDir is where jars that were fetched lie: the operating system's place for
// what can be had again.
func cacheDir(env map[string]string, goos string) (string, error) {
	if dir := env["XDG_CACHE_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "weir"), nil
	}
	home := env["HOME"]
	if home == "" {
		return "", cli.UsageError("set HOME or XDG_CACHE_HOME", "no cache directory for Apache Kafka: HOME is not set")
	}
	if goos == "darwin" {
		return filepath.Join(home, "Library", "Caches", "weir"), nil
	}
	return filepath.Join(home, ".cache", "weir"), nil
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// overlayOf returns what weir knows about its own brokers beyond what the protocol says.
func overlayOf(e cluster.Engine) func(context.Context) (inspect.Overlay, error) {
	return func(ctx context.Context) (inspect.Overlay, error) {
		o := inspect.Overlay{Alive: make(map[int32]bool), Addresses: make(map[int32]string), PIDs: make(map[int32]int), Reasons: make(map[int32]string)}
		if e.Name() == cluster.Embedded {
			o.Note = "replication is simulated: the brokers share one copy of the data on this disk"
		}
		if fault := e.Fault(); fault != nil {
			o.Note = fault.Error()
		}
		brokers, err := e.Brokers(ctx)
		for _, b := range brokers {
			o.Alive[b.ID], o.Addresses[b.ID], o.PIDs[b.ID], o.Reasons[b.ID] = b.Alive, b.Addr, b.PID, b.Reason
		}
		return o, err
	}
}

// loudBrokers prints each kill and restart where the brokers run, whether it came
// from another terminal or from a page.
type loudBrokers struct {
	cluster.Engine
	screen *cli.Screen
}

func (b loudBrokers) Kill(ctx context.Context, id int32) error {
	return b.report(id, "was killed", b.Engine.Kill(ctx, id))
}

func (b loudBrokers) KillHard(ctx context.Context, id int32) error {
	return b.report(id, "was killed", b.Engine.KillHard(ctx, id))
}

func (b loudBrokers) Restart(ctx context.Context, id int32) error {
	return b.report(id, "was restarted", b.Engine.Restart(ctx, id))
}

func (b loudBrokers) report(id int32, what string, err error) error {
	if err == nil {
		b.screen.Linef("%s broker %d %s", time.Now().Format(time.TimeOnly), id, what)
	}
	return err
}

// engineFlag adds --engine.
func engineFlag(flags *pflag.FlagSet, engine *string) {
	flags.StringVar(engine, "engine", cluster.Embedded, "`ENGINE` of the brokers: embedded, or apache (three local Java processes; needs Java 17, and Maven or KAFKA_HOME)")
}

// checkEngine refuses what contradicts itself, before anything is opened.
func (a *app) checkEngine(engine string) error {
	if !slices.Contains(cluster.Engines(), engine) {
		return cli.UsageError("choose one of embedded, apache", "--engine %s is unknown", engine)
	}
	if from := a.given["kafka"]; engine == cluster.Apache && from != "" {
		return cli.UsageError("leave out one of them", "--engine apache starts brokers, and %s names others", from)
	}
	return nil
}

// openBrokers opens the engine's brokers at addrs.
func (e *engine) openBrokers(ctx context.Context, cfg engineConfig, addrs []string, progress func(string)) (cluster.Engine, error) {
	cache := ""
	if cfg.engine == cluster.Apache {
		var err error
		if cache, err = cacheDir(e.app.env, runtime.GOOS); err != nil {
			return nil, err
		}
	}
	return cluster.Open(ctx, cfg.engine, cluster.Config{
		Dir: e.home.dir, Cache: cache, Addrs: addrs, Home: e.app.env["KAFKA_HOME"], Progress: progress, Log: e.app.log, Died: e.brokerDied,
	})
}

// brokerDied tells of a broker that nobody stopped.
func (e *engine) brokerDied(b cluster.Broker) {
	e.app.stderr.Linef("%s", e.app.stderr.Paint(cli.Yellow, visible.Text(fmt.Sprintf("broker %d %s; weir brokers restart %d%s starts it again, what it printed is in %s",
		b.ID, b.Reason, b.ID, e.app.sameData(), shortHome(b.LogFile, e.app.env)))))
}

// redisPath is the directory of the own Redis. Counts belong to the topics of one
// engine: the other one's count of its own.
func (e *engine) redisPath(cfg engineConfig) string {
	if cfg.engine == cluster.Apache {
		return filepath.Join(cluster.Dir(e.home.dir, cluster.Apache), redisDir)
	}
	return e.home.path(redisDir)
}

// stopOrphans stops the Java processes that a killed weir left on this directory,
// whichever engine is to run now: they hold its ports.
func (e *engine) stopOrphans(ctx context.Context) error {
	return cluster.StopOrphans(ctx, e.home.dir, func(what string) { e.notes = append(e.notes, what) })
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

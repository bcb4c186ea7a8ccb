package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/cluster/apache"
)

// Engines that experiments run on.
const (
	EngineEmbedded = "embedded"
	EngineApache   = "apache"
)

// Engines lists them.
func Engines() []string { return []string{EngineEmbedded, EngineApache} }

// engine is three brokers that belong to one experiment.
type engine interface {
	// Addrs are where clients connect, host:port.
	Addrs() []string
	// Kill ends a broker; hard means without warning, which is the only way that an
	// embedded one knows. Restart starts it again.
	Kill(ctx context.Context, id int32, hard bool) error
	Restart(ctx context.Context, id int32) error
	Alive(ctx context.Context, id int32) bool
	// Pause stops a broker's process from running, Resume lets it go on. Only a real
	// one can be paused.
	Pause(id int32) error
	Resume(id int32) error
	Close() error
	// real reports whether brokers are processes, each with a disk of its own.
	real() bool
}

// openEngine starts the brokers that the bench asks for, with their data in the
// experiment's directory, on free ports. Properties are for Apache Kafka alone.
func openEngine(ctx context.Context, b *Bench, properties map[string]string) (engine, error) {
	if b.Engine != EngineApache {
		c, err := cluster.Open(ctx, cluster.Config{Dir: filepath.Join(b.Dir, "kafka"), Log: b.Log, CheckEvery: time.Second})
		if err != nil {
			return nil, fmt.Errorf("open brokers: %w", err)
		}
		run, stop := context.WithCancel(context.WithoutCancel(ctx))
		e := &embeddedEngine{Cluster: c, stop: stop}
		e.wg.Go(func() { _ = c.Run(run) }) // logs what goes wrong
		return e, nil
	}
	addrs, err := apache.FreeAddrs("127.0.0.1", 3)
	if err != nil {
		return nil, err
	}
	c, err := apache.Open(ctx, apache.Config{Dir: filepath.Join(b.Dir, apacheDir), Cache: b.KafkaCache, Home: b.KafkaHome,
		Addrs: addrs, Bound: true, Properties: properties, Progress: b.Progress, Log: b.Log})
	if err != nil {
		return nil, err
	}
	return apacheEngine{c}, nil
}

// apacheDir is where the processes of Apache Kafka have their data, in an
// experiment's directory.
const apacheDir = "apache"

// stopStrays ends the processes of Apache Kafka that a killed experiment left in its
// directory.
func stopStrays(ctx context.Context, work string) error {
	var dirs []string
	for _, below := range []string{"", "*", "*/*"} { // a rig has a directory of its own, a weir one for each mode
		found, err := filepath.Glob(filepath.Join(work, below, apacheDir))
		if err != nil {
			return err
		}
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if err := apache.StopOrphans(ctx, dir, nil); err != nil {
			return err
		}
	}
	return nil
}

// embeddedEngine is brokers in this process.
type embeddedEngine struct {
	*cluster.Cluster
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (e *embeddedEngine) Kill(ctx context.Context, id int32, _ bool) error {
	return e.Cluster.Kill(ctx, id)
}

func (e *embeddedEngine) Alive(ctx context.Context, id int32) bool {
	all, err := e.Brokers(ctx)
	return err == nil && slices.ContainsFunc(all, func(b cluster.Broker) bool { return b.ID == id && b.Alive })
}

var errNoProcess = errors.New("the broker is no process of its own")

func (e *embeddedEngine) Pause(int32) error  { return errNoProcess }
func (e *embeddedEngine) Resume(int32) error { return errNoProcess }
func (e *embeddedEngine) real() bool         { return false }

func (e *embeddedEngine) Close() error {
	e.stop()
	e.wg.Wait()
	return e.Cluster.Close()
}

// apacheEngine is brokers that are Java processes.
type apacheEngine struct{ *apache.Cluster }

func (e apacheEngine) find(id int32) (apache.Broker, bool) {
	all := e.Brokers()
	if i := slices.IndexFunc(all, func(b apache.Broker) bool { return b.ID == id }); i >= 0 {
		return all[i], all[i].Alive
	}
	return apache.Broker{}, false
}

func (e apacheEngine) Alive(_ context.Context, id int32) bool {
	_, alive := e.find(id)
	return alive
}

func (e apacheEngine) signal(id int32, s syscall.Signal) error {
	b, alive := e.find(id)
	if !alive || b.PID == 0 {
		return fmt.Errorf("broker %d is not running", id)
	}
	if err := syscall.Kill(b.PID, s); err != nil {
		return fmt.Errorf("signal broker %d: %w", id, err)
	}
	return nil
}

func (e apacheEngine) Pause(id int32) error  { return e.signal(id, syscall.SIGSTOP) }
func (e apacheEngine) Resume(id int32) error { return e.signal(id, syscall.SIGCONT) }
func (e apacheEngine) real() bool            { return true }

package lab

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
)

// Engines that experiments run on.
const (
	EngineEmbedded = cluster.Embedded
	EngineApache   = cluster.Apache
)

// Engines lists them.
func Engines() []string { return cluster.Engines() }

// engine is three brokers that belong to one experiment, with their background work.
type engine struct {
	cluster.Engine
	stop func()
}

// openEngine starts the brokers that the bench asks for, with their data in the
// experiment's directory, on free ports. Properties are for Apache Kafka alone.
func openEngine(ctx context.Context, b *Bench, properties map[string]string) (*engine, error) {
	c, err := cluster.Open(ctx, b.Engine, cluster.Config{Dir: b.Dir, Log: b.Log, CheckEvery: time.Second,
		Cache: b.KafkaCache, Home: b.KafkaHome, Bound: true, Properties: properties, Progress: b.Progress})
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(run) // logs what goes wrong
	}()
	return &engine{c, func() { stop(); <-ended }}, nil
}

// Alive reports whether a broker runs.
func (e *engine) Alive(ctx context.Context, id int32) bool {
	all, err := e.Brokers(ctx)
	return err == nil && slices.ContainsFunc(all, func(b cluster.Broker) bool { return b.ID == id && b.Alive })
}

// real reports whether brokers are processes, each with a disk of its own.
func (e *engine) real() bool { return e.Name() == cluster.Apache }

func (e *engine) Close() error {
	e.stop()
	return e.Engine.Close()
}

// stopStrays ends the processes of Apache Kafka that a killed experiment left in its
// directory.
func stopStrays(ctx context.Context, work string) error {
	for _, below := range []string{"", "*", "*/*"} { // a rig has a directory of its own, a weir one for each mode
		dirs, err := filepath.Glob(filepath.Join(work, below))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := cluster.StopOrphans(ctx, dir, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

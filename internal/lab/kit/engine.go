package kit

import (
	"context"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
)

// engine is three brokers that belong to one experiment, with their background work.
type engine struct {
	cluster.Engine
	stop func()
}

// openEngine starts the brokers that the bench asks for, with their data in the
// experiment's directory, on free ports. Properties are for Apache Kafka alone.
func openEngine(ctx context.Context, b *lab.Bench, properties map[string]string) (*engine, error) {
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

package kit

import (
	"context"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
)

// Engine is three brokers that belong to one experiment, with their background work.
type Engine struct {
	cluster.Engine
	stop func()
}

// OpenEngine starts the brokers that the bench asks for, with their data in the
// experiment's directory, on free ports. Properties are for Apache Kafka alone.
func OpenEngine(ctx context.Context, b *lab.Bench, properties map[string]string) (*Engine, error) {
	c, err := cluster.Open(ctx, b.Engine, cluster.Config{Dir: b.Dir, Log: b.Log, CheckEvery: time.Second,
		Cache: b.KafkaCache, Home: b.KafkaHome, Bound: true, Properties: properties, Progress: b.Progress})
	if err != nil {
		return nil, err
	}
	// It logs its errors.
	return &Engine{c, Background(context.WithoutCancel(ctx), func(ctx context.Context) { _ = c.Run(ctx) })}, nil
}

// Alive reports whether a broker runs.
func (e *Engine) Alive(ctx context.Context, id int32) bool {
	all, err := e.Brokers(ctx)
	return err == nil && slices.ContainsFunc(all, func(b cluster.Broker) bool { return b.ID == id && b.Alive })
}

// Real reports whether brokers are processes, each with a disk of its own.
func (e *Engine) Real() bool { return e.Name() == cluster.Apache }

// Close stops them.
func (e *Engine) Close() error {
	e.stop()
	return e.Engine.Close()
}

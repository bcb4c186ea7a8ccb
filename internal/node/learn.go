package node

import (
	"net/url"
	"path/filepath"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// Names in the data directory, beside those of the modes: a learner's progress is the same with live
// and with simulated streams.
const (
	learnName    = "learn.json"
	exercisesDir = "exercises"
	reportsDir   = "labs"
)

// LearnFile is the file with a learner's progress in a data directory.
func LearnFile(data string) string { return filepath.Join(data, learnName) }

// openLearn makes the stations of this node, which its watch feeds.
func (n *Node) openLearn(i *inspect.Inspector, w *watch.Watcher) (*learn.Course, error) {
	cfg := learnConfig(i, n.cfg.Where, n.Target, n.cfg.Data)
	cfg.State, cfg.Log, cfg.Members = w.State, n.Log, n.members != nil
	if n.store != nil {
		cfg.Tallies = n.store
	}
	if engine := n.BrokerEngine(); engine != "" {
		cfg.Own = n.Mode + "/" + engine
	}
	if n.brokers != nil {
		cfg.BrokersStarted = time.Now()
	}
	return learn.New(cfg)
}

// learn makes the stations of a target that no running weir serves.
func (t *Target) learn(i *inspect.Inspector, tallies inspect.Tallies, where web.Where) (*learn.Course, error) {
	cfg := learnConfig(i, where, t, t.Data)
	cfg.Tallies, cfg.Log = tallies, t.Log
	if r := t.Running; r != nil && r.OwnKafka {
		cfg.Own = r.Mode + "/" + r.Engine
	}
	return learn.New(cfg)
}

func learnConfig(i *inspect.Inspector, where web.Where, t *Target, data string) learn.Config {
	cfg := learn.Config{Inspector: i, Where: learn.Where{Program: where.Program, Data: where.Data, Kafka: where.Kafka,
		Redis: where.Redis, RedisURL: t.Redis}}
	if u, err := url.Parse(t.Redis); err == nil && u.User == nil && t.RedisPassword != "" {
		u.User = url.User("")
		cfg.Where.RedisURL = u.String()
	}
	if data != "" {
		cfg.Reports = filepath.Join(data, reportsDir)
		cfg.Path, cfg.Exercises = LearnFile(data), filepath.Join(data, exercisesDir)
	}
	for _, s := range Sources {
		cfg.Streams = append(cfg.Streams, watch.StreamConfig{Name: s.Name, Topic: s.Topic, Group: s.Group})
	}
	return cfg
}

package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/cluster/apache"
)

// engine is all that the tests know of the brokers besides their protocol.
type engine struct {
	apache  bool
	addrs   []string
	kill    func(ctx context.Context, id int32) error // without warning, as a machine dies
	restart func(ctx context.Context, id int32) error
	report  func() string // what the brokers are and last said
	close   func() error
}

// kafka is the cluster that all tests share.
var kafka *engine

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run opens the engine, runs the tests on it, and leaves nothing behind.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "weir-conformance-")
	if err != nil {
		return 0, err
	}
	open := openEmbedded
	if os.Getenv("WEIR_TEST_KAFKA") == "apache" {
		open = openApache
	}
	if kafka, err = open(dir); err != nil {
		return 0, err // what the brokers printed stays in dir
	}
	defer func() {
		closeClients()
		err = errors.Join(err, kafka.close(), goleak.Find(), os.RemoveAll(dir))
	}()
	if err := openClients(); err != nil {
		return 0, err
	}
	if !kafka.apache {
		if err := setBrokers(brokerSettings); err != nil {
			return 0, err
		}
	}
	if err := coordinators(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, kafka.report())
	}
	// Most of them wait for something, most of the time.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// coordinators waits until groups and transactions have theirs: the
// first question makes Apache Kafka create the topics behind them.
func coordinators() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, find := range []func(context.Context, ...string) kadm.FindCoordinatorResponses{adm.FindGroupCoordinators, adm.FindTxnCoordinators} {
		for _, name := range []string{"first", "second", "third"} {
			for {
				err := find(ctx, name)[name].Err
				if err == nil {
					break
				}
				if ctx.Err() != nil || !kerr.IsRetriable(err) {
					return fmt.Errorf("find a coordinator: %w", err)
				}
			}
		}
	}
	return whole(ctx)
}

func openEmbedded(dir string) (*engine, error) {
	c, err := cluster.Open(context.Background(), cluster.Config{Dir: dir, CheckEvery: 100 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	return &engine{addrs: c.Addrs(), kill: c.Kill, restart: c.Restart, report: func() string { return "" }, close: func() error {
		stop()
		return errors.Join(<-ran, c.Close())
	}}, nil
}

// brokerSettings make both engines do within a test what they otherwise do within
// minutes. They change when something happens, not what.
var brokerSettings = map[string]string{
	"group.consumer.heartbeat.interval.ms": "200",
	"group.share.heartbeat.interval.ms":    "200",
	"group.share.record.lock.duration.ms":  "4000",
}

// apacheSettings are such that Apache Kafka alone knows.
var apacheSettings = map[string]string{
	"log.initial.task.delay.ms":                                   "200",
	"log.retention.check.interval.ms":                             "200",
	"log.cleaner.backoff.ms":                                      "200",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
	"group.consumer.min.session.timeout.ms":                       "1000",
	"group.consumer.min.heartbeat.interval.ms":                    "50",
	"group.share.min.heartbeat.interval.ms":                       "50",
	"group.share.min.record.lock.duration.ms":                     "1000",
}

// setBrokers changes the configuration of all brokers while they run.
func setBrokers(values map[string]string) error {
	all := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "share.record.lock.sweep.interval.ms", Value: kmsg.StringPtr("100")}}
	for k, v := range values {
		all = append(all, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
	}
	rs, err := adm.AlterBrokerConfigs(context.Background(), all)
	if err != nil {
		return err
	}
	return rs[0].Err
}

func openApache(dir string) (*engine, error) {
	addrs, err := apache.FreeAddrs("127.0.0.1", 3)
	if err != nil {
		return nil, err
	}
	properties := maps.Clone(brokerSettings)
	maps.Copy(properties, apacheSettings)
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	c, err := apache.Open(context.Background(), apache.Config{
		Dir: dir, Cache: filepath.Join(cache, "weir"), Addrs: addrs, Home: os.Getenv("KAFKA_HOME"), Properties: properties, Bound: true,
		Progress: func(s string) { fmt.Fprintln(os.Stderr, s) },
	})
	if err != nil {
		return nil, err
	}
	return &engine{apache: true, addrs: addrs, restart: c.Restart, close: c.Close, report: func() string { return lastOf(c.Brokers()) },
		kill: func(ctx context.Context, id int32) error { return c.Kill(ctx, id, true) }}, nil
}

// lastOf tells what became of brokers, with the end of what each printed.
func lastOf(brokers []apache.Broker) string {
	var b strings.Builder
	for _, br := range brokers {
		printed, err := os.ReadFile(br.LogFile)
		fmt.Fprintf(&b, "broker %d: alive %t %s (%v); it printed:\n%s\n", br.ID, br.Alive, br.Reason, err, printed[max(0, len(printed)-4000):])
	}
	return b.String()
}

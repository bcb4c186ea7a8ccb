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
)

// kafka is the cluster that all tests share.
var kafka cluster.Engine

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
	if kafka, err = open(dir); err != nil {
		return 0, err // what the brokers printed stays in dir
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- kafka.Run(ctx) }()
	defer func() {
		closeClients()
		stop()
		err = errors.Join(err, <-ran, kafka.Close(), goleak.Find(), os.RemoveAll(dir))
	}()
	if err := openClients(); err != nil {
		return 0, err
	}
	if kafka.Name() == cluster.Embedded {
		if err := setBrokers(brokerSettings); err != nil {
			return 0, err
		}
	}
	if err := coordinators(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, report())
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

// open starts the brokers of the engine that the environment asks for.
func open(dir string) (cluster.Engine, error) {
	name := cluster.Embedded
	if os.Getenv("WEIR_TEST_KAFKA") == cluster.Apache {
		name = cluster.Apache
	}
	properties := maps.Clone(brokerSettings)
	maps.Copy(properties, apacheSettings)
	cache, err := os.UserCacheDir()
	if err != nil && name == cluster.Apache {
		return nil, err
	}
	cfg := cluster.Config{
		Dir: dir, CheckEvery: 100 * time.Millisecond, Cache: filepath.Join(cache, "weir"), Home: os.Getenv("KAFKA_HOME"),
		Properties: properties, Bound: true, Progress: func(s string) { fmt.Fprintln(os.Stderr, s) },
	}
	cfg.HotBatches = 50
	if os.Getenv("WEIR_TEST_ARCHIVE") != "" {
		cfg.CheckEvery, cfg.HotBatches = 10*time.Millisecond, 1
	}
	return cluster.Open(context.Background(), name, cfg)
}

// archives reports whether the embedded brokers archive every record as soon as they can.
func archives() bool { return os.Getenv("WEIR_TEST_ARCHIVE") != "" && kafka.Name() == cluster.Embedded }

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

// report says what became of the brokers, with the end of what each process printed.
func report() string {
	brokers, err := kafka.Brokers(context.Background())
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, b := range brokers {
		printed, err := os.ReadFile(b.LogFile)
		fmt.Fprintf(&all, "broker %d: alive %t %s (%v); it printed:\n%s\n", b.ID, b.Alive, b.Reason, err, printed[max(0, len(printed)-4000):])
	}
	return all.String()
}

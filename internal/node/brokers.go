package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/inspect"
)

// overlay returns what weir knows about its own brokers beyond what the protocol says;
// nil with an existing cluster.
func (n *Node) overlay() func(context.Context) (inspect.Overlay, error) {
	if n == nil || n.brokers == nil {
		return nil
	}
	return func(ctx context.Context) (inspect.Overlay, error) {
		o := inspect.Overlay{Alive: make(map[int32]bool), Addresses: make(map[int32]string), PIDs: make(map[int32]int), Reasons: make(map[int32]string)}
		if n.brokers.Name() == cluster.Embedded {
			o.Note = "replication is simulated: the brokers share one copy of the data on this disk"
			o.LogSize = n.cfg.Keep.size()
		}
		if fault := n.brokers.Fault(); fault != nil {
			o.Note = fault.Error()
		}
		brokers, err := n.brokers.Brokers(ctx)
		for _, b := range brokers {
			o.Alive[b.ID], o.Addresses[b.ID], o.PIDs[b.ID], o.Reasons[b.ID] = b.Alive, b.Addr, b.PID, b.Reason
		}
		return o, err
	}
}

// CheckEngine refuses an unknown engine, and one of this process beside an existing
// cluster, which kafkaFrom names where there is one.
func CheckEngine(engine, kafkaFrom string) error {
	if !slices.Contains(cluster.Engines(), engine) {
		return cli.UsageError("choose one of embedded, apache", "--engine %s is unknown", engine)
	}
	if engine == cluster.Apache && kafkaFrom != "" {
		return cli.UsageError("leave out one of them", "--engine apache starts brokers, and %s names others", kafkaFrom)
	}
	return nil
}

// openBrokers opens the brokers at addrs: on free ports where another program was
// faster to take a default one.
func (n *Node) openBrokers(ctx context.Context, addrs []string) (err error) {
	cfg := cluster.Config{Dir: n.home.dir, Addrs: addrs, Home: n.cfg.Env["KAFKA_HOME"], Progress: n.cfg.Progress, Log: n.Log, Died: n.brokerDied,
		Retention: n.cfg.Keep.Time, LogSize: int64(n.cfg.Keep.Size)}
	if n.cfg.Engine == cluster.Apache {
		if cfg.Cache, err = CacheDir(n.cfg.Env, runtime.GOOS); err != nil {
			return err
		}
	}
	if hot := n.cfg.Env["WEIR_TEST_ARCHIVE"]; hot != "" {
		if cfg.HotBatches, err = strconv.ParseInt(hot, 10, 64); err != nil {
			return fmt.Errorf("WEIR_TEST_ARCHIVE: %w", err)
		}
		cfg.CheckEvery = 20 * time.Millisecond
	}
	e, err := cluster.Open(ctx, n.cfg.Engine, cfg)
	if taken := (*cluster.PortError)(nil); errors.As(err, &taken) && !n.cfg.Ports.Given {
		n.note(fmt.Sprintf("another program took %s while broker %d started, so the brokers took free ports", taken.Addr, taken.ID))
		cfg.Addrs = slices.Repeat([]string{net.JoinHostPort(host, "0")}, len(addrs))
		e, err = cluster.Open(ctx, n.cfg.Engine, cfg)
	}
	if err != nil {
		return err
	}
	for _, d := range e.Damage() {
		n.note(d)
	}
	n.brokers = e
	return nil
}

// brokerDied reports a broker that stopped by itself.
func (n *Node) brokerDied(b cluster.Broker) {
	n.cfg.Warn(fmt.Sprintf("broker %d %s; weir brokers restart %d%s starts it again, what it printed is in %s",
		b.ID, b.Reason, b.ID, n.cfg.SameData, b.LogFile))
}

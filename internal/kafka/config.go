// Package kafka owns how weir talks to a Kafka cluster, whichever it is: the
// client's options, the names and shapes of topics, the check that a cluster can
// keep the promise, and the cursor records. What is written and counted is
// decided by ingest and count; starting brokers is cluster's job.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// Limits and times of every client.
const (
	// maxResponse limits a response in bytes, before any of it is parsed.
	maxResponse = 64 << 20
	// maxFetch bounds what one fetch asks for in bytes.
	maxFetch = 16 << 20

	dialTimeout = 5 * time.Second
	// metadataMinAge bounds how often a client that meets errors asks where the
	// leaders are; the library's 5 s would be the length of every failover.
	metadataMinAge = 250 * time.Millisecond
	metadataMaxAge = 15 * time.Second

	retryMin = 50 * time.Millisecond
	retryMax = time.Second
)

// Config says how to reach a cluster.
type Config struct {
	// Brokers are addresses of the cluster as host:port; any of them leads to all.
	Brokers []string
	// ClientID is what the cluster's own tools show; empty means "weir".
	ClientID string
	// Log receives what the client library says, at debug level; nil discards it.
	Log *slog.Logger
	// Security is how to log in; nil for a cluster without logins and TLS.
	Security *Security
	// Hook makes a hook for each client that is made, such as one that measures; may be nil.
	Hook func(clientID string) kgo.Hook
	// Opts are added last: dialers of tests, metrics hooks.
	Opts []kgo.Opt
}

// Validate reports the first address that cannot be one.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return errors.New("no Kafka address given; want host:port,host:port")
	}
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" {
			return fmt.Errorf("kafka address %q is not host:port", b)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("kafka address %q: port %q is not a number from 1 to 65535", b, port)
		}
	}
	return nil
}

// NewClient returns a client with the options that every client of the cluster needs, and with
// extra ones. Opts stay last, so that a test can override anything. It connects to nothing yet. The
// caller closes it.
func (c Config) NewClient(extra ...kgo.Opt) (*kgo.Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	id := cmp.Or(c.ClientID, "weir")
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.SoftwareNameAndVersion("weir", "0"),
		kgo.DialTimeout(dialTimeout), // with TLS; options has the other dialer
		kgo.BrokerMaxReadBytes(maxResponse),
		kgo.FetchMaxBytes(maxFetch),
		kgo.MaxDecompressBatchBytes(scan.MaxBatch),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.RetryBackoffFn(retryBackoff),
		// A broker that is killed closes connections before their first answer;
		// taking that for a wrong configuration would end the client.
		kgo.AlwaysRetryEOF(),
		kgo.DisableClientMetrics(),
	}
	if c.Log != nil {
		opts = append(opts, kgo.WithLogger(clientLog{c.Log}))
	}
	opts = append(opts, c.Security.options()...)
	if c.Hook != nil {
		opts = append(opts, kgo.WithHooks(c.Hook(id)))
	}
	cl, err := kgo.NewClient(slices.Concat(opts, extra, c.Opts)...)
	if err != nil {
		return nil, fmt.Errorf("configure the Kafka client: %w", err)
	}
	return cl, nil
}

// Connect is NewClient and a first answer of the cluster, for which it waits as
// long as ctx allows and at most 5 s. An error is a *ConnectError unless the
// configuration is wrong or ctx was cancelled.
func (c Config) Connect(ctx context.Context, extra ...kgo.Opt) (*kgo.Client, error) {
	cl, err := c.NewClient(extra...)
	if err != nil {
		return nil, err
	}
	if err := c.Ping(ctx, cl); err != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}

// Ping asks the cluster for an answer and waits at most 5 s for it. An error is a
// *ConnectError unless ctx was cancelled.
func (c Config) Ping(ctx context.Context, cl *kgo.Client) error {
	pctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	switch err := cl.Ping(pctx); {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	default:
		return c.diagnose(ctx, err)
	}
}

// retryBackoff is the wait before try number fails of a request: jittered
// exponential, short, because a broker that moves its leaders is back within
// seconds and every wait is latency for everybody behind it.
func retryBackoff(fails int) time.Duration {
	d := min(retryMin<<min(max(fails-1, 0), 10), retryMax)
	return d/2 + rand.N(d/2)
}

// clientLog passes the library's messages on at debug level: whatever concerns
// the user comes back as an error of the call that it ended.
type clientLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (l clientLog) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

// Log implements kgo.Logger.
func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l.log.Debug("kafka client", append([]any{"level", level.String(), "event", msg}, keyvals...)...)
}

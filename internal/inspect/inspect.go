// Package inspect reads what a Kafka UI shows: brokers, topics, partitions, groups with
// their lag, and messages. It also changes topics, and plans the changes of a group: a reset of its
// committed offsets, and a replay into a second group. It reads everything from the cluster, and
// counts from Redis, at the moment of the call and keeps nothing. So its results are right
// whichever processes run. It formats nothing and starts no brokers. What only the
// embedded cluster knows comes in as an Overlay.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
)

// Unknown is a size, lag or offset that the cluster does not report.
const Unknown = -1

// Errors that callers branch on.
var (
	// ErrNoTopic is in the chain where a topic or partition does not exist.
	ErrNoTopic = scan.ErrNoTopic
	// ErrNoGroup is in the chain where a group does not exist.
	ErrNoGroup = errors.New("no such group")
	// ErrGroupActive is in the chain where a change needs a group without members.
	ErrGroupActive = errors.New("the group has members")
	// ErrTopicExists is in the chain where a new topic's name is taken.
	ErrTopicExists = errors.New("the topic exists already")
	// ErrProtected is in the chain where weir does not change a topic, because weir or
	// Kafka depends on it.
	ErrProtected = errors.New("weir does not change this topic")
)

// PlanError says why a reset or a replay cannot be planned as it was asked for, and
// what to ask for instead.
type PlanError struct{ Reason string }

// Error returns the reason.
func (e *PlanError) Error() string { return e.Reason }

func notAsAsked(format string, args ...any) error { return &PlanError{fmt.Sprintf(format, args...)} }

// defaultTimeout bounds one question to one broker: a killed broker must not hold
// up the answer of the others.
const defaultTimeout = 4 * time.Second

// Config of an Inspector.
type Config struct {
	// Client asks the questions; it stays the caller's. Required.
	Client *kgo.Client
	// Overlay adds what Kafka's protocol does not report. May be nil.
	Overlay func(context.Context) (Overlay, error)
	// Timeout bounds one question to one broker; 0 means 4 s.
	Timeout time.Duration
	// Reserved are the topics whose records and partitions are not changed from here.
	Reserved []string
}

// Overlay is what is known about a cluster besides what it says about itself: the
// embedded one names killed brokers as if they ran.
type Overlay struct {
	// Alive says by broker id whether it runs; brokers that are absent are taken
	// to run.
	Alive map[int32]bool
	// Addresses are the brokers' host:port by id. One that the cluster does not
	// name, because it was killed, is listed all the same.
	Addresses map[int32]string
	// PIDs are the processes of brokers that have one of their own, and Reasons why
	// those that do not run do not.
	PIDs    map[int32]int
	Reasons map[int32]string
	// Note is shown beside brokers and replicas, such as that replication is
	// simulated.
	Note string
	// LogSize is the most bytes that all logs may take together, 0 for no such limit.
	LogSize int64
}

// Inspector asks one cluster. It is safe for concurrent use.
type Inspector struct {
	cfg    Config
	admin  *kadm.Client
	reader *scan.Reader // small fetches, for single records
	seen   seen
}

// New returns an inspector. It connects to nothing yet.
func New(cfg Config) (*Inspector, error) {
	if cfg.Client == nil {
		return nil, errors.New("inspect: no client")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Inspector{
		cfg:    cfg,
		admin:  kadm.NewClient(cfg.Client),
		reader: scan.New(cfg.Client, scan.Options{FetchBytes: 64 << 10, Ahead: -1}),
	}, nil
}

// wrap adds the operation to an error, for use with defer.
func wrap(err *error, operation string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", fmt.Sprintf(operation, args...), *err)
	}
}

// overlay returns the overlay, or an empty one and a warning.
func (i *Inspector) overlay(ctx context.Context) (Overlay, []string) {
	if i.cfg.Overlay == nil {
		return Overlay{}, nil
	}
	o, err := i.cfg.Overlay(ctx)
	if err != nil {
		return Overlay{}, []string{fmt.Sprintf("state of the embedded brokers: %v", err)}
	}
	return o, nil
}

// eachBroker asks every broker at once, without the client's retries (they take most of a
// minute for a broker that is gone), and calls take with each response, one call at a time.
// It returns a warning for each broker that did not answer.
func eachBroker[R kmsg.Response](ctx context.Context, i *Inspector, brokers kadm.BrokerDetails, what string,
	req func() kmsg.Request, take func(id int32, resp R) error) (warnings []string) {
	var (
		mu  sync.Mutex
		all sync.WaitGroup
	)
	for _, b := range brokers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
			defer cancel()
			resp, err := i.cfg.Client.Broker(int(b.NodeID)).Request(ctx, req())
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = take(b.NodeID, resp.(R))
			}
			if err != nil {
				warnings = append(warnings, fmt.Sprintf("broker %d: %s: %v", b.NodeID, what, err))
			}
		})
	}
	all.Wait()
	return warnings
}

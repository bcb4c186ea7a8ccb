package send

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/scan"
)

// Topic is what a writer has to know about the topic that it writes to.
type Topic struct {
	Name       string
	Partitions int
	// MaxBytes is the topic's max.message.bytes, at most maxBatch; Kafka's default where the
	// cluster does not report it.
	MaxBytes int
	// Compacted topics reject records without a key.
	Compacted bool
}

const (
	// defaultMaxBytes is what the library and older clusters allow. Kafka's own default is a
	// little more.
	defaultMaxBytes = 1_000_012
	// maxBatch bounds a batch in bytes, whatever the topic allows.
	maxBatch = 32 << 20
)

// LookUp asks the cluster about a topic. A name that no topic has is inspect.ErrNoTopic. Topics
// that Kafka keeps for itself are refused: a foreign record in them can stop its brokers.
func LookUp(ctx context.Context, cl *kgo.Client, name string) (Topic, error) {
	t := Topic{Name: name, MaxBytes: defaultMaxBytes}
	meta, err := scan.MetadataRequest(name).RequestWith(ctx, cl)
	if err != nil {
		return t, fmt.Errorf("look up %q: %w", name, err)
	}
	for _, found := range meta.Topics {
		switch err := kerr.ErrorForCode(found.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			return t, fmt.Errorf("%q: %w", name, inspect.ErrNoTopic)
		case err != nil:
			return t, fmt.Errorf("look up %q: %w", name, err)
		case found.IsInternal || strings.HasPrefix(name, "__"):
			return t, &inspect.PlanError{Reason: fmt.Sprintf("%q is a topic that Kafka keeps for itself: write to another one", name)}
		}
		t.Partitions = len(found.Partitions)
	}
	if t.Partitions == 0 {
		return t, fmt.Errorf("%q: %w", name, inspect.ErrNoTopic)
	}
	t.configure(ctx, cl)
	return t, nil
}

// configure reads the topic's settings. A client that may not read them can still write, so
// the defaults stay then.
func (t *Topic) configure(ctx context.Context, cl *kgo.Client) {
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, t.Name)
	if err != nil {
		return
	}
	for _, c := range configs {
		for _, kv := range c.Configs {
			switch kv.Key {
			case "max.message.bytes":
				if n, err := strconv.Atoi(kv.MaybeValue()); err == nil && n > 0 {
					t.MaxBytes = min(n, maxBatch)
				}
			case "cleanup.policy":
				t.Compacted = strings.Contains(kv.MaybeValue(), "compact")
			}
		}
	}
}

// Compressions are the codecs of batches, by name.
var Compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Acks are the numbers of replicas that confirm a batch.
var Acks = []string{"all", "1", "0"}

// ErrUnconfirmed is why a record failed that the brokers neither took nor refused.
var ErrUnconfirmed = errors.New("the brokers did not confirm it in time, so it may be written or not")

// Options are how records are written.
type Options struct {
	Acks        string // one of Acks; empty means all
	Compression string // one of Compressions; empty means snappy
	// Transaction is the transactional ID with which everything is written in one transaction;
	// empty for none.
	Transaction string
	// Placed says that every record names its partition. Otherwise its key chooses one, as
	// in Java's clients.
	Placed bool
}

const (
	// patience is how long a writer waits for the brokers.
	patience = 30 * time.Second
	linger   = 5 * time.Millisecond
	// transactionTimeout is how long a transaction may take. Until it ends, consumers that read
	// committed records wait at its beginning.
	transactionTimeout = 5 * time.Minute
)

// Client returns the options of a client that writes to a topic.
func (o Options) Client(t Topic) []kgo.Opt {
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression()}
	chosen, ok := codec[o.Compression]
	if !ok {
		chosen = kgo.SnappyCompression()
	}
	opts := []kgo.Opt{
		kgo.ProducerBatchCompression(chosen), kgo.ProducerBatchMaxBytes(int32(t.MaxBytes)),
		kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(2 * inFlightRecords),
	}
	if o.Placed {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	} else {
		opts = append(opts, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	}
	switch {
	case o.Acks == "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case o.Acks == "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case o.Transaction != "":
		opts = append(opts, kgo.TransactionalID(o.Transaction), kgo.TransactionTimeout(transactionTimeout))
	}
	return opts
}

// check finds what a broker would reject a whole batch for, before the record is in one.
func (t Topic) check(r *kgo.Record, placed bool) error {
	switch {
	case t.Compacted && r.Key == nil:
		return errors.New("it has no key, and this topic is compacted: Kafka keeps the newest record of each key; give one")
	case placed && (r.Partition < 0 || int(r.Partition) >= t.Partitions):
		return fmt.Errorf("%s has no partition %d, but 0 to %d", t.Name, r.Partition, t.Partitions-1)
	}
	return nil
}

// explain says in words why a record was not written.
func (t Topic) explain(err error) error {
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("it is larger than the topic's max.message.bytes (%d): %w", t.MaxBytes, err)
	case errors.Is(err, kerr.InvalidTimestamp):
		return fmt.Errorf("the topic's message.timestamp.before.max.ms or .after.max.ms does not allow the time of a record in its batch, "+
			"and brokers reject a batch as a whole: %w", err)
	case errors.Is(err, kerr.InvalidRecord):
		return fmt.Errorf("a record in its batch is not valid for the topic, and brokers reject a batch as a whole: %w", err)
	case errors.Is(err, kgo.ErrClientClosed):
		return ErrUnconfirmed
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("the topic or the partition no longer exists: %w", err)
	}
	return err
}

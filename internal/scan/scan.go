// Package scan reads ranges of offsets of a topic's partitions, in order. The reader
// knows how far it is even where the last offsets of a range hold no records
// (transaction markers, aborted or compacted batches). A consumer, which only gets
// records, cannot distinguish "nothing more" from "not yet" there. The package fetches, finds
// leaders, waits and fails in the end. It knows nothing of what the records mean, joins
// no group, commits nothing and never follows a log that grows: use a Kafka consumer
// for that.
package scan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Limits on what one fetch can make the program hold, in bytes.
const (
	// DefaultFetchBytes is how much of a partition one fetch asks for. A broker
	// sends one larger batch all the same, or nothing could ever be read.
	DefaultFetchBytes = 2 << 20
	// MaxBatch bounds the decompressed size of a batch for all of weir: a topic may hold what
	// any program wrote, and a few kilobytes can claim gigabytes. weir's own are far smaller.
	MaxBatch = 64 << 20
)

const (
	fetchWaitMS  = 250 // how long a broker may wait for data that must be there
	firstBackoff = 20 * time.Millisecond
	lastBackoff  = 500 * time.Millisecond
	patience     = 20 * time.Second // without progress, then reading fails
	quiet        = 5 * time.Second  // without progress, then Options.Waiting is called
)

// Errors that callers branch on.
var (
	// ErrNoTopic is in the chain where the topic or the partition does not exist.
	ErrNoTopic = errors.New("no such topic or partition")
	// ErrStalled is in the chain where a partition offered nothing for Options.Patience
	// although records had been promised.
	ErrStalled = errors.New("no record came: a transaction may be open, or a broker may be down")
	// ErrTruncated is in the chain where the log ends before the range does: the
	// broker lost records, or the topic was created again.
	ErrTruncated = errors.New("the log is shorter than it was")
)

// Options of a Reader. The zero value reads committed records.
type Options struct {
	// Uncommitted includes records of open and aborted transactions.
	Uncommitted bool
	// Gaps explains the offsets that hold no record (Chunk.Gaps), at the price of
	// decoding such chunks twice.
	Gaps bool
	// FetchBytes is what one fetch asks for; 0 means DefaultFetchBytes.
	FetchBytes int32
	// Patience is how long a partition may offer nothing although records are promised:
	// a transaction is open, or a broker is away. 0 means twenty seconds.
	Patience time.Duration
	// Waiting is called for a partition that has offered nothing for five seconds. May be nil.
	Waiting func(Range)
	// Ahead is how many chunks are fetched before they are asked for; 0 means one,
	// below 0 none.
	Ahead int
}

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String names it in errors and logs.
func (tp TopicPartition) String() string {
	return fmt.Sprintf("%s partition %d", tp.Topic, tp.Partition)
}

// Range names the offsets From (included) to To (not included) of a partition.
type Range struct {
	TopicPartition
	From, To int64
}

// Reader reads ranges of partitions. It is safe for concurrent use.
type Reader struct {
	cl     *kgo.Client
	opts   Options
	unpack kgo.Decompressor
}

// New returns a reader that fetches through cl, which stays the caller's.
func New(cl *kgo.Client, opts Options) *Reader {
	if opts.FetchBytes <= 0 {
		opts.FetchBytes = DefaultFetchBytes
	}
	if opts.Patience == 0 {
		opts.Patience = patience
	}
	if opts.Ahead == 0 {
		opts.Ahead = 1
	}
	return &Reader{cl: cl, opts: opts, unpack: NewDecompressor(MaxBatch)}
}

// Chunk is what one fetch brought. Its records are in the order of their offsets
// and all below Range.To; they stay valid as long as they are referred to.
type Chunk struct {
	Records []*kgo.Record
	// Next is the offset after everything that this chunk covers.
	Next int64
	// Trimmed is how many offsets, right before the chunk, the broker deleted
	// before they could be read (retention, DeleteRecords).
	Trimmed int64
	// Gaps are the offsets of the chunk that hold no record, in order (Options.Gaps).
	Gaps []*Gap
}

// Read calls each with the chunks of a range, in order, until To is reached or
// each returns an error, which Read returns as it is. A reader of committed records
// waits for a transaction that is open inside the range.
func (r *Reader) Read(ctx context.Context, s Range, each func(Chunk) error) error {
	if s.From >= s.To {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.opts.Ahead < 0 {
		return r.fetchAll(ctx, s, each)
	}
	chunks := make(chan Chunk, r.opts.Ahead-1)
	result := make(chan error, 1)
	go func() {
		defer close(chunks)
		result <- r.fetchAll(ctx, s, func(c Chunk) error {
			select {
			case chunks <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	for c := range chunks {
		if err := each(c); err != nil {
			cancel()
			for range chunks { // the goroutine ends before Read returns
			}
			return err
		}
	}
	return <-result
}

// lanes is how many partitions ReadAll reads at once.
const lanes = 16

// ReadAll calls fn with every record of the ranges, one call at a time, in order within
// a partition. The record is fn's to keep. Offsets that the log no longer holds are an error.
func (r *Reader) ReadAll(ctx context.Context, ranges []Range, fn func(*kgo.Record) error) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lanes)
	for _, of := range ranges {
		g.Go(func() error {
			return r.Read(ctx, of, func(c Chunk) error {
				mu.Lock()
				defer mu.Unlock()
				if c.Trimmed > 0 {
					return fmt.Errorf("read %s: the log no longer holds %d offsets before %d", of.TopicPartition, c.Trimmed, c.Next)
				}
				for _, rec := range c.Records {
					if err := fn(rec); err != nil {
						return err
					}
				}
				return ctx.Err()
			})
		})
	}
	return g.Wait()
}

// fetchAll is Read without fetching ahead.
func (r *Reader) fetchAll(ctx context.Context, s Range, each func(Chunk) error) error {
	var (
		at       = s.From
		place    place
		backoff  = firstBackoff
		progress = time.Now()
		reported bool
		err      error
	)
	for at < s.To {
		if place.id == nil {
			place, err = r.find(ctx, s)
		}
		var c Chunk
		if err == nil {
			c, err = r.fetch(ctx, s, at, place)
		}
		stands := time.Since(progress)
		switch {
		case err == nil && c.Next > at:
			if err := each(c); err != nil {
				return err
			}
			at, backoff, progress, reported = c.Next, firstBackoff, time.Now(), false
			continue
		case ctx.Err() != nil:
			return fmt.Errorf("read %s: %w", s.TopicPartition, ctx.Err())
		case err != nil && !temporary(err):
			return fmt.Errorf("read %s at offset %d: %w", s.TopicPartition, at, err)
		case stands > r.opts.Patience && err == nil:
			return fmt.Errorf("read %s: between its offsets %d and %d, %w", s.TopicPartition, at, s.To, ErrStalled)
		case stands > r.opts.Patience:
			return fmt.Errorf("read %s: %w", s.TopicPartition, err)
		case stands > quiet && !reported && r.opts.Waiting != nil:
			reported = true
			r.opts.Waiting(s)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("read %s: %w", s.TopicPartition, ctx.Err())
		case <-time.After(backoff):
		}
		backoff, err = min(2*backoff, lastBackoff), nil
		place.id = nil // the leader may have moved
	}
	return nil
}

// temporary reports whether a repetition can help: leaders move, brokers restart.
func temporary(err error) bool {
	for _, final := range []error{ErrNoTopic, ErrTruncated, errCorrupt, kgo.ErrMaxDecompress, kgo.ErrClientClosed} {
		if errors.Is(err, final) {
			return false
		}
	}
	_, ofKafka := errors.AsType[*kerr.Error](err)
	return !ofKafka || kerr.IsRetriable(err) // all others are of the connection
}

// place is where a partition is led, and what its topic is called on the wire.
type place struct {
	leader int32
	id     *[16]byte
}

// find asks the cluster for the partition's leader.
func (r *Reader) find(ctx context.Context, s Range) (place, error) {
	meta, _, err := Metadata(ctx, r.cl, MetadataRequest(s.Topic))
	topic := meta.Topics[s.Topic]
	if err == nil {
		err = topic.Err
	}
	p, ok := topic.Partitions[s.Partition]
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), err == nil && !ok:
		return place{}, ErrNoTopic
	case err == nil && p.Leader < 0:
		err = kerr.LeaderNotAvailable
	}
	if err != nil {
		return place{}, fmt.Errorf("find leader: %w", err)
	}
	id := [16]byte(topic.ID)
	return place{leader: p.Leader, id: &id}, nil
}

// Package crashcount has the counter of the station about delivery semantics: a consumer that counts
// the events of a topic in Redis, at least once or exactly once, and that learners kill. It owns the
// loop. It does not own the note about its runs (package crashnote) nor the scripts in Redis, and it
// judges nothing.
//
// Both semantics count in the same way and commit the same offsets every five seconds. They differ in
// where a run begins: at the offsets that are committed to Kafka, or at those that Redis stores with
// the counts and changes in the same step.
package crashcount

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/learn/crashnote"
	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

const (
	// sessionTimeout is the shortest that brokers allow by default.
	sessionTimeout = 6 * time.Second
	// instance makes the counter a static member: a run that follows a killed one takes its place at
	// once, instead of waiting until the session times out.
	instance       = "the-counter"
	heartbeatEvery = time.Second
	// answerWithin bounds the last commit.
	answerWithin = 5 * time.Second
	// batchRecords bounds one step in Redis, so that offsets and counts move in small steps.
	batchRecords = 2_000
)

// Config of a counter. All but Every, Progress and Classify are required.
type Config struct {
	Kafka     kafka.Config
	Store     *tally.Store
	Topic     string
	Semantics string
	// Dir has the note about the runs.
	Dir string
	// Every is how often offsets are committed; 0 means crashnote.CommitEvery.
	Every time.Duration
	// Classify returns the event type of a value whose record has no header with it; nil for malformed.
	Classify func(value []byte) string
	// Progress is called after each step and each commit.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	// Counted is how many events this run has counted, Uncommitted how many of them since the
	// last commit.
	Counted, Uncommitted int64
	Committed            time.Time // when offsets were last committed; zero for not yet
}

// run is a counter while it runs.
type run struct {
	cfg     Config
	cl      *kgo.Client
	topicID string
	// next is by partition the offset that is stored with the counts, counted the last record that is counted and
	// not committed yet.
	next    map[int32]int64
	counted map[int32]*kgo.Record
	at      Progress
}

// Run counts until ctx ends. Then it commits its offsets, leaves the group and returns nil.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := crashnote.Known(cfg.Semantics); err != nil {
		return err
	}
	if cfg.Every <= 0 {
		cfg.Every = crashnote.CommitEvery
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	r := &run{cfg: cfg, next: map[int32]int64{}, counted: map[int32]*kgo.Record{}}
	if r.cl, err = cfg.Kafka.NewClient(r.options()...); err != nil {
		return err
	}
	defer r.cl.CloseAllowingRebalance()
	if err := r.open(ctx); err != nil {
		return err
	}
	end, err := crashnote.Begin(cfg.Dir, cfg.Semantics, r.topicID)
	if err != nil {
		return err
	}
	if err = r.loop(ctx); err == nil {
		err = r.finish(context.WithoutCancel(ctx))
	}
	return errors.Join(err, end(err == nil))
}

func (r *run) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(crashnote.Group(r.cfg.Semantics)), kgo.ConsumeTopics(r.cfg.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.InstanceID(instance), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatEvery),
		// What cannot be committed is counted again by the next member.
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, _ map[string][]int32) { _ = r.commit(ctx) }),
	}
	if r.cfg.Semantics == crashnote.ExactlyOnce {
		opts = append(opts, kgo.AdjustFetchOffsetsFn(r.fromRedis))
	}
	return opts
}

// open looks up the topic, and begins the counts of partitions that have none.
func (r *run) open(ctx context.Context) error {
	admin := kadm.NewClient(r.cl)
	topics, err := admin.ListTopics(ctx, r.cfg.Topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return fmt.Errorf("look up topic %q: %w; list the topics with: weir topics", r.cfg.Topic, err)
	}
	starts, err := admin.ListStartOffsets(ctx, r.cfg.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("look up the start of topic %s: %w", r.cfg.Topic, err)
	}
	d := topics[r.cfg.Topic]
	r.topicID = tally.TopicUUID(d.ID)
	group := crashnote.Group(r.cfg.Semantics)
	for _, p := range d.Partitions.Sorted() {
		start, _ := starts.Lookup(r.cfg.Topic, p.Partition)
		result, err := r.cfg.Store.Begin(ctx, group, r.cfg.Topic, p.Partition, r.topicID, start.Offset)
		if err == nil && result.Err != nil && !errors.Is(result.Err, tally.ErrStale) {
			err = fmt.Errorf("%w; begin anew with: weir groups reset %s --to oldest", result.Err, group)
		}
		if err != nil {
			return err
		}
		r.next[p.Partition] = result.Stored.Next
	}
	return nil
}

// fromRedis makes a run begin at the offsets that are stored with the counts.
func (r *run) fromRedis(ctx context.Context, fetched map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	partitions := slices.Collect(maps.Keys(fetched[r.cfg.Topic]))
	stored, err := r.cfg.Store.Load(ctx, crashnote.Group(r.cfg.Semantics), r.cfg.Topic, partitions)
	if err != nil {
		return nil, err
	}
	for id, p := range stored {
		switch {
		case p.Err != nil:
			return nil, p.Err
		case p.Found:
			fetched[r.cfg.Topic][id] = kgo.NewOffset().At(p.Next)
		}
	}
	return fetched, nil
}

// loop polls and counts until ctx ends.
func (r *run) loop(ctx context.Context) error {
	due := time.Now().Add(r.cfg.Every)
	for {
		polling, cancel := context.WithDeadline(ctx, due)
		fetches := r.cl.PollRecords(polling, batchRecords)
		cancel()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was asked to stop
		}
		var failed error
		fetches.EachError(func(_ string, partition int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				failed = fmt.Errorf("read partition %d of %s: %w", partition, r.cfg.Topic, err)
			}
		})
		if failed != nil {
			return failed
		}
		if err := r.count(ctx, fetches); err != nil {
			return err
		}
		if !time.Now().Before(due) {
			if err := r.commit(ctx); err != nil {
				return err
			}
			due = time.Now().Add(r.cfg.Every)
		}
		r.cl.AllowRebalance()
	}
}

// count adds what was fetched to the counts in Redis. Under exactly once the stored offset moves in
// the same step. Under at least once it moves, too, so that both can be compared with the log; no
// run begins there.
func (r *run) count(ctx context.Context, fetches kgo.Fetches) error {
	var batches []tally.Batch
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		last := p.Records[len(p.Records)-1]
		from := r.next[p.Partition]
		b := tally.Batch{Group: crashnote.Group(r.cfg.Semantics), Topic: r.cfg.Topic, Partition: p.Partition, TopicID: r.topicID,
			From: from, Next: max(from, last.Offset+1), Counts: map[string]int64{}}
		for _, record := range p.Records {
			b.Counts[scan.Kind(record, r.cfg.Classify)]++
		}
		batches = append(batches, b)
		r.counted[p.Partition] = last
		r.at.Counted += int64(len(p.Records))
		r.at.Uncommitted += int64(len(p.Records))
	})
	if len(batches) == 0 {
		return nil
	}
	results, err := r.cfg.Store.Apply(ctx, batches)
	if err != nil {
		return err
	}
	for i, result := range results {
		if result.Err != nil {
			return fmt.Errorf("count partition %d of %s: %w; another counter of the group may run", batches[i].Partition, r.cfg.Topic, result.Err)
		}
		r.next[batches[i].Partition] = batches[i].Next
	}
	r.cfg.Progress(r.at)
	return nil
}

// finish commits, and leaves the group, which a static member has to ask for.
func (r *run) finish(ctx context.Context) error {
	if err := r.commit(ctx); err != nil {
		return err
	}
	r.cl.CloseAllowingRebalance()
	cl, err := r.cfg.Kafka.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	// Where it cannot leave, its session times out soon.
	_, _ = kadm.NewClient(cl).LeaveGroup(ctx, kadm.LeaveGroup(crashnote.Group(r.cfg.Semantics)).InstanceIDs(instance))
	return nil
}

// commit commits the offsets of what is counted.
func (r *run) commit(ctx context.Context) error {
	if len(r.counted) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := r.cl.CommitRecords(ctx, slices.Collect(maps.Values(r.counted))...); err != nil {
		return fmt.Errorf("commit offsets: %w", err)
	}
	clear(r.counted)
	r.at.Uncommitted, r.at.Committed = 0, time.Now()
	r.cfg.Progress(r.at)
	return nil
}

package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
)

const (
	// memberPatience is how long a member that reads to the end waits for the next message.
	memberPatience = 10 * time.Second
	// memberPoll is how often a member looks whether it has read everything.
	memberPoll = 100 * time.Millisecond
	// memberRecords bounds what is printed before it is committed.
	memberRecords = 500
	// commitTime bounds a commit, also after the context has ended.
	commitTime = 5 * time.Second
)

// Membership says what to read as a member of a consumer group.
type Membership struct {
	Group  string
	Topics []string
	// FromEnd lets a group without committed offsets begin after the last message,
	// and not with the first.
	FromEnd bool
	// Follow goes on until ctx ends. Otherwise reading ends when the partitions that the
	// group gave to this member are read to the ends that they had at the beginning.
	Follow      bool
	Uncommitted bool
	Filter      *Filter
	MaxMessages int64 // ends reading after so many; 0 means no limit
	// Open connects a client of its own with options, because a membership belongs to one
	// client. ReadAsMember closes it. Required.
	Open func(context.Context, ...kgo.Opt) (*kgo.Client, error)
	// Flush is called before a commit: what each was given must have left the process.
	// Required.
	Flush func() error
	// Patience is how long to wait for the next message where one must come; 0 means 10 s.
	Patience time.Duration
}

// MemberProgress is what a member has read.
type MemberProgress struct {
	Scanned, Matched int64
	// Assigned is how many partitions the member had at last.
	Assigned int
	// Waited says that no message came for so long that reading ended before the end.
	Waited bool
}

// ReadAsMember joins a group, calls each with the messages of the partitions that the group
// assigns to this member, and commits their offsets once Flush has returned. Every message
// is passed on at least once: after a crash those come again whose offsets were not
// committed. The group does not change its assignment between a message and its commit.
func (i *Inspector) ReadAsMember(ctx context.Context, m Membership, each func(Message) error) (_ MemberProgress, err error) {
	defer wrap(&err, "read as a member of group %q", m.Group)
	r := &membership{i: i, m: m, each: each, low: places{}, end: places{}, at: places{}}
	if r.m.Patience <= 0 {
		r.m.Patience = memberPatience
	}
	if r.match, err = m.Filter.compile(); err != nil {
		return r.progress, err
	}
	if err = r.bounds(ctx); err != nil {
		return r.progress, err
	}
	if r.cl, err = m.Open(ctx, r.options()...); err != nil {
		return r.progress, err
	}
	defer r.cl.CloseAllowingRebalance()
	err = r.run(ctx)
	return r.progress, err
}

// places is an offset for each of some partitions.
type places = map[scan.TopicPartition]int64

// membership is the state of one ReadAsMember.
type membership struct {
	i        *Inspector
	m        Membership
	each     func(Message) error
	match    func(*kgo.Record) bool
	cl       *kgo.Client
	low, end places // of all partitions, when reading begins
	progress MemberProgress

	mu     sync.Mutex // guards the rest: the client's callbacks write it
	at     places     // the next offset of each partition that this member has
	moved  time.Time  // when the assignment changed last
	failed error      // why the committed offsets could not be read
}

func (r *membership) options() []kgo.Opt {
	start, isolation := kgo.NewOffset().AtStart(), kgo.ReadCommitted()
	if r.m.FromEnd {
		start = kgo.NewOffset().AtEnd()
	}
	if r.m.Uncommitted {
		isolation = kgo.ReadUncommitted()
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(r.m.Group), kgo.ConsumeTopics(r.m.Topics...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(isolation), kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // retention deleted the committed offset: what is left is read
		kgo.KeepControlRecords(),                          // they show that the end is reached where the last record is one
		kgo.OnPartitionsAssigned(r.assigned), kgo.OnPartitionsRevoked(r.lost), kgo.OnPartitionsLost(r.lost),
	}
}

// bounds looks up where the partitions of all topics begin and end.
func (r *membership) bounds(ctx context.Context) error {
	kind := LastStable
	if r.m.Uncommitted {
		kind = LogEnds
	}
	for _, topic := range r.m.Topics {
		meta, d, err := r.i.lookUp(ctx, topic)
		if err != nil {
			return err
		}
		at := r.i.bounds(ctx, meta, LogStarts, kind)
		for _, p := range d.Partitions.Numbers() {
			low, end, err := at.of(topic, p)
			if err != nil && !r.m.Follow {
				return err
			}
			tp := scan.TopicPartition{Topic: topic, Partition: p}
			r.low[tp], r.end[tp] = low, end
		}
	}
	return nil
}

// assigned notes where the new partitions of this member begin.
func (r *membership) assigned(ctx context.Context, _ *kgo.Client, added map[string][]int32) {
	var committed kadm.OffsetResponses
	var err error
	if !r.m.Follow { // only reading to the end compares with it
		ctx, cancel := context.WithTimeout(ctx, r.i.cfg.Timeout)
		defer cancel()
		committed, err = r.i.admin.FetchOffsets(ctx, r.m.Group)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved = time.Now()
	if err != nil {
		r.failed = fmt.Errorf("fetch the committed offsets: %w", err)
		return
	}
	for topic, partitions := range added {
		for _, p := range partitions {
			tp := scan.TopicPartition{Topic: topic, Partition: p}
			at := r.low[tp]
			if r.m.FromEnd {
				at = r.end[tp]
			}
			if o, ok := committed.Lookup(topic, p); ok && o.Err == nil && o.At >= 0 {
				at = max(o.At, r.low[tp])
			}
			r.at[tp] = at
		}
	}
}

func (r *membership) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved = time.Now()
	for topic, partitions := range gone {
		for _, p := range partitions {
			delete(r.at, scan.TopicPartition{Topic: topic, Partition: p})
		}
	}
}

// finished reports whether the member has read its partitions to their ends, and when its
// assignment changed last.
func (r *membership) finished() (done bool, moved time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Assigned = len(r.at)
	done = !r.m.Follow && len(r.at) > 0
	for tp, at := range r.at {
		done = done && at >= r.end[tp]
	}
	return done, r.moved, r.failed
}

// run reads until nothing is left, a limit is reached, or ctx ends.
func (r *membership) run(ctx context.Context) error {
	last := time.Now()
	for ctx.Err() == nil {
		done, moved, err := r.finished()
		switch {
		case err != nil || done:
			return err
		case r.m.MaxMessages > 0 && r.progress.Matched >= r.m.MaxMessages:
			return nil
		case !r.m.Follow && time.Since(last) > r.m.Patience && time.Since(moved) > r.m.Patience:
			r.progress.Waited = true
			return nil
		}
		n := int64(memberRecords)
		if r.m.MaxMessages > 0 { // a poll never has more than may be returned, so that all of it is committed
			n = min(n, r.m.MaxMessages-r.progress.Matched)
		}
		poll, cancel := context.WithTimeout(ctx, memberPoll)
		fetches := r.cl.PollRecords(poll, int(n))
		cancel()
		if fetches.NumRecords() > 0 {
			last = time.Now()
		}
		err = r.take(ctx, fetches)
		r.cl.AllowRebalance()
		if err != nil {
			return err
		}
	}
	return nil
}

// take passes on what a poll brought, and commits it.
func (r *membership) take(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if err := lasting(e.Err); err != nil {
			return err
		}
	}
	next := map[string]map[int32]kgo.EpochOffset{}
	for _, rec := range fetches.Records() {
		if next[rec.Topic] == nil {
			next[rec.Topic] = map[int32]kgo.EpochOffset{}
		}
		next[rec.Topic][rec.Partition] = kgo.EpochOffset{Epoch: rec.LeaderEpoch, Offset: rec.Offset + 1}
		if rec.Attrs.IsControl() {
			continue
		}
		if r.progress.Scanned++; !r.match(rec) {
			continue
		}
		if err := r.each(message(rec)); err != nil {
			return err
		}
		r.progress.Matched++
	}
	if err := r.m.Flush(); err != nil || len(next) == 0 {
		return err
	}
	return r.commit(ctx, next)
}

// commit commits offsets, also when ctx has just ended, because their messages were printed.
func (r *membership) commit(ctx context.Context, next map[string]map[int32]kgo.EpochOffset) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	defer wrap(&err, "commit offsets (the last messages will come again)")
	r.cl.CommitOffsetsSync(ctx, next, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, e error) {
		if err = e; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, partitions := range next {
		for p, o := range partitions {
			tp := scan.TopicPartition{Topic: topic, Partition: p}
			if _, ok := r.at[tp]; ok {
				r.at[tp] = o.Offset
			}
		}
	}
	return nil
}

// lasting returns an error of a poll that the client does not get over by itself: a group
// that does not take this member, missing permissions. A new session is begun by the client.
func lasting(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	for _, passing := range []error{kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.FencedMemberEpoch, kerr.StaleMemberEpoch} {
		if errors.Is(err, passing) {
			return nil
		}
	}
	if ke, ok := errors.AsType[*kerr.Error](err); ok && !ke.Retriable {
		return ke
	}
	return nil
}

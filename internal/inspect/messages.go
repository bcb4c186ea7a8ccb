package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// Gap is the offsets right before a message that hold none.
type Gap = scan.Gap

// Message is a record of a topic. Its slices are read-only; they stay valid after
// the call that handed them over, at the price of the whole fetch they came with.
type Message struct {
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp has milliseconds; it is the producer's or, where the topic says so, the
	// broker's.
	Timestamp time.Time
	// Key and Value are nil where the record has none, which differs from empty.
	Key, Value []byte
	Headers    []kgo.RecordHeader
	// Gap is the offsets before it that hold no message (Query.Gaps); nil for none.
	Gap *Gap
}

// TimeInRange reports whether the timestamp is a time from 1970 to the year 9999.
// Others are the numbers of producers that do not send milliseconds.
func (m *Message) TimeInRange() bool {
	return m.Timestamp.UnixMilli() >= 0 && m.Timestamp.UTC().Year() <= 9999
}

func (m *Message) size() int64 {
	n := int64(len(m.Key) + len(m.Value))
	for _, h := range m.Headers {
		n += int64(len(h.Key) + len(h.Value))
	}
	return n
}

func message(r *kgo.Record) Message {
	return Message{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers}
}

// Query says what to read.
type Query struct {
	Topic string
	// Partitions restricts to these; empty means all.
	Partitions []int32
	From       Target
	// Until ends each partition before that place. The zero value means the end that the
	// partition has when reading begins.
	Until Target
	// Follow goes on with what is written after the end, until ctx ends. It cannot
	// be combined with Until.
	Follow bool
	// Uncommitted includes messages of open and aborted transactions.
	Uncommitted bool
	// Partial reads the partitions whose leaders answer where others do not, and
	// says so in Progress.Unread, instead of failing.
	Partial bool
	// Gaps explains the offsets that hold no message (Message.Gap). With a filter, or
	// while following, nothing is explained.
	Gaps bool
	// Filter lets through what it matches; nil everything.
	Filter *Filter
	// MaxMessages and MaxBytes (of keys, values and headers) end reading once that
	// much was returned, MaxScanned once that much was looked at (with Newest, in
	// equal shares of the partitions), of all topics together. 0 means no limit;
	// MaxBytes lets one larger message through.
	MaxMessages, MaxBytes, MaxScanned int64
	// OnProgress, if set, is called after every chunk, one call at a time, with what was scanned
	// and matched so far.
	OnProgress func(Progress)
}

// Reasons why reading ended.
const (
	StoppedEnd       = "end"       // everything up to the end was read
	StoppedLimit     = "limit"     // a limit of the query was reached
	StoppedCancelled = "cancelled" // the context ended
	StoppedCaller    = "caller"    // the callback returned ErrStop
)

// Progress is how far reading came.
type Progress struct {
	// Scanned is how many messages were looked at, Matched how many were
	// returned, Bytes their size.
	Scanned int64 `json:"scanned"`
	Matched int64 `json:"matched"`
	Bytes   int64 `json:"bytes"`
	// Next is by partition the offset to go on with so that nothing is lost and
	// nothing comes twice.
	Next map[int32]int64 `json:"next"`
	// Before, after Newest, is by partition what to give NewestBefore to go on with
	// older messages, so that nothing is lost and nothing comes twice, whatever
	// ended the search. It is nil where there is nothing older.
	Before map[int32]int64 `json:"before,omitempty"`
	// End is by partition where reading ends (or following begins).
	End map[int32]int64 `json:"end"`
	// Trimmed is how many offsets were deleted while reading.
	Trimmed int64 `json:"trimmed,omitempty"`
	// Incomplete says that Newest had to leave messages out because so many of
	// that size do not fit into memory.
	Incomplete bool   `json:"incomplete,omitempty"`
	Stopped    string `json:"stopped"`
	// Unread says of partitions that were left out why (Query.Partial).
	Unread []string `json:"unread,omitempty"`
}

// ErrStop ends reading without an error when the callback of Read returns it.
var ErrStop = errors.New("stop reading")

// errLimit ends reading at a limit of the query.
var errLimit = errors.New("limit reached")

// Read calls each with the messages of a query. Newest are in the order of their
// timestamps; the rest is merged by time as far as the order within each
// partition, which is kept, allows. When ctx ends, Read
// returns no failure: Progress.Stopped is StoppedCancelled. An unknown topic or partition is ErrNoTopic.
func (i *Inspector) Read(ctx context.Context, q Query, each func(Message) error) (Progress, error) {
	all, err := i.ReadTopics(ctx, []string{q.Topic}, q, each)
	return all[q.Topic], err
}

// MaxTopics bounds the topics of one ReadTopics.
const MaxTopics = 16

// ReadTopics is Read for several topics, whichever one the query names. Their messages are merged
// by time, Newest means the newest of all topics, and limits are for all together. It returns the
// progress by topic.
func (i *Inspector) ReadTopics(ctx context.Context, topics []string, q Query, each func(Message) error) (map[string]Progress, error) {
	if len(topics) > MaxTopics {
		return nil, fmt.Errorf("read messages: %d topics at once, at most %d: read them in turns", len(topics), MaxTopics)
	}
	r, err := i.begin(ctx, topics, q, each)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	switch {
	case q.From.mode == targetNewest:
		err = r.newest(ctx)
	case q.From.mode != targetEnd:
		err = r.forward(ctx)
	}
	if err == nil && q.Follow {
		err = r.follow(ctx)
	}
	stopped := StoppedEnd
	switch {
	case err == nil:
	case errors.Is(err, ErrStop):
		stopped, err = StoppedCaller, nil
	case errors.Is(err, errLimit):
		stopped, err = StoppedLimit, nil
	case r.callback != nil:
		err = r.callback // the caller's own, as it is
	case ctx.Err() != nil:
		stopped, err = StoppedCancelled, nil
	default:
		err = fmt.Errorf("read messages: %w", err)
	}
	all := make(map[string]Progress, len(topics))
	for topic, p := range r.progress {
		p.Stopped = stopped
		all[topic] = *p
	}
	return all, err
}

// reading is the state of one ReadTopics.
type reading struct {
	i             *Inspector
	topics        []string
	q             Query
	each          func(Message) error
	match         func(*kgo.Record) bool
	meta          kadm.Metadata
	end           OffsetKind
	low, from, to places
	parts         []scan.TopicPartition
	backward      bool       // from the newest message
	mu            sync.Mutex // guards the progress while partitions are read concurrently
	progress      map[string]*Progress
	all           Progress // what was scanned and matched in all topics
	callback      error
}

// begin checks a query and looks up where it begins and ends.
func (i *Inspector) begin(ctx context.Context, topics []string, q Query, each func(Message) error) (*reading, error) {
	r := &reading{i: i, topics: topics, q: q, each: each, end: LastStable, from: places{}, to: places{}, low: places{},
		progress: map[string]*Progress{}}
	switch {
	case q.Follow && q.Until.mode != targetNone:
		return nil, errors.New("following has no end: leave out either")
	case q.From.mode == targetNewest && q.From.n < 0:
		return nil, fmt.Errorf("newest %d messages: a number below 0", q.From.n)
	case q.Uncommitted:
		r.end = LogEnds
	}
	var err error
	if r.match, err = q.Filter.compile(); err != nil {
		return nil, err
	}
	if r.meta, err = i.Metadata(ctx, topics...); err != nil {
		return nil, err
	}
	want := q.Partitions
	if q.From.mode == targetEach && len(want) == 0 {
		want = slices.Collect(maps.Keys(q.From.each))
	}
	for _, topic := range topics {
		d, err := found(r.meta, topic)
		if err != nil {
			return nil, err
		}
		chosen, err := choose(d, want)
		if err != nil {
			return nil, err
		}
		for _, p := range chosen {
			r.parts = append(r.parts, scan.TopicPartition{Topic: topic, Partition: p})
		}
		r.progress[topic] = &Progress{Next: map[int32]int64{}, End: map[int32]int64{}}
	}
	return r, r.bounds(ctx)
}

// choose returns those of the wanted partitions that a topic has, in order; all where none is named.
func choose(d kadm.TopicDetail, want []int32) ([]int32, error) {
	if len(want) == 0 {
		want = d.Partitions.Numbers()
	}
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	for _, p := range want {
		if _, ok := d.Partitions[p]; !ok {
			return nil, fmt.Errorf("%q has no partition %d, but 0 to %d: %w", d.Topic, p, len(d.Partitions)-1, ErrNoTopic)
		}
	}
	return want, nil
}

// bounds looks up the offsets at which the partitions begin and end. A partial query
// leaves out the partitions whose leaders do not answer, unless those are all.
func (r *reading) bounds(ctx context.Context) error {
	at := r.i.bounds(ctx, r.meta, LogStarts, r.end)
	after, err := r.q.From.after(ctx, r.i, r.topics...)
	if err != nil {
		return err
	}
	until, err := r.q.Until.after(ctx, r.i, r.topics...)
	if err != nil {
		return err
	}
	var kept []scan.TopicPartition
	var silent error
	for _, tp := range r.parts {
		topic, p := tp.Topic, tp.Partition
		progress := r.progress[topic]
		lo, hi, err := at.of(topic, p)
		switch {
		case err != nil && r.q.Partial:
			silent, progress.Unread = cmp.Or(silent, err), append(progress.Unread, err.Error())
			continue
		case err != nil:
			return err
		}
		if r.q.Until.mode != targetNone {
			hi = r.q.Until.in(topic, p, lo, hi, Unknown, until)
		}
		if r.q.From.mode == targetNewest && r.q.From.each != nil {
			hi = max(lo, min(hi, r.q.From.each[p]))
		}
		from := r.q.From.in(topic, p, lo, hi, Unknown, after)
		r.low[tp], r.from[tp], r.to[tp] = lo, from, hi
		progress.Next[p], progress.End[p] = from, hi
		kept = append(kept, tp)
	}
	if r.parts = kept; len(kept) == 0 {
		return silent
	}
	return nil
}

// deliver hands a message over and checks the limits.
func (r *reading) deliver(m Message) error {
	size := m.size()
	if r.q.MaxBytes > 0 && r.all.Matched > 0 && r.all.Bytes+size > r.q.MaxBytes {
		return errLimit
	}
	err := r.each(m)
	if err != nil && !errors.Is(err, ErrStop) {
		r.callback = err
		return err
	}
	p := r.progress[m.Topic]
	for _, count := range []*Progress{p, &r.all} {
		count.Matched++
		count.Bytes += size
	}
	p.Next[m.Partition] = m.Offset + 1
	if err == nil && r.q.MaxMessages > 0 && r.all.Matched >= r.q.MaxMessages {
		return errLimit
	}
	return err
}

// scanned accounts for messages of a partition that were looked at.
func (r *reading) scanned(tp scan.TopicPartition, c chunk) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.progress[tp.Topic]
	if !r.backward {
		if p.Next[tp.Partition] = c.Next; len(c.found) > 0 {
			p.Next[tp.Partition] = c.found[0].Offset
		}
	}
	for _, count := range []*Progress{p, &r.all} {
		count.Scanned += int64(len(c.Records))
		count.Trimmed += c.Trimmed
	}
	if r.q.OnProgress != nil {
		r.q.OnProgress(r.all)
	}
	if r.q.MaxScanned > 0 && r.all.Scanned >= r.q.MaxScanned {
		return errLimit
	}
	return nil
}

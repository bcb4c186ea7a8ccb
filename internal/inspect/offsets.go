package inspect

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
)

// OffsetKind is which offsets of logs are asked for.
type OffsetKind int

// Values of an OffsetKind. All but LastStable are timestamps of a ListOffsets request.
const (
	LogStarts  OffsetKind = -2 // the first that is retained
	LogEnds    OffsetKind = -1 // the high watermark
	LastStable OffsetKind = 0  // below it no transaction is open
	// FirstRecords are the first records that are retained, with their timestamps.
	FirstRecords OffsetKind = 1
)

// Offsets lists offsets of all partitions that metadata names, asking their leaders
// at once. A partition whose leader does not answer in time is absent, or has the
// error beside it: what is known is worth showing.
func (i *Inspector) Offsets(ctx context.Context, meta kadm.Metadata, kind OffsetKind) kadm.ListedOffsets {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.TimeoutMillis = int32(i.cfg.Timeout.Milliseconds())
	if kind == LastStable {
		kind, req.IsolationLevel = LogEnds, 1
	}
	for name, t := range meta.Topics {
		if t.Err != nil {
			continue
		}
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for id := range t.Partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = id, int64(kind)
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	list := kadm.ListedOffsets{}
	if len(req.Topics) == 0 {
		return list
	}
	note := func(o kadm.ListedOffset) {
		if list[o.Topic] == nil {
			list[o.Topic] = map[int32]kadm.ListedOffset{}
		}
		list[o.Topic][o.Partition] = o
	}
	for _, shard := range i.cfg.Client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			for _, t := range shard.Req.(*kmsg.ListOffsetsRequest).Topics {
				for _, p := range t.Partitions {
					note(kadm.ListedOffset{Topic: t.Topic, Partition: p.Partition, Offset: Unknown, Err: shard.Err})
				}
			}
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				note(kadm.ListedOffset{Topic: t.Topic, Partition: p.Partition, Offset: p.Offset, Timestamp: p.Timestamp, Err: kerr.ErrorForCode(p.ErrorCode)})
			}
		}
	}
	return list
}

// Metadata asks any broker within the timeout; no topics means all of them.
func (i *Inspector) Metadata(ctx context.Context, topics ...string) (kadm.Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	m, _, err := scan.Metadata(ctx, i.cfg.Client, scan.MetadataRequest(topics...))
	return m, err
}

// bounds are the offsets that partitions held at one moment. What was not asked for is nil.
type bounds struct{ low, high, stable kadm.ListedOffsets }

// bounds lists offsets of the kinds, all at once. Errors of single partitions are in the results.
func (i *Inspector) bounds(ctx context.Context, meta kadm.Metadata, kinds ...OffsetKind) (b bounds) {
	var all sync.WaitGroup
	for _, k := range kinds {
		to := map[OffsetKind]*kadm.ListedOffsets{LogStarts: &b.low, LogEnds: &b.high, LastStable: &b.stable}[k]
		all.Go(func() { *to = i.Offsets(ctx, meta, k) })
	}
	all.Wait()
	return b
}

// of returns the first offset of a partition and its end: the high watermark, or the last
// stable offset where that was asked for instead. Both are Unknown with an error.
func (b bounds) of(topic string, p int32) (low, end int64, err error) {
	ends := b.high
	if ends == nil {
		ends = b.stable
	}
	l, okLow := b.low.Lookup(topic, p)
	e, okEnd := ends.Lookup(topic, p)
	if err = cmp.Or(l.Err, e.Err); err == nil && (!okLow || !okEnd) {
		err = kerr.UnknownTopicOrPartition
	}
	if err != nil {
		return Unknown, Unknown, fmt.Errorf("list offsets of partition %d: %w", p, err)
	}
	return l.Offset, e.Offset, nil
}

// after lists by partition the first offset whose message is not older than the target's
// time; none for other targets.
func (t Target) after(ctx context.Context, i *Inspector, topics ...string) (kadm.ListedOffsets, error) {
	if t.mode != targetTime {
		return nil, nil
	}
	return i.offsetsAt(ctx, t.at, topics...)
}

// offsetsAt lists by partition the first message that is not older than t, or the end. ListOffsets
// gives negative times a meaning of their own (-1 is the end of the log), so a time before 1970 is
// asked for as 1970: no message is older.
func (i *Inspector) offsetsAt(ctx context.Context, t time.Time, topics ...string) (kadm.ListedOffsets, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	list, err := i.admin.ListOffsetsAfterMilli(ctx, max(0, t.UnixMilli()), topics...)
	if err != nil {
		return nil, fmt.Errorf("list offsets by time: %w", err)
	}
	return list, nil
}

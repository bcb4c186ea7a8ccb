package inspect

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetKind is which offsets of logs are asked for.
type OffsetKind int

// The kinds of offsets.
const (
	LogStarts  OffsetKind = iota // the first that is retained
	LogEnds                      // the high watermark
	LastStable                   // below it no transaction is open
)

// Offsets lists offsets of all partitions that metadata names, asking their leaders
// at once. A partition whose leader does not answer in time is absent, or has the
// error beside it: what is known is worth showing.
func (i *Inspector) Offsets(ctx context.Context, meta kadm.Metadata, kind OffsetKind) kadm.ListedOffsets {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.TimeoutMillis = int32(i.cfg.Timeout.Milliseconds())
	at := int64(-1)
	switch kind {
	case LogStarts:
		at = -2
	case LastStable:
		req.IsolationLevel = 1
	case LogEnds:
	}
	for name, t := range meta.Topics {
		if t.Err != nil {
			continue
		}
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for id := range t.Partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = id, at
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	list := kadm.ListedOffsets{}
	if len(req.Topics) == 0 {
		return list
	}
	for _, shard := range i.cfg.Client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			for _, t := range shard.Req.(*kmsg.ListOffsetsRequest).Topics {
				for _, p := range t.Partitions {
					note(list, kadm.ListedOffset{Topic: t.Topic, Partition: p.Partition, Offset: Unknown, Err: shard.Err})
				}
			}
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				note(list, kadm.ListedOffset{Topic: t.Topic, Partition: p.Partition, Timestamp: p.Timestamp, Offset: p.Offset,
					LeaderEpoch: p.LeaderEpoch, Err: kerr.ErrorForCode(p.ErrorCode)})
			}
		}
	}
	return list
}

func note(list kadm.ListedOffsets, o kadm.ListedOffset) {
	parts := list[o.Topic]
	if parts == nil {
		parts = map[int32]kadm.ListedOffset{}
		list[o.Topic] = parts
	}
	parts[o.Partition] = o
}

// metadata asks any broker within the timeout.
func (i *Inspector) metadata(ctx context.Context, topics ...string) (kadm.Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	return i.admin.Metadata(ctx, topics...)
}

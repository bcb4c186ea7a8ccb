package inspect

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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

// Metadata asks any broker within the timeout; no topics means all of them. kadm's own
// answers from a cache that is up to seconds old, or fills up with some topics only.
func (i *Inspector) Metadata(ctx context.Context, topics ...string) (kadm.Metadata, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, i.cfg.Client)
	if err != nil {
		return kadm.Metadata{}, err
	}
	m := kadm.Metadata{Controller: resp.ControllerID, Topics: make(kadm.TopicDetails, len(resp.Topics))}
	if resp.ClusterID != nil {
		m.Cluster = *resp.ClusterID
	}
	for _, b := range resp.Brokers {
		m.Brokers = append(m.Brokers, kgo.BrokerMetadata{NodeID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack})
	}
	slices.SortFunc(m.Brokers, func(a, b kgo.BrokerMetadata) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		d := kadm.TopicDetail{Topic: *t.Topic, ID: t.TopicID, IsInternal: t.IsInternal, Partitions: make(kadm.PartitionDetails, len(t.Partitions)), Err: kerr.ErrorForCode(t.ErrorCode)}
		for _, p := range t.Partitions {
			d.Partitions[p.Partition] = kadm.PartitionDetail{Topic: d.Topic, Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
				Replicas: p.Replicas, ISR: p.ISR, OfflineReplicas: p.OfflineReplicas, Err: kerr.ErrorForCode(p.ErrorCode)}
		}
		m.Topics[d.Topic] = d
	}
	return m, nil
}

// offsetsAfter lists by partition the first offset whose message is not older than
// at. ListOffsets gives negative times a meaning of their own (-1 is the end of the
// log), so a time before 1970 is asked for as 1970: no message is older.
func (i *Inspector) offsetsAfter(ctx context.Context, at time.Time, topics ...string) (kadm.ListedOffsets, error) {
	return i.admin.ListOffsetsAfterMilli(ctx, max(0, at.UnixMilli()), topics...)
}

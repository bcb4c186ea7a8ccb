package scan

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// MetadataRequest asks for topics; no topics means all of them.
func MetadataRequest(topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// Metadata asks any broker. kadm's own answers from a cache that is up to seconds old, and
// fails where one topic is hidden.
func Metadata(ctx context.Context, cl *kgo.Client, req *kmsg.MetadataRequest) (kadm.Metadata, *kmsg.MetadataResponse, error) {
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return kadm.Metadata{}, nil, err
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
		d := kadm.TopicDetail{Topic: *t.Topic, ID: t.TopicID, IsInternal: t.IsInternal, Err: kerr.ErrorForCode(t.ErrorCode),
			Partitions: make(kadm.PartitionDetails, len(t.Partitions))}
		for _, p := range t.Partitions {
			d.Partitions[p.Partition] = kadm.PartitionDetail{Topic: d.Topic, Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
				Replicas: p.Replicas, ISR: p.ISR, OfflineReplicas: p.OfflineReplicas, Err: kerr.ErrorForCode(p.ErrorCode)}
		}
		m.Topics[d.Topic] = d
	}
	return m, resp, nil
}

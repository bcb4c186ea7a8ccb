package embedded

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The epochs with which a member of the new group protocol leaves (KIP-848).
const (
	epochLeaves      = -1
	epochStaticLeave = -2 // a static member that is to come back
)

// consumerGroupHeartbeat turns a static member that leaves for a while into one that
// leaves. The module would keep its partitions for it without end, and its rebalances
// meanwhile would assign them to others, too. The response is that to a static member.
func (c *Cluster) consumerGroupHeartbeat(f *flight, req *kmsg.ConsumerGroupHeartbeatRequest) (message, error) {
	if req.MemberEpoch != epochStaticLeave {
		return nil, nil
	}
	req.MemberEpoch = epochLeaves
	then(f, func(r *kmsg.ConsumerGroupHeartbeatResponse) {
		if r.ErrorCode == 0 {
			r.MemberEpoch = epochStaticLeave
		}
	})
	return req, nil
}

// offsetCommit omits the instance ID of a commit that comes from no member: Kafka ignores
// it, and the module looks for a static member of that name.
func (c *Cluster) offsetCommit(_ *flight, req *kmsg.OffsetCommitRequest) (message, error) {
	if req.InstanceID == nil || req.MemberID != "" || req.Generation >= 0 {
		return nil, nil
	}
	req.InstanceID = nil
	return req, nil
}

// offsetFetch returns no committed offsets for a group that does not exist. The module
// returns an error, which Kafka returns only to members, and Java's consumer with a group
// and partitions of its own choice ends on it before it has committed anything. While a
// transaction is about to commit the first offsets of such a group, a request for stable
// offsets has to wait.
func (c *Cluster) offsetFetch(f *flight, req *kmsg.OffsetFetchRequest) (message, error) {
	then(f, func(r *kmsg.OffsetFetchResponse) {
		if r.Version <= 7 && r.ErrorCode == kerr.GroupIDNotFound.Code {
			code := c.unstable(req, req.Group)
			r.ErrorCode, r.Topics = 0, []kmsg.OffsetFetchResponseTopic{}
			for _, t := range req.Topics {
				st := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
				for _, p := range t.Partitions {
					st.Partitions = append(st.Partitions, kmsg.OffsetFetchResponseTopicPartition(noOffset(p, code)))
				}
				r.Topics = append(r.Topics, st)
			}
		}
		for i := range min(len(r.Groups), len(req.Groups)) {
			g, asked := &r.Groups[i], req.Groups[i]
			if g.ErrorCode != kerr.GroupIDNotFound.Code || asked.MemberID != nil {
				continue
			}
			code := c.unstable(req, g.Group)
			g.ErrorCode, g.Topics = 0, []kmsg.OffsetFetchResponseGroupTopic{}
			for _, t := range asked.Topics {
				st := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
				for _, p := range t.Partitions {
					st.Partitions = append(st.Partitions, noOffset(p, code))
				}
				g.Topics = append(g.Topics, st)
			}
		}
	})
	return nil, nil
}

// offsetDelete rejects what Kafka rejects and the module deletes: offsets of partitions that do
// not exist, and of topics that a member of the new group protocol is subscribed to.
func (c *Cluster) offsetDelete(f *flight, req *kmsg.OffsetDeleteRequest) (message, error) {
	about, err := c.consumerGroup(f.node, req.Group)
	if err != nil {
		return nil, err
	}
	subscribed := make(map[string]bool)
	for _, m := range about.Members {
		for _, t := range m.SubscribedTopics {
			subscribed[t] = true
		}
		for _, t := range append(m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions...) {
			subscribed[t.Topic] = true
		}
	}
	var out []kmsg.OffsetDeleteResponseTopic
	for i := range req.Topics {
		t := &req.Topics[i]
		no := takeOut(&t.Partitions, func(p kmsg.OffsetDeleteRequestTopicPartition) *refusal {
			switch {
			case c.partitionInfo(partition{t.Topic, p.Partition}) == nil:
				return &refusal{code: kerr.UnknownTopicOrPartition.Code}
			case subscribed[t.Topic]:
				return &refusal{code: kerr.GroupSubscribedToTopic.Code}
			}
			return nil
		}, func(p kmsg.OffsetDeleteRequestTopicPartition, no *refusal) kmsg.OffsetDeleteResponseTopicPartition {
			return kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: no.code}
		})
		if len(no) > 0 {
			out = append(out, kmsg.OffsetDeleteResponseTopic{Topic: t.Topic, Partitions: no})
		}
	}
	if len(about.Members) > 0 {
		no := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		no.Topics = out
		if slices.ContainsFunc(req.Topics, func(t kmsg.OffsetDeleteRequestTopic) bool { return len(t.Partitions) > 0 }) {
			no.ErrorCode, no.Topics = kerr.NonEmptyGroup.Code, nil // the module can delete none of a running group
		}
		return no, nil
	}
	then(f, func(r *kmsg.OffsetDeleteResponse) {
		if r.ErrorCode == 0 {
			r.Topics = append(r.Topics, out...)
		}
	})
	return req, nil
}

// consumerGroup describes a group of the new protocol. It is empty for a group of another kind.
func (c *Cluster) consumerGroup(node int32, group string) (g kmsg.ConsumerGroupDescribeResponseGroup, err error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = 1, []string{group}
	resp, err := rpc[*kmsg.ConsumerGroupDescribeResponse](context.Background(), c, node, req)
	if err != nil || len(resp.Groups) != 1 || resp.Groups[0].ErrorCode != 0 {
		return g, err
	}
	return resp.Groups[0], nil
}

func noOffset(part int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: part, Offset: -1, LeaderEpoch: -1, Metadata: kmsg.StringPtr(""), ErrorCode: code,
	}
}

// unstable returns UNSTABLE_OFFSET_COMMIT where req asks for stable offsets and
// an open transaction holds some of the group, and otherwise 0.
func (c *Cluster) unstable(req *kmsg.OffsetFetchRequest, group string) int16 {
	if !req.RequireStable {
		return 0
	}
	open, err := c.transactions(context.Background())
	if err != nil {
		return kerr.UnstableOffsetCommit.Code // to ask again is always safe
	}
	for _, t := range open {
		// Offsets of a transaction that timed out stay staged until there are many.
		if t.TransactionState == "Ongoing" && c.journal.stages(t.ProducerID, group) {
			return kerr.UnstableOffsetCommit.Code
		}
	}
	return 0
}

// initProducerID makes sure that a client which names the producer ID that it has gets its
// own or none. The module looks the producer up by ID alone: it would abort and take over
// the transaction of another transactional ID, let a producer that was fenced fence its
// successor, and reject a new transactional ID with any ID beside it, where Kafka returns
// a new one.
func (c *Cluster) initProducerID(f *flight, req *kmsg.InitProducerIDRequest) (message, error) {
	if req.TransactionalID == nil || req.ProducerID < 0 || req.ProducerEpoch < 0 {
		return nil, nil
	}
	about := kmsg.NewPtrDescribeTransactionsRequest()
	about.TransactionalIDs = []string{*req.TransactionalID}
	resp, err := rpc[*kmsg.DescribeTransactionsResponse](context.Background(), c, f.node, about)
	if err != nil || len(resp.TransactionStates) != 1 {
		return nil, err
	}
	switch have := resp.TransactionStates[0]; {
	case have.ErrorCode == kerr.TransactionalIDNotFound.Code:
		req.ProducerID, req.ProducerEpoch = -1, -1
		return req, nil
	case have.ErrorCode != 0: // the module gives the same reason, such as another coordinator
	// A transaction that times out moves the epoch by one, and its producer may go on.
	case have.ProducerID != req.ProducerID || req.ProducerEpoch < have.ProducerEpoch-1:
		no := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		no.ProducerID, no.ProducerEpoch = -1, -1
		no.ErrorCode = kerr.ProducerFenced.Code
		if req.Version < 4 { // which do not know that code
			no.ErrorCode = kerr.InvalidProducerEpoch.Code
		}
		return no, nil
	}
	return nil, nil
}

// findCoordinator returns a coordinator that lives.
func (c *Cluster) findCoordinator(f *flight, req *kmsg.FindCoordinatorRequest) (message, error) {
	point := func(name string, code *int16, node *int32, host *string, port *int32) {
		if *code != 0 {
			return
		}
		id, ok := c.coordinator(name)
		if !ok {
			*code, *node, *host, *port = kerr.CoordinatorNotAvailable.Code, -1, "", -1
			return
		}
		addr := c.brokers[id].addr
		*node, *host, *port = id, addr.IP.String(), int32(addr.Port)
	}
	then(f, func(r *kmsg.FindCoordinatorResponse) {
		if r.Version <= 3 {
			point(req.CoordinatorKey, &r.ErrorCode, &r.NodeID, &r.Host, &r.Port)
		}
		for i := range r.Coordinators {
			s := &r.Coordinators[i]
			point(s.Key, &s.ErrorCode, &s.NodeID, &s.Host, &s.Port)
		}
	})
	return nil, nil
}

// listTransactions leaves the transactions that a broker coordinates: tools ask all
// brokers, and each broker of the module would return everything.
func (c *Cluster) listTransactions(f *flight, r *kmsg.ListTransactionsResponse) {
	r.TransactionStates = slices.DeleteFunc(r.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
		return c.coordinatorOf(s.TransactionalID) != f.node
	})
}

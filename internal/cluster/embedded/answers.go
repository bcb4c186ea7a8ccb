package embedded

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxPartitions bounds the partitions of one topic that a client may ask for; the
// module would allocate any number.
const maxPartitions = 10_000

// inspected reports whether a request is taken off the socket whole, because it
// is answered here, changed, or needed to read its response.
func inspected(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.AlterUserSCRAMCredentials,
		kmsg.DeleteRecords, kmsg.OffsetForLeaderEpoch, kmsg.FindCoordinator, kmsg.EndTxn, kmsg.TxnOffsetCommit,
		kmsg.ConsumerGroupHeartbeat, kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.InitProducerID, kmsg.IncrementalAlterConfigs,
		kmsg.AlterConfigs, kmsg.Fetch:
		return true
	}
	return false
}

// before sees a request ahead of the module. It returns the frame to hand on, or
// else the reply to give.
func (c *Cluster) before(b *broker, f flight, frame []byte) (_, reply []byte, err error) {
	ctx := context.Background()
	switch req := f.req.(type) {
	case *kmsg.ProduceRequest:
		err := c.rejectProduce()
		if req.Acks == 0 {
			return nil, nil, err // as Kafka does: there is no other way to be heard
		}
		return nil, encodeResponse(f.corr, noRoom(req, err)), nil
	case *kmsg.CreateTopicsRequest:
		if resp := tooManyPartitions(req); resp != nil {
			return nil, encodeResponse(f.corr, resp), nil
		}
		frame = allowedTopics(frame, req)
	case *kmsg.CreatePartitionsRequest:
		if resp := tooManyMore(req); resp != nil {
			return nil, encodeResponse(f.corr, resp), nil
		}
	case *kmsg.FetchRequest:
		return shareLimit(frame, req), nil, nil
	case *kmsg.IncrementalAlterConfigsRequest:
		reply, err := c.alter(ctx, b.id, frame, req)
		return nil, reply, err
	case *kmsg.AlterConfigsRequest:
		return allowedSettings(frame, req), nil, nil
	case *kmsg.OffsetCommitRequest:
		return withoutInstance(frame, req), nil, nil
	case *kmsg.InitProducerIDRequest:
		return c.ownProducer(ctx, f, frame, req)
	case *kmsg.DeleteRecordsRequest:
		return c.keepLast(frame, req), nil, nil
	case *kmsg.EndTxnRequest:
		return frame, nil, c.beginEnd(req)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		return leaveForGood(frame, req), nil, nil
	}
	switch kmsg.Key(f.key) {
	case kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.AlterUserSCRAMCredentials:
		// The module's controller cannot move. While another broker plays that
		// part, what only the controller may do is passed on to it.
		if b.id == c.controllerID() && b.id != moduleController {
			reply, err = c.relay(ctx, moduleController, frame)
			return nil, reply, err
		}
	}
	return frame, nil, nil
}

func tooManyPartitions(req *kmsg.CreateTopicsRequest) kmsg.Response {
	if !slices.ContainsFunc(req.Topics, func(t kmsg.CreateTopicsRequestTopic) bool {
		return t.NumPartitions > maxPartitions || len(t.ReplicaAssignment) > maxPartitions
	}) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, t := range req.Topics {
		st := kmsg.NewCreateTopicsResponseTopic()
		st.Topic = t.Topic
		st.ErrorCode = kerr.InvalidPartitions.Code
		st.ErrorMessage = kmsg.StringPtr("more than 10000 partitions")
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func tooManyMore(req *kmsg.CreatePartitionsRequest) kmsg.Response {
	if !slices.ContainsFunc(req.Topics, func(t kmsg.CreatePartitionsRequestTopic) bool { return t.Count > maxPartitions }) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	for _, t := range req.Topics {
		st := kmsg.NewCreatePartitionsResponseTopic()
		st.Topic = t.Topic
		st.ErrorCode = kerr.InvalidPartitions.Code
		st.ErrorMessage = kmsg.StringPtr("more than 10000 partitions")
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

// The epochs with which a member of the new group protocol leaves (KIP-848).
const (
	epochLeaves      = -1
	epochStaticLeave = -2 // a static member that is to come back
)

// leaveForGood makes of a static member that leaves for a while one that leaves. The
// module would keep its partitions for it without end, and its rebalances meanwhile
// would assign them to others, too.
func leaveForGood(frame []byte, req *kmsg.ConsumerGroupHeartbeatRequest) []byte {
	if req.MemberEpoch != epochStaticLeave {
		return frame
	}
	leave := *req // what was asked for stays for the answer
	leave.MemberEpoch = epochLeaves
	return replaceBody(frame, &leave)
}

// answerHeartbeat answers a static member that left for a while as one.
func answerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) {
	if r.ErrorCode == 0 && req.MemberEpoch == epochStaticLeave {
		r.MemberEpoch = epochStaticLeave
	}
}

// keepLast lowers a request to delete everything to everything but the last
// record: a partition with nothing in it starts again at offset 0 after a
// restart, below what consumers have committed.
// One below the log's start, which the module refuses and Kafka answers with
// the start, becomes one to the start.
func (c *Cluster) keepLast(frame []byte, req *kmsg.DeleteRecordsRequest) []byte {
	changed := false
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			info := c.partitionInfo(partition{t.Topic, p.Partition})
			if info == nil || info.HighWatermark == 0 || info.LogStartOffset >= info.HighWatermark {
				continue
			}
			if p.Offset >= 0 && p.Offset < info.LogStartOffset {
				p.Offset = info.LogStartOffset
				changed = true
			}
			if p.Offset == -1 || p.Offset == info.HighWatermark {
				p.Offset = info.HighWatermark - 1
				changed = true
			}
		}
	}
	if !changed {
		return frame
	}
	return replaceBody(frame, req)
}

func (c *Cluster) partitionInfo(p partition) *kfake.PartitionInfo {
	var info *kfake.PartitionInfo
	_ = c.module(func(k *kfake.Cluster) error {
		info = k.PartitionInfo(p.topic, p.id)
		return nil
	})
	return info
}

// after sees a response frame ahead of the client and returns what to send.
func (c *Cluster) after(f flight, frame []byte) []byte {
	ctx := context.Background()
	switch kmsg.Key(f.key) {
	case kmsg.CreateTopics, kmsg.CreatePartitions, kmsg.DeleteTopics, kmsg.ElectLeaders, kmsg.AlterPartitionAssignments:
		// Before the client hears of its topic, so that it never sees the leaders move.
		if err := c.settle(ctx); err != nil {
			c.log.Warn("place leaders", "error", err)
		}
	case kmsg.EndTxn:
		c.finishEnd(f.req.(*kmsg.EndTxnRequest))
		return frame
	case kmsg.TxnOffsetCommit:
		c.stageOffsets(f, frame)
		return frame
	}
	change := c.change(ctx, f)
	if change == nil {
		return frame
	}
	resp := kmsg.ResponseForKey(f.key)
	resp.SetVersion(f.version)
	if len(frame) > 10 && f.key == int16(kmsg.ApiVersions) && int16(binary.BigEndian.Uint16(frame[8:])) == kerr.UnsupportedVersion.Code {
		resp.SetVersion(0) // the version that every client can read
	}
	if err := decodeResponse(frame, resp); err != nil {
		c.log.Warn("read own response", "key", f.key, "version", f.version, "error", err)
		return frame
	}
	change(resp)
	return encodeResponse(int32(binary.BigEndian.Uint32(frame[4:])), resp)
}

// change returns what is done to the response to f; nil leaves it alone.
func (c *Cluster) change(ctx context.Context, f flight) func(kmsg.Response) {
	switch kmsg.Key(f.key) {
	case kmsg.CreateTopics:
		return func(r kmsg.Response) {
			answerCreateTopics(f.req.(*kmsg.CreateTopicsRequest), r.(*kmsg.CreateTopicsResponse))
		}
	case kmsg.IncrementalAlterConfigs:
		return func(r kmsg.Response) {
			answerAlter(f.req.(*kmsg.IncrementalAlterConfigsRequest), r.(*kmsg.IncrementalAlterConfigsResponse))
		}
	case kmsg.AlterConfigs:
		return func(r kmsg.Response) {
			answerAlterAll(f.req.(*kmsg.AlterConfigsRequest), r.(*kmsg.AlterConfigsResponse))
		}
	case kmsg.ConsumerGroupHeartbeat:
		return func(r kmsg.Response) {
			answerHeartbeat(f.req.(*kmsg.ConsumerGroupHeartbeatRequest), r.(*kmsg.ConsumerGroupHeartbeatResponse))
		}
	case kmsg.ApiVersions:
		return func(r kmsg.Response) { limitVersions(r.(*kmsg.ApiVersionsResponse)) }
	case kmsg.Metadata:
		return func(r kmsg.Response) { c.answerMetadata(r.(*kmsg.MetadataResponse)) }
	case kmsg.DescribeCluster:
		return func(r kmsg.Response) { c.answerDescribeCluster(r.(*kmsg.DescribeClusterResponse)) }
	case kmsg.DescribeTopicPartitions:
		return func(r kmsg.Response) { c.answerDescribePartitions(r.(*kmsg.DescribeTopicPartitionsResponse)) }
	case kmsg.FindCoordinator:
		return func(r kmsg.Response) {
			c.answerFindCoordinator(ctx, f.req.(*kmsg.FindCoordinatorRequest), r.(*kmsg.FindCoordinatorResponse))
		}
	case kmsg.OffsetFetch:
		return func(r kmsg.Response) {
			c.answerOffsetFetch(ctx, f.req.(*kmsg.OffsetFetchRequest), r.(*kmsg.OffsetFetchResponse))
		}
	case kmsg.OffsetForLeaderEpoch:
		return func(r kmsg.Response) {
			c.answerEpochEnd(f.req.(*kmsg.OffsetForLeaderEpochRequest), r.(*kmsg.OffsetForLeaderEpochResponse))
		}
	case kmsg.ListTransactions:
		return func(r kmsg.Response) { c.answerListTransactions(f.node, r.(*kmsg.ListTransactionsResponse)) }
	case kmsg.DescribeLogDirs:
		return func(r kmsg.Response) { c.answerLogDirs(r.(*kmsg.DescribeLogDirsResponse)) }
	}
	return nil
}

// allowedTopics leaves out the topics whose names or settings Kafka does not allow; the
// module would create them, and they could not exist on any other cluster.
func allowedTopics(frame []byte, req *kmsg.CreateTopicsRequest) []byte {
	refused := func(t kmsg.CreateTopicsRequestTopic) bool { _, code := refusal(t); return code != 0 }
	if !slices.ContainsFunc(req.Topics, refused) {
		return frame
	}
	rest := *req // what was asked for stays for the answer
	rest.Topics = slices.DeleteFunc(slices.Clone(req.Topics), refused)
	return replaceBody(frame, &rest)
}

// refusal says why Kafka would not create a topic, with the error's code; code 0 where
// neither name nor settings are wrong.
func refusal(t kmsg.CreateTopicsRequestTopic) (why string, code int16) {
	if illNamed(t) {
		return "a topic's name is 1 to 249 letters, digits, dots, underscores and hyphens, and not . or ..", kerr.InvalidTopicException.Code
	}
	for _, s := range t.Configs {
		if why := badSetting(s.Name, s.Value); why != "" {
			return why, kerr.InvalidConfig.Code
		}
	}
	return "", 0
}

// illNamed reports whether a name is none for Kafka: empty, longer than 249
// characters, "." or "..", or with others than letters, digits, dots, underscores
// and hyphens in it.
func illNamed(t kmsg.CreateTopicsRequestTopic) bool {
	return t.Topic == "" || t.Topic == "." || t.Topic == ".." || len(t.Topic) > 249 || strings.ContainsFunc(t.Topic, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// answerCreateTopics answers for the topics that were left out. It lists no
// configuration where the module says null, and says that the settings of the request are
// the topic's own, where the module says no source (-1): the protocol allows the first,
// and Java's admin client fails on either.
func answerCreateTopics(req *kmsg.CreateTopicsRequest, r *kmsg.CreateTopicsResponse) {
	for _, t := range req.Topics {
		if why, code := refusal(t); code != 0 && !slices.ContainsFunc(r.Topics, func(o kmsg.CreateTopicsResponseTopic) bool { return o.Topic == t.Topic }) {
			st := kmsg.NewCreateTopicsResponseTopic()
			st.Topic, st.ErrorCode, st.ErrorMessage = t.Topic, code, &why
			r.Topics = append(r.Topics, st)
		}
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Configs == nil && t.ErrorCode == 0 {
			t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		}
		for j := range t.Configs {
			t.Configs[j].Source = int8(kmsg.ConfigSourceDynamicTopicConfig)
		}
	}
}

// limitVersions offers what is served: Produce up to the version that is safe, and no
// telemetry. The module answers each request for a subscription with a new client
// instance, which librdkafka reports as an error on every run.
func limitVersions(r *kmsg.ApiVersionsResponse) {
	r.ApiKeys = slices.DeleteFunc(r.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == int16(kmsg.GetTelemetrySubscriptions) || k.ApiKey == int16(kmsg.PushTelemetry)
	})
	for i := range r.ApiKeys {
		if k := &r.ApiKeys[i]; k.ApiKey == int16(kmsg.Produce) {
			k.MaxVersion = min(k.MaxVersion, maxProduceVersion)
		}
	}
}

// answerMetadata tells what a real cluster would: only live brokers, the acting
// controller, replicas in a fixed order with the preferred leader first, and dead
// brokers out of the in-sync set. The module knows no dead brokers and would send
// clients to them.
func (c *Cluster) answerMetadata(r *kmsg.MetadataResponse) {
	r.ControllerID = c.controllerID()
	r.Brokers = slices.DeleteFunc(r.Brokers, func(b kmsg.MetadataResponseBroker) bool { return c.dead(b.NodeID) })
	for i := range r.Brokers {
		r.Brokers[i].Rack = nil
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic == nil {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if c.dead(p.Leader) && p.ErrorCode == 0 {
				p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
			}
			p.Replicas, p.ISR, p.OfflineReplicas = c.replicas(partition{*t.Topic, p.Partition}, p.Leader, p.Replicas)
		}
	}
}

func (c *Cluster) answerDescribeCluster(r *kmsg.DescribeClusterResponse) {
	r.ControllerID = c.controllerID()
	r.Brokers = slices.DeleteFunc(r.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return c.dead(b.NodeID) })
	for i := range r.Brokers {
		r.Brokers[i].Rack = nil
	}
}

func (c *Cluster) answerDescribePartitions(r *kmsg.DescribeTopicPartitionsResponse) {
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic == nil {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Replicas, p.ISR, p.OfflineReplicas = c.replicas(partition{*t.Topic, p.Partition}, p.LeaderID, p.Replicas)
			// The protocol allows null here, and Java's admin client dies of it.
			p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
		}
	}
}

func (c *Cluster) dead(id int32) bool {
	return id >= 0 && int(id) < len(c.brokers) && !c.brokers[id].alive()
}

// replicas returns the simulated replicas of a partition. said is the module's
// answer, which begins with the leader and so changes with it.
func (c *Cluster) replicas(p partition, leader int32, said []int32) (all, inSync, offline []int32) {
	all = said
	if pref, ok := c.preferredOf(p); ok && len(said) > 0 {
		all = make([]int32, 0, len(said))
		for i := range said {
			all = append(all, (pref+int32(i))%Size)
		}
		if leader >= 0 && !slices.Contains(all, leader) {
			// Fewer replicas than brokers, and they died: there is one copy, so
			// another broker leads, and is a replica from then on.
			all[len(all)-1] = leader
		}
	}
	for _, id := range all {
		if c.dead(id) {
			offline = append(offline, id)
		} else {
			inSync = append(inSync, id)
		}
	}
	return all, inSync, offline
}

func (c *Cluster) answerFindCoordinator(ctx context.Context, req *kmsg.FindCoordinatorRequest, r *kmsg.FindCoordinatorResponse) {
	point := func(name string, code *int16, node *int32, host *string, port *int32) {
		if *code != 0 {
			return
		}
		id, ok := c.coordinator(ctx, name)
		if !ok {
			*code, *node, *host, *port = kerr.CoordinatorNotAvailable.Code, -1, "", -1
			return
		}
		addr := c.brokers[id].addr
		*node, *host, *port = id, addr.IP.String(), int32(addr.Port)
	}
	if r.Version <= 3 {
		point(req.CoordinatorKey, &r.ErrorCode, &r.NodeID, &r.Host, &r.Port)
		return
	}
	for i := range r.Coordinators {
		s := &r.Coordinators[i]
		point(s.Key, &s.ErrorCode, &s.NodeID, &s.Host, &s.Port)
	}
}

// answerListTransactions leaves what a broker coordinates: tools ask all of them,
// and the module's brokers would each tell of everything.
func (c *Cluster) answerListTransactions(node int32, r *kmsg.ListTransactionsResponse) {
	r.TransactionStates = slices.DeleteFunc(r.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
		return c.coordinatorOf(s.TransactionalID) != node
	})
}

// answerEpochEnd corrects where an epoch ends. The module searches the epochs of
// the batches, so when the leader moved and nothing was written since, it knows
// no end for the epoch before (-1), and for a partition whose records are all
// deleted it says 0. Clients take either for lost data and start over at the
// beginning. With one log shared by all brokers nothing is ever cut off: such an
// epoch ends at the high watermark.
func (c *Cluster) answerEpochEnd(req *kmsg.OffsetForLeaderEpochRequest, r *kmsg.OffsetForLeaderEpochResponse) {
	asked := make(map[partition]int32)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			asked[partition{t.Topic, p.Partition}] = p.LeaderEpoch
		}
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			name := partition{t.Topic, p.Partition}
			epoch, ok := asked[name]
			if !ok || p.ErrorCode != 0 || p.EndOffset > 0 {
				continue
			}
			info := c.partitionInfo(name)
			if info == nil || epoch > info.Epoch {
				continue
			}
			if p.EndOffset < 0 || info.LogStartOffset == info.HighWatermark {
				p.LeaderEpoch, p.EndOffset = epoch, info.HighWatermark
			}
		}
	}
}

package embedded

import (
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// message is a kmsg.Request or a kmsg.Response.
type message interface{ Key() int16 }

// requestRewrite sees a decoded request before the module, and may change it. It returns
// nil to pass it on as it arrived, the changed request, or the response to give instead.
// An error ends the connection.
type requestRewrite func(c *Cluster, f *flight) (message, error)

// responseRewrite changes a response before the client sees it.
type responseRewrite func(c *Cluster, f *flight, resp kmsg.Response)

// requests are the kinds of requests that differ from what the module understands, or
// that are needed to correct its response. They are taken off the socket whole.
var requests = map[kmsg.Key]requestRewrite{
	kmsg.CreateTopics:              onRequest((*Cluster).createTopics),
	kmsg.CreatePartitions:          onRequest((*Cluster).createPartitions),
	kmsg.DeleteTopics:              passOn,
	kmsg.AlterUserSCRAMCredentials: passOn,
	kmsg.DescribeConfigs:           onRequest((*Cluster).describeConfigs),
	kmsg.AlterConfigs:              onRequest((*Cluster).alterConfigs),
	kmsg.IncrementalAlterConfigs:   onRequest((*Cluster).incrementalAlterConfigs),
	kmsg.Fetch:                     onRequest((*Cluster).fetch),
	kmsg.ListOffsets:               onRequest((*Cluster).listOffsets),
	kmsg.DeleteRecords:             onRequest((*Cluster).deleteRecords),
	kmsg.OffsetForLeaderEpoch:      onRequest((*Cluster).offsetForLeaderEpoch),
	kmsg.FindCoordinator:           onRequest((*Cluster).findCoordinator),
	kmsg.ConsumerGroupHeartbeat:    onRequest((*Cluster).consumerGroupHeartbeat),
	kmsg.OffsetCommit:              onRequest((*Cluster).offsetCommit),
	kmsg.OffsetFetch:               onRequest((*Cluster).offsetFetch),
	kmsg.OffsetDelete:              onRequest((*Cluster).offsetDelete),
	kmsg.InitProducerID:            onRequest((*Cluster).initProducerID),
	kmsg.TxnOffsetCommit:           onRequest((*Cluster).txnOffsetCommit),
	kmsg.EndTxn:                    onRequest((*Cluster).endTxn),
}

// responses are the kinds of responses that are corrected whatever the request was.
var responses = map[kmsg.Key]responseRewrite{
	kmsg.ApiVersions:             onResponse((*Cluster).apiVersions),
	kmsg.Metadata:                onResponse((*Cluster).metadata),
	kmsg.DescribeCluster:         onResponse((*Cluster).describeCluster),
	kmsg.DescribeTopicPartitions: onResponse((*Cluster).describeTopicPartitions),
	kmsg.ListTransactions:        onResponse((*Cluster).listTransactions),
	kmsg.DescribeLogDirs:         onResponse((*Cluster).describeLogDirs),
	kmsg.DeleteTopics:            onResponse((*Cluster).deletedTopics),
}

func onRequest[Q kmsg.Request](fn func(*Cluster, *flight, Q) (message, error)) requestRewrite {
	return func(c *Cluster, f *flight) (message, error) { return fn(c, f, f.req.(Q)) }
}

func onResponse[R kmsg.Response](fn func(*Cluster, *flight, R)) responseRewrite {
	return func(c *Cluster, f *flight, resp kmsg.Response) { fn(c, f, resp.(R)) }
}

func passOn(*Cluster, *flight) (message, error) { return nil, nil }

// then notes how to change the response to a request.
func then[R kmsg.Response](f *flight, fn func(R)) {
	f.then = func(resp kmsg.Response) { fn(resp.(R)) }
}

// before sees a request ahead of the module. It returns the frame to hand on, or
// else the reply to give.
func (c *Cluster) before(b *broker, f *flight, frame []byte) (pass, reply []byte, err error) {
	var out message
	if req, ok := f.req.(*kmsg.ProduceRequest); ok { // only when the disk is full
		no := c.rejectProduce()
		if req.Acks == 0 {
			return nil, nil, no // as Kafka does: the client has no other way to notice
		}
		out = produceRefusal(req, no)
	} else if out, err = requests[kmsg.Key(f.key)](c, f); err != nil {
		return nil, nil, err
	}
	switch kmsg.Key(f.key) {
	case kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.AlterUserSCRAMCredentials:
		// The module's controller cannot move. While another broker plays that
		// part, requests that only the controller may answer are passed on to it.
		_, answered := out.(kmsg.Response)
		if !answered && b.id == c.controllerID() && b.id != moduleController {
			if out, err = rpc[kmsg.Response](context.Background(), c, moduleController, f.req); err != nil {
				return nil, nil, err
			}
		}
	}
	switch out := out.(type) {
	case kmsg.Request:
		return replaceBody(frame, out), nil, nil
	case kmsg.Response:
		return nil, encodeResponse(f.corr, out), nil
	}
	return frame, nil, nil
}

// after sees a response frame ahead of the client and returns what to send.
func (c *Cluster) after(f flight, frame []byte) []byte {
	switch kmsg.Key(f.key) {
	case kmsg.CreateTopics, kmsg.CreatePartitions, kmsg.DeleteTopics, kmsg.ElectLeaders, kmsg.AlterPartitionAssignments:
		// Before the client hears of its topic, so that it never sees the leaders move.
		if err := c.settle(context.Background()); err != nil {
			c.log.Warn("place leaders", "error", err)
		}
	}
	if f.key == int16(kmsg.Fetch) {
		return c.fetched(&f, frame)
	}
	rewrite := responses[kmsg.Key(f.key)]
	if rewrite == nil && f.then == nil {
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
	if rewrite != nil {
		rewrite(c, &f, resp)
	} else {
		f.then(resp)
	}
	return encodeResponse(f.corr, resp)
}

const (
	// fairShare is what a partition may always return: no batch of a topic with the
	// default max.message.bytes is larger, so none waits for ever.
	fairShare = 1<<20 + 4<<10
	// maxFetched bounds a response in which every partition returns its fair share. It
	// is below the 100 MB that librdkafka and franz-go accept.
	maxFetched = 90 << 20
)

// fetch turns the limit of bytes of a whole Fetch into limits of its partitions. When the
// module reaches the former in the middle of a partition it stops without listing the
// partition's aborted transactions, and the client delivers aborted records as committed.
// Its limit for a partition does not have this fault.
func (c *Cluster) fetch(_ *flight, req *kmsg.FetchRequest) (message, error) {
	n := 0
	for _, t := range req.Topics {
		n += len(t.Partitions)
	}
	if n > 0 {
		share := max(req.MaxBytes/int32(n), min(fairShare, c.cfg.maxFetched/int32(n)), 1)
		for i := range req.Topics {
			parts := req.Topics[i].Partitions
			for j := range parts {
				parts[j].PartitionMaxBytes = min(parts[j].PartitionMaxBytes, share)
			}
		}
	}
	req.MaxBytes = math.MaxInt32
	return req, nil
}

// deleteRecords lowers a request to delete everything to everything but the last record:
// an empty partition starts again at offset 0 after a restart, below the committed offsets
// of consumers. An offset below the log's start, which the module rejects and Kafka
// answers with the start, becomes the start. Where the cleanup policy does not have delete,
// Kafka leaves the records to compaction; the module would delete them.
func (c *Cluster) deleteRecords(f *flight, req *kmsg.DeleteRecordsRequest) (message, error) {
	policies, err := c.policies(f.node, req)
	if err != nil {
		return nil, err
	}
	out := takeOut(&req.Topics, func(t kmsg.DeleteRecordsRequestTopic) *refusal {
		if p, ok := policies[t.Topic]; ok && !strings.Contains(p, "delete") {
			return &refusal{code: kerr.PolicyViolation.Code}
		}
		return nil
	}, func(t kmsg.DeleteRecordsRequestTopic, no *refusal) kmsg.DeleteRecordsResponseTopic {
		st := kmsg.DeleteRecordsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			st.Partitions = append(st.Partitions, kmsg.DeleteRecordsResponseTopicPartition{
				Partition: p.Partition, LowWatermark: -1, ErrorCode: no.code})
		}
		return st
	})
	asked := make(map[partition]int64)
	then(f, func(r *kmsg.DeleteRecordsResponse) {
		c.deletedRecords(asked, r)
		r.Topics = append(r.Topics, out...)
	})
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			name := partition{t.Topic, p.Partition}
			info := c.partitionInfo(name)
			if info == nil || info.HighWatermark == 0 || info.LogStartOffset >= info.HighWatermark {
				continue
			}
			if p.Offset == -1 || p.Offset == info.HighWatermark {
				p.Offset = info.HighWatermark - 1
			}
			if p.Offset < 0 {
				continue
			}
			asked[name] = p.Offset
			p.Offset = max(p.Offset, info.LogStartOffset)
			if p.Offset < info.HighWatermark && info.Leader == f.node && !c.deleteFirst(name, asked[name], info.LogStartOffset) {
				asked[name], p.Offset = notDeleted, info.LogStartOffset
			}
		}
	}
	return req, nil
}

// notDeleted marks a partition whose records could not be deleted from the archive.
const notDeleted = -2

// deleteFirst does before the module deletes what a death must find done: otherwise records that
// were deleted would be there again. It reports whether the module may delete.
func (c *Cluster) deleteFirst(p partition, to, hot int64) bool {
	if c.archive == nil {
		return true
	}
	c.archive.touch(p.topic, uuid{})
	err := c.archive.deleteTo(p, to)
	if err == nil && to > hot {
		err = c.archive.saveStart(c.dir.file(filepath.Dir(segmentPath(p.topic, p.id, 0))), to)
	}
	if err != nil {
		c.log.Warn("delete records", "topic", p.topic, "partition", p.id, "to", to, "error", err)
	}
	return err == nil
}

// deletedRecords deletes from the archive what the module has agreed to delete.
func (c *Cluster) deletedRecords(asked map[partition]int64, r *kmsg.DeleteRecordsResponse) {
	each(r.Topics, func(t *kmsg.DeleteRecordsResponseTopic) []kmsg.DeleteRecordsResponseTopicPartition {
		return t.Partitions
	},
		func(t *kmsg.DeleteRecordsResponseTopic, rp *kmsg.DeleteRecordsResponseTopicPartition) {
			p := partition{t.Topic, rp.Partition}
			to, ok := asked[p]
			if ok && rp.ErrorCode == kerr.OffsetOutOfRange.Code {
				// The module begins later now: what was before has been archived meanwhile.
				if info := c.partitionInfo(p); info != nil && to < info.LogStartOffset {
					rp.ErrorCode, rp.LowWatermark = 0, info.LogStartOffset
				}
			}
			if rp.ErrorCode != 0 || !ok {
				return
			}
			if c.archive != nil {
				c.archive.touch(p.topic, uuid{}) // a pass may have begun since
			}
			// Again: it may have been archived meanwhile.
			if to == notDeleted || c.archive.deleteTo(p, to) != nil {
				rp.ErrorCode, rp.LowWatermark = kerr.KafkaStorageError.Code, -1
			} else if start, _, still := c.archive.bounds(p); still {
				rp.LowWatermark = start
			}
		})
}

// each calls a function with each partition of the topics of a response.
func each[T, P any](topics []T, parts func(*T) []P, do func(*T, *P)) {
	for i := range topics {
		t := &topics[i]
		for j := range parts(t) {
			do(t, &parts(t)[j])
		}
	}
}

// policies returns the cleanup policies of the topics whose records are to be deleted.
func (c *Cluster) policies(node int32, req *kmsg.DeleteRecordsRequest) (map[string]string, error) {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	configs, err := c.topicConfigs(context.Background(), node, names)
	policies := make(map[string]string, len(configs))
	for topic, values := range configs {
		policies[topic] = values[cleanupPolicy]
	}
	return policies, err
}

func (c *Cluster) partitionInfo(p partition) *kfake.PartitionInfo {
	var info *kfake.PartitionInfo
	_ = c.module(func(k *kfake.Cluster) error {
		info = k.PartitionInfo(p.topic, p.id)
		return nil
	})
	return info
}

// offsetForLeaderEpoch corrects where an epoch ends. The module searches the epochs of
// the batches, so when the leader moved and nothing was written since, it knows
// no end for the epoch before (-1), and for a partition whose records are all
// deleted it says 0. Clients take either for lost data and start over at the
// beginning. With one log shared by all brokers nothing is ever cut off: such an
// epoch ends at the high watermark.
func (c *Cluster) offsetForLeaderEpoch(f *flight, req *kmsg.OffsetForLeaderEpochRequest) (message, error) {
	asked := make(map[partition]int32)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			asked[partition{t.Topic, p.Partition}] = p.LeaderEpoch
		}
	}
	then(f, func(r *kmsg.OffsetForLeaderEpochResponse) {
		each(r.Topics, func(t *kmsg.OffsetForLeaderEpochResponseTopic) []kmsg.OffsetForLeaderEpochResponseTopicPartition {
			return t.Partitions
		},
			func(t *kmsg.OffsetForLeaderEpochResponseTopic, p *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
				name := partition{t.Topic, p.Partition}
				epoch, ok := asked[name]
				if !ok || p.ErrorCode != 0 || p.EndOffset > 0 {
					return
				}
				info := c.partitionInfo(name)
				if info != nil && epoch <= info.Epoch && (p.EndOffset < 0 || info.LogStartOffset == info.HighWatermark) {
					p.LeaderEpoch, p.EndOffset = epoch, info.HighWatermark
				}
			})
	})
	return nil, nil
}

package embedded

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
)

// zstdVersion is the first version of Fetch whose clients know zstd. Kafka refuses the
// others with the same error.
const zstdVersion = 10

// decompressor decompresses what weir's consumers do. A larger batch stays with the module, which
// passes it on as it is.
var decompressor = scan.NewDecompressor(scan.MaxBatch)

// fetched completes the response to a Fetch with what is archived: it puts batches where the
// module knows nothing of an offset, and says where the log begins.
func (c *Cluster) fetched(f *flight, frame []byte) []byte {
	if c.archive.empty() {
		return frame
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(f.version)
	if err := decodeResponse(frame, resp); err != nil {
		c.log.Warn("read own response", "key", f.key, "version", f.version, "error", err)
		return frame
	}
	req := f.req.(*kmsg.FetchRequest)
	changed, left := false, int(c.cfg.maxFetched)
	for i := range resp.Topics {
		for _, rp := range resp.Topics[i].Partitions {
			left -= len(rp.RecordBatches)
		}
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		topic := t.Topic
		if topic == "" {
			topic = c.archive.topic(t.TopicID)
		}
		for j := range t.Partitions {
			rp := &t.Partitions[j]
			p := partition{topic, rp.Partition}
			start, _, ok := c.archive.bounds(p)
			if !ok {
				continue
			}
			switch rp.ErrorCode {
			case 0:
				rp.LogStartOffset = start
				changed = true
			case kerr.OffsetOutOfRange.Code:
				asked := askedOf(req, t.Topic, t.TopicID, rp.Partition)
				if asked == nil {
					// The offset is in the fetch session alone: end that, and the client lists it.
					return encodeResponse(f.corr, &kmsg.FetchResponse{Version: f.version, ErrorCode: kerr.FetchSessionIDNotFound.Code})
				}
				if asked.FetchOffset >= start && c.fetchOld(p, rp, asked, f) {
					changed = true
					// A batch may be larger than the partition's share. Where all of them would
					// be too much for a client it gets the others with its next request.
					if len(rp.RecordBatches) > left && left < int(c.cfg.maxFetched) {
						rp.RecordBatches, rp.AbortedTransactions = nil, nil
					}
					left -= len(rp.RecordBatches)
				}
			}
		}
	}
	if !changed {
		return frame
	}
	return encodeResponse(f.corr, resp)
}

// askedOf returns what a request asks of a partition; nil where it leaves that to its fetch session.
func askedOf(req *kmsg.FetchRequest, topic string, id uuid, part int32) *kmsg.FetchRequestTopicPartition {
	for i := range req.Topics {
		t := &req.Topics[i]
		if t.TopicID != id || req.Version < 13 && t.Topic != topic {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == part {
				return &t.Partitions[j]
			}
		}
	}
	return nil
}

// fetchOld answers for a partition whose offset the module does not have.
func (c *Cluster) fetchOld(p partition, rp *kmsg.FetchResponseTopicPartition, asked *kmsg.FetchRequestTopicPartition, f *flight) bool {
	info := c.partitionInfo(p)
	if info == nil || asked.FetchOffset >= info.HighWatermark {
		return false
	}
	if f.version < zstdVersion {
		rp.ErrorCode = kerr.UnsupportedCompressionType.Code
		return true
	}
	start, _, _ := c.archive.bounds(p)
	raw, err := c.archive.read(p, asked.FetchOffset, int(asked.PartitionMaxBytes))
	if err != nil { // the client asks again
		rp.ErrorCode = kerr.KafkaStorageError.Code
		return true
	}
	if raw == nil { // damage: what follows it
		if start, _, ok := c.archive.bounds(p); ok && asked.FetchOffset < start {
			return false // deleted meanwhile
		}
		next, err := fetchOne(context.Background(), c, f.node, p, c.archive.idOf(p), max(info.LogStartOffset, asked.FetchOffset))
		if err != nil || next.ErrorCode != 0 {
			return false
		}
		raw, rp.AbortedTransactions = next.RecordBatches, next.AbortedTransactions
	}
	rp.ErrorCode, rp.RecordBatches = 0, raw
	rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = info.HighWatermark, info.LastStableOffset, start
	return true
}

// listOffsets answers for what is archived: where a log begins, and the first record of a time.
func (c *Cluster) listOffsets(f *flight, req *kmsg.ListOffsetsRequest) (message, error) {
	if c.archive.empty() {
		return nil, nil
	}
	asked := make(map[partition]int64)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			asked[partition{t.Topic, p.Partition}] = p.Timestamp
		}
	}
	then(f, func(r *kmsg.ListOffsetsResponse) {
		each(r.Topics, func(t *kmsg.ListOffsetsResponseTopic) []kmsg.ListOffsetsResponseTopicPartition { return t.Partitions },
			func(t *kmsg.ListOffsetsResponseTopic, rp *kmsg.ListOffsetsResponseTopicPartition) {
				if p := (partition{t.Topic, rp.Partition}); rp.ErrorCode == 0 {
					c.archive.list(p, asked[p], rp)
				}
			})
	})
	return nil, nil
}

// The special time stamps of a ListOffsets request.
const (
	askEarliest = -2
	askMaxTime  = -3
)

// list corrects the module's answer for a partition.
func (a *archive) list(p partition, at int64, rp *kmsg.ListOffsetsResponseTopicPartition) {
	start, _, ok := a.bounds(p)
	switch {
	case !ok:
	case at == askEarliest:
		rp.Offset, rp.LeaderEpoch = start, a.epochAt(p, start)
		if rp.OldStyleOffsets != nil {
			rp.OldStyleOffsets = []int64{start}
		}
	case at == askMaxTime:
		if latest := a.latest(p); latest >= rp.Timestamp {
			a.find(p, latest, rp)
		}
	case at >= 0:
		a.find(p, at, rp)
	}
}

// latest is the greatest time stamp of what is archived of a partition, in milliseconds.
func (a *archive) latest(p partition) int64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	latest := int64(-1)
	if part := a.parts[p]; part != nil {
		for _, f := range part.files {
			latest = max(latest, f.latest)
		}
	}
	return latest
}

// epochAt is the leader epoch of the batch at an offset.
func (a *archive) epochAt(p partition, offset int64) int32 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if part := a.parts[p]; part != nil {
		for _, f := range part.files {
			for _, b := range f.batches {
				if b.end > offset {
					return b.epoch
				}
			}
		}
	}
	return -1
}

// find looks for the first record that is as young as a time stamp, and leaves rp alone if
// there is none.
func (a *archive) find(p partition, at int64, rp *kmsg.ListOffsetsResponseTopicPartition) {
	start, end, ok := a.bounds(p)
	if first := a.firstRecord(p); first != nil && at <= first.at {
		rp.Offset, rp.Timestamp, rp.LeaderEpoch = first.offset, first.at, first.epoch
		return
	}
	for next := start; ok && next < end; {
		b, found := a.reaching(p, next, at)
		if !found {
			return
		}
		raw, err := a.read(p, max(b.first, start), 0)
		if err != nil {
			rp.ErrorCode = kerr.KafkaStorageError.Code
		}
		if raw == nil {
			return
		}
		got, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: p.topic, Partition: p.id, Offset: start},
			&kmsg.FetchResponseTopicPartition{RecordBatches: raw}, decompressor, nil)
		if b.first <= start && len(got.Records) > 0 {
			a.keepFirst(p, start, got.Records[0])
		}
		for _, r := range got.Records {
			if r.Timestamp.UnixMilli() >= at {
				rp.Offset, rp.Timestamp, rp.LeaderEpoch = r.Offset, r.Timestamp.UnixMilli(), r.LeaderEpoch
				return
			}
		}
		next = max(after, b.end) // what was young enough is deleted, or damaged
	}
}

// firstRecord returns the first record of a partition, if that is known: a page that shows how far
// back topics reach asks for it all the time.
func (a *archive) firstRecord(p partition) *firstRecord {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if part := a.parts[p]; part != nil && part.first != nil && part.first.start == part.start {
		return part.first
	}
	return nil
}

func (a *archive) keepFirst(p partition, start int64, r *kgo.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if part := a.parts[p]; part != nil {
		part.first = &firstRecord{start, r.Offset, r.Timestamp.UnixMilli(), r.LeaderEpoch}
	}
}

// reaching returns the first batch from an offset on that has a record as young as a time stamp.
func (a *archive) reaching(p partition, from, at int64) (archivedBatch, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if part := a.parts[p]; part != nil {
		for _, f := range part.files {
			if f.latest < at || f.end() <= from {
				continue
			}
			for _, b := range f.batches {
				if b.end > from && b.latest >= at {
					return b, true
				}
			}
		}
	}
	return archivedBatch{}, false
}

// deletedTopics deletes what is archived of topics, before the client hears that they are gone.
func (c *Cluster) deletedTopics(_ *flight, r *kmsg.DeleteTopicsResponse) {
	if c.archive == nil {
		return
	}
	for _, t := range r.Topics {
		if t.ErrorCode != 0 {
			continue
		}
		topic := ""
		if t.Topic != nil {
			topic = *t.Topic
		}
		c.archive.touch(topic, t.TopicID)
		if err := c.archive.drop(func(name string, id uuid) bool { return name == topic || id == t.TopicID }); err != nil {
			c.log.Warn("delete what is archived of a topic", "topic", topic, "error", err)
		}
	}
}

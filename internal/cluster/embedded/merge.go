package embedded

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/crash"
)

const (
	// mergedBytes is how many bytes of records, before compression, a merged batch holds; a
	// larger record is alone in one.
	mergedBytes = 1 << 20
	// maxMerged bounds what one pass reads of a partition, so that the work is spread over time. Aborted
	// records before the first committed one do not count: a pass that reads them alone makes no progress.
	maxMerged = 32 << 20
	// leastHot and mostHot bound how many batches the module keeps of a partition that is archived.
	leastHot, mostHot = 50, 20_000
	// attrLogAppendTime says that the broker set the time stamp.
	attrLogAppendTime = 0x08
)

// archiveOld moves the older part of a partition from the module to the archive when it has
// many batches. Compacted topics stay: their old records are looked for by key.
func (c *Cluster) archiveOld(ctx context.Context, p *retained, hot int64) error {
	if c.archive == nil || p.policy.compact || c.archive.trouble.rests() {
		return nil
	}
	_, end, ok := c.archive.bounds(p.partition)
	if ok && end > p.hot { // a death came between writing and deleting
		if err := c.moveOld(p, end, nil); err != nil || p.hot != end {
			return err
		}
	}
	to := min(p.older(hot), p.held)
	if to <= p.hot {
		return nil
	}
	m := merger{compressor: c.archive.compressor, next: p.hot}
	opts := kgo.ProcessFetchPartitionOpts{IsolationLevel: kgo.ReadCommitted(), Topic: p.topic, Partition: p.id}
	for read, next := 0, p.hot; next < to && (read < maxMerged || m.n == 0 && m.done == nil); {
		rp, err := fetchOne(ctx, c, p.leader, p.partition, p.topicID, next)
		if err == nil {
			err = kerr.ErrorForCode(rp.ErrorCode)
		}
		if deleted(err) {
			return nil
		}
		if err != nil {
			return err
		}
		opts.Offset = next
		read += len(rp.RecordBatches)
		got, after := kgo.ProcessFetchPartition(opts, rp, decompressor, nil)
		if got.Err != nil {
			return got.Err
		}
		if after <= next {
			break
		}
		next = min(after, to)
		for _, r := range got.Records {
			if r.Offset < next {
				m.add(r)
			}
		}
		m.seen = next
	}
	m.flush()
	if len(m.done) == 0 {
		return nil
	}
	crash.Here("archive: merged")
	c.log.Debug("records to archive", "topic", p.topic, "partition", p.id, "from", p.hot, "to", m.next, "batches", len(m.done))
	return c.moveOld(p, m.next, m.done)
}

// moveOld archives batches, and deletes what is archived from the module. Where a client has deleted
// records meanwhile, or the topic, it does nothing.
func (c *Cluster) moveOld(p *retained, end int64, batches [][]byte) error {
	c.archive.writing.Lock()
	defer c.archive.writing.Unlock()
	var err error
	if batches == nil {
		err = c.archive.settle(p.partition)
	} else {
		err = c.archive.append(p.partition, p.topicID, p.hot, batches)
	}
	if errors.Is(err, errTouched) {
		return nil
	}
	if err != nil {
		c.archive.trouble.note(err)
		return nil
	}
	crash.Here("archive: not yet deleted from the brokers")
	err = c.module(func(k *kfake.Cluster) error { return k.DeleteRecords(p.topic, p.id, end) })
	if err != nil && !deleted(err) {
		return err
	}
	p.hot = end
	p.segments = slices.DeleteFunc(p.segments, func(s segment) bool { return s.archived })
	p.segments = append(c.archive.segments(p.partition), p.segments...)
	return nil
}

// older returns the offset up to which a partition is to be archived so that about hot
// batches stay in the module; 0 while it has no more than that and a tenth.
func (p *retained) older(hot int64) int64 {
	batches := p.batches()
	if batches <= hot+hot/10 {
		return 0
	}
	excess := batches - hot
	for _, s := range p.segments {
		n := p.live(s)
		if n < excess {
			excess -= n
			continue
		}
		if n == 0 {
			continue
		}
		from, end := max(s.base, p.hot), s.next
		if end < 0 {
			end = p.end
		}
		return min(from+(end-from)*excess/n, p.limit)
	}
	return 0
}

// merger makes large batches out of records.
type merger struct {
	compressor kgo.Compressor
	done       [][]byte // finished, as they are on the wire
	next       int64    // the offset that the next batch begins with
	seen       int64    // the offset up to which everything was added that is committed

	n       int32 // records of the batch that is being made
	first   int64 // its first time stamp
	latest  int64
	epoch   int32
	stamped bool // its records have the broker's time
	last    int64
	records []byte
	one     []byte
}

// add adds a record. Records come in order.
func (m *merger) add(r *kgo.Record) {
	at, byBroker := r.Timestamp.UnixMilli(), r.Attrs.TimestampType() == 1
	if m.n > 0 && (len(m.records) >= mergedBytes || r.LeaderEpoch != m.epoch || byBroker != m.stamped || byBroker && at != m.latest ||
		r.Offset-m.next > math.MaxInt32/2) {
		m.seen = r.Offset
		m.flush()
	}
	if m.n == 0 {
		m.first, m.latest, m.epoch, m.stamped = at, at, r.LeaderEpoch, byBroker
	}
	rec := kmsg.Record{TimestampDelta64: at - m.first, OffsetDelta: int32(r.Offset - m.next), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	m.one = rec.AppendTo(m.one[:0]) // begins with a length of 0, one byte
	m.records = kbin.AppendVarint(m.records, int32(len(m.one)-1))
	m.records = append(m.records, m.one[1:]...)
	m.n, m.last, m.latest = m.n+1, r.Offset, max(m.latest, at)
}

// flush ends the batch. It covers the offsets up to what was seen, so that those of markers and
// of aborted records, which are left out, belong to it: Kafka's compaction does the same.
func (m *merger) flush() {
	if m.n == 0 {
		return
	}
	b := batch{kmsg.RecordBatch{
		FirstOffset: m.next, PartitionLeaderEpoch: m.epoch, Magic: magic, LastOffsetDelta: int32(max(m.seen, m.last+1) - 1 - m.next),
		FirstTimestamp: m.first, MaxTimestamp: m.latest, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: m.n, Records: m.records,
	}}
	if m.stamped {
		b.Attributes |= attrLogAppendTime
	}
	if small, codec := m.compressor.Compress(new(bytes.Buffer), m.records); len(small) < len(m.records) {
		b.Records = small
		b.Attributes |= int16(codec)
	}
	m.done = append(m.done, b.seal())
	m.next = b.end()
	m.n, m.records = 0, m.records[:0]
}

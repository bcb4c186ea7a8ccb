package embedded

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// After a death the module replays the log and takes every open transaction for
// aborted, but in memory only. A record of that which lasts has to be in the log
// before the module reads it, for two reasons: the next start would otherwise
// meet the end marker of a later transaction of the same producer and show the
// uncommitted records as committed; and a transaction whose commit had begun has
// to be committed, which the module cannot do any more once it has listed it as
// aborted (a WriteTxnMarkers request ends it, but leaves it on that list). So the
// markers are written here, into the files.

// repair makes the log whole after a death, before the module reads it: batches
// that were not written to their end are cut off (no client knows of them), indexes
// are completed, and open transactions are ended.
func (c *Cluster) repair(ctx context.Context, log string, commits map[producer]intent) error {
	if err := c.repairState(log); err != nil {
		return err
	}
	parts, err := scanLog(log)
	if err != nil {
		return err
	}
	// Largest first, so that the two workers end together.
	slices.SortFunc(parts, func(a, b partitionFiles) int { return cmp.Compare(len(b.segments), len(a.segments)) })
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(2)
	repairers := make([]*repairer, len(parts))
	for i, p := range parts {
		r := &repairer{c: c, p: p, commits: commits, open: make(map[int64]opened), windows: make(map[int64]*seqWindow)}
		repairers[i] = r
		work.Go(func() error {
			if err := r.run(ctx); err != nil {
				return fmt.Errorf("%s/%d: %w", p.topic, p.id, err)
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return c.writeWindows(log, repairers)
}

// opened is a transaction of which no end was found yet.
type opened struct {
	producer
	first int64 // offset of its first record in this partition
}

// repairer repairs one partition.
type repairer struct {
	c       *Cluster
	p       partitionFiles
	commits map[producer]intent
	open    map[int64]opened // open transactions by producer ID
	windows map[int64]*seqWindow
	lastSeg string   // path of the last segment with a batch, without extension
	left    snapshot // its end and epoch are those of the last batch so far
}

func (r *repairer) run(ctx context.Context) error {
	for _, s := range r.p.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.segment(s); err != nil {
			return err
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	return r.writeSnapshot()
}

// segment checks one file.
func (r *repairer) segment(s segment) error {
	path := r.p.path(s.base)
	raw, err := os.ReadFile(path + ".dat")
	if err != nil {
		return err
	}
	had, err := readIfAny(path + ".idx")
	if err != nil {
		return err
	}
	var index []byte
	pos, end := 0, s.base
	for {
		b, ok := parseBatch(raw[pos:])
		if !ok {
			break
		}
		indexed, known := soundEntry(had, len(index))
		if known {
			if err := r.mend(path+".dat", int64(pos), &b, end, indexed.epoch()); err != nil {
				return err
			}
		}
		if b.FirstOffset != end || b.Magic != magic {
			break
		}
		r.follow(&b)
		e := b.index()
		// The module's own entries carry a time stamp: keep those that agree. The epoch does.
		if known && indexed[14] == e[14] {
			e = indexed
		}
		index = append(index, e[:]...)
		pos, end = pos+b.size(), b.end()
		r.left.End, r.left.Epoch, r.lastSeg = end, b.PartitionLeaderEpoch, path
	}
	r.left.Segments = append(r.left.Segments, snapshotSegment{BaseOffset: s.base, Size: int64(pos)})
	file := segmentPath(r.p.topic, r.p.id, s.base)
	if pos < len(raw) {
		if err := r.c.files().truncate(path+".dat", int64(pos)); err != nil {
			return err
		}
		cut := truncation{File: file, Topic: r.p.topic, Partition: r.p.id, Bytes: int64(len(raw) - pos), From: end, To: s.next}
		// The index is written after the batch and before the acknowledgement: if it knows of
		// more batches than were found, or if this is not the file that was being written,
		// records were lost.
		if len(had) > len(index) || s.next >= 0 {
			r.c.mlog.add(cut)
			r.c.log.Warn("log damaged", "topic", cut.Topic, "partition", cut.Partition, "bytes", cut.Bytes, "from", end, "to", s.next)
		} else {
			r.c.log.Info("unfinished write cut off", "topic", cut.Topic, "partition", cut.Partition, "bytes", cut.Bytes, "offset", end)
		}
	} else {
		r.c.mlog.locate(file, end, s.next)
	}
	if bytes.Equal(index, had) {
		return nil
	}
	return r.c.files().replace(path+".idx", index)
}

// mend puts right what no checksum covers at the head of a batch that is otherwise sound, and that
// the index knows: it was whole once. pos is where it stands in the file.
func (r *repairer) mend(path string, pos int64, b *batch, first int64, epoch int32) error {
	if b.FirstOffset == first && b.PartitionLeaderEpoch == epoch && b.Magic == magic {
		return nil
	}
	b.FirstOffset, b.PartitionLeaderEpoch, b.Magic = first, epoch, magic
	r.c.log.Warn("log mended", "topic", r.p.topic, "partition", r.p.id, "offset", first)
	if err := r.c.cfg.faults.Before("write", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b.AppendTo(nil)[:unchecked], pos)
	return errors.Join(err, f.Sync(), f.Close())
}

// follow keeps what outlives the batch: whether its transaction is open, and what
// its producer may send again.
func (r *repairer) follow(b *batch) {
	id := b.ProducerID
	switch {
	case b.control():
		if o, ok := r.open[id]; ok && !commits(b.Records) {
			r.left.Aborted = append(r.left.Aborted, snapshotAborted{Producer: id, First: o.first, Last: b.FirstOffset})
		}
		delete(r.open, id)
	case b.txn():
		if _, ok := r.open[id]; !ok {
			r.open[id] = opened{b.producer(), b.FirstOffset}
		}
	case id >= 0:
		w := r.windows[id]
		if w == nil || b.ProducerEpoch != w.Epoch {
			w = &seqWindow{Producer: id, Topic: r.p.topic, Partition: r.p.id, Epoch: b.ProducerEpoch, Seen: true}
			r.windows[id] = w
		}
		w.add(b)
	}
}

// commits reports whether the record of a control batch ends its transaction with a
// commit. One that cannot be read aborts, as in the module.
func commits(record []byte) bool {
	var rec kmsg.Record
	if err := rec.ReadFrom(record); err != nil || len(rec.Key) < 4 {
		return false
	}
	return kmsg.ControlRecordKeyType(binary.BigEndian.Uint16(rec.Key[2:])) == kmsg.ControlRecordKeyTypeCommit
}

// end writes the markers that are missing at the end of the log.
func (r *repairer) end() error {
	if len(r.open) == 0 {
		return nil
	}
	var data, index []byte
	offset := r.left.End
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		o := r.open[id]
		_, commit := r.commits[o.producer]
		b := marker(o.producer, commit, offset, r.left.Epoch)
		e := b.index()
		data, index = b.AppendTo(data), append(index, e[:]...)
		if !commit {
			r.left.Aborted = append(r.left.Aborted, snapshotAborted{Producer: id, First: o.first, Last: offset})
		}
		offset++
		r.c.log.Info("transaction ended", "topic", r.p.topic, "partition", r.p.id, "producer_id", id, "commit", commit)
	}
	// In the module's order, so that a death in between is what the loop above mends.
	if err := r.c.files().appendTo(r.lastSeg+".dat", data); err != nil {
		return err
	}
	if err := r.c.files().appendTo(r.lastSeg+".idx", index); err != nil {
		return err
	}
	r.left.End = offset
	for i := range r.left.Segments {
		if seg := &r.left.Segments[i]; r.p.path(seg.BaseOffset) == r.lastSeg {
			seg.Size += int64(len(data))
		}
	}
	return nil
}

// marker is the control batch that ends a transaction.
func marker(p producer, commit bool, offset int64, leaderEpoch int32) batch {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	end := kmsg.EndTxnMarker{}
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: end.AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // the length itself takes one byte
	now := time.Now().UnixMilli()
	b := batch{kmsg.RecordBatch{
		FirstOffset: offset, PartitionLeaderEpoch: leaderEpoch, Magic: 2,
		Attributes: attrControl | attrTxn, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: -1,
		NumRecords: 1, Records: rec.AppendTo(nil),
	}}
	b.seal()
	return b
}

// recoverTxns finishes what repair began, with the module running and no client
// in: the offsets of the transactions that were committed, and an epoch for every
// transactional ID that fences the producer that used it before the death.
func (c *Cluster) recoverTxns(ctx context.Context, commits map[producer]intent) error {
	for _, in := range commits {
		if err := c.commitStaged(ctx, in); err != nil {
			return err
		}
	}
	txns, err := c.transactions(ctx)
	if err != nil {
		return err
	}
	for _, t := range txns {
		// Twice: the module takes an EndTxn that is one epoch behind for the retry
		// of one that it has answered, and would confirm a commit of what repair
		// has aborted.
		for range 2 {
			if err := c.fence(ctx, t.TransactionalID); err != nil {
				return err
			}
		}
	}
	c.journal.mu.Lock()
	defer c.journal.mu.Unlock()
	return c.journal.reset()
}

func (c *Cluster) fence(ctx context.Context, id string) error {
	req := &kmsg.InitProducerIDRequest{
		Version: 4, TransactionalID: &id, TransactionTimeoutMillis: 60_000, ProducerID: -1, ProducerEpoch: -1,
	}
	resp, err := rpc[*kmsg.InitProducerIDResponse](ctx, c, c.coordinatorOf(id), req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("fence %q: %w", id, err)
	}
	return nil
}

func (c *Cluster) commitStaged(ctx context.Context, in intent) error {
	groups := make(map[string][]stagedOffset)
	for _, o := range in.Offsets {
		groups[o.Group] = append(groups[o.Group], o)
	}
	for group, offsets := range groups {
		req := &kmsg.OffsetCommitRequest{Version: 7, Group: group, Generation: -1}
		for _, o := range offsets {
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: o.Topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{
				{Partition: o.Partition, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata},
			}})
		}
		resp, err := rpc[*kmsg.OffsetCommitResponse](ctx, c, c.coordinatorOf(group), req)
		if err != nil {
			return fmt.Errorf("commit offsets of group %q: %w", group, err)
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					c.log.Warn("offset of a transaction not committed", "group", group, "topic", t.Topic, "partition", p.Partition, "error", err)
				}
			}
		}
	}
	return nil
}

package scan

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errCorrupt is a batch that does not decode, or whose checksum is wrong.
var errCorrupt = errors.New("corrupt batch")

// fetch asks the partition's leader once for what follows offset at.
func (r *Reader) fetch(ctx context.Context, s Range, at int64, where place) (Chunk, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWaitMS, 1, r.opts.FetchBytes
	req.SessionEpoch = -1 // a fetch session would make the broker remember what is asked only once
	isolation := kgo.ReadCommitted()
	if r.opts.Uncommitted {
		isolation = kgo.ReadUncommitted()
	} else {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = s.Topic, *where.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = s.Partition, at, r.opts.FetchBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	resp, err := req.RequestWith(ctx, r.cl.Broker(int(where.leader)))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return Chunk{}, fmt.Errorf("fetch: %w", err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return Chunk{Next: at}, nil
	}
	part := &resp.Topics[0].Partitions[0]
	switch err := kerr.ErrorForCode(part.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return r.outOfRange(ctx, s, at)
	case err != nil:
		return Chunk{}, fmt.Errorf("fetch: %w", err)
	}
	return r.decode(s, at, part, isolation)
}

func (r *Reader) decode(s Range, at int64, part *kmsg.FetchResponseTopicPartition, isolation kgo.IsolationLevel) (Chunk, error) {
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: isolation, Topic: s.Topic, Partition: s.Partition,
	}, part, r.unpack, nil)
	records := got.Records
	exactTimes(part.RecordBatches, records, r.unpack)
	for len(records) > 0 && records[len(records)-1].Offset >= s.To {
		records = records[:len(records)-1]
	}
	if got.Err != nil && next <= at {
		if errors.Is(got.Err, kgo.ErrMaxDecompress) {
			return Chunk{}, fmt.Errorf("a batch decompresses to over %d MiB: %w", MaxBatch>>20, got.Err)
		}
		return Chunk{}, fmt.Errorf("%w: %w", errCorrupt, got.Err)
	}
	c := Chunk{Records: records, Next: min(next, s.To)}
	if r.opts.Gaps {
		c.Gaps = r.gapsIn(s, at, c.Next, part, records)
	}
	return c, nil
}

// outOfRange finds out why a broker has nothing at an offset: what was deleted is
// skipped and reported, what never was is an error.
func (r *Reader) outOfRange(ctx context.Context, s Range, at int64) (Chunk, error) {
	starts, err := kadm.NewClient(r.cl).ListStartOffsets(ctx, s.Topic)
	if err != nil {
		return Chunk{}, fmt.Errorf("list start offset: %w", err)
	}
	start, ok := starts.Lookup(s.Topic, s.Partition)
	switch {
	case !ok:
		return Chunk{}, ErrNoTopic
	case start.Err != nil:
		return Chunk{}, fmt.Errorf("list start offset: %w", start.Err)
	case start.Offset <= at:
		return Chunk{}, fmt.Errorf("%w: offset %d is gone", ErrTruncated, at)
	}
	to := min(start.Offset, s.To)
	return Chunk{Next: to, Trimmed: to - at}, nil
}

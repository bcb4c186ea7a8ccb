package batching

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// Bounds of one's own records, that batching writes again and again.
const (
	maxOwn = 20_000
	// recordTime is for how long a live stream is recorded.
	recordTime = 30 * time.Second
	// ownValue bounds a record's value in bytes: what batches may have at most.
	ownValue = 512 << 10
)

// FromTopic is a topic whose newest records an experiment writes again. It is only read.
type FromTopic struct {
	Kafka kafka.Config `json:"-"`
	Topic string       `json:"topic"`
}

// own reads or records the records that producers write, nil where they are simulated.
func (s *Settings) own(ctx context.Context, b *lab.Bench) ([]kit.Payload, error) {
	switch {
	case s.From != nil:
		return s.From.read(ctx, b, maxOwn)
	case s.Live != nil:
		return s.Live.Record(ctx, b, maxOwn, recordTime)
	}
	return nil, nil
}

// read reads the newest n records, as evenly from the partitions as they have them. It leaves
// out records without a value, and those with one larger than a batch may be.
func (f *FromTopic) read(ctx context.Context, b *lab.Bench, n int64) ([]kit.Payload, error) {
	b.Progress("reading records of " + f.Topic)
	cl, err := f.Kafka.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	bounds, err := kafka.Bounds(ctx, cl, f.Topic)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Topic, err)
	}
	if len(bounds) == 0 {
		return nil, fmt.Errorf("topic %s does not exist at %s: weir topics lists the topics of the running weir", f.Topic, strings.Join(f.Kafka.Brokers, ","))
	}
	var ranges []kafka.Range
	for tp, o := range bounds {
		if from := max(o.Start, o.End-n/int64(len(bounds))); o.End > from {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: from, To: o.End})
		}
	}
	var found []*kgo.Record
	size := 0
	err = kafka.Scan(ctx, f.Kafka, ranges, func(r *kgo.Record) error {
		if len(r.Value) > 0 && len(r.Value) <= ownValue && size < kit.MaxRecordBytes {
			size += len(r.Key) + len(r.Value)
			found = append(found, &kgo.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Timestamp: r.Timestamp})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Topic, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("topic %s has no records to write again: choose a topic with records", f.Topic)
	}
	slices.SortStableFunc(found, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) }) // in the order of their times
	out := make([]kit.Payload, len(found))
	for i, r := range found {
		out[i] = kit.Payload{Key: r.Key, Value: r.Value}
	}
	return out, nil
}

// ownNotes say what one's own records were.
func (x *run) ownNotes() []string {
	if x.s.Live == nil && x.s.From == nil {
		return nil
	}
	size := 0
	for i := range x.events {
		size += len(x.events[i].Value)
	}
	text := fmt.Sprintf("producers wrote %d records (%s), %d bytes each on average, again and again; "+
		"the commits of weir's ingester are measured with simulated events", len(x.events), x.s.Source(), size/len(x.events))
	if len(x.events) < kit.FewRecords {
		text += fmt.Sprintf("; fewer than %d of them repeat within a batch, which makes compression look too good", kit.FewRecords)
	}
	return []string{text}
}

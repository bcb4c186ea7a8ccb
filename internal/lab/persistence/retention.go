package persistence

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

// What is written to see retention at work: several times what may stay. A segment
// of 1 MiB is the smallest that Apache Kafka accepts.
const (
	topic            = "lab-retention"
	retentionSegment = 1 << 20
	retentionBytes   = 3 << 20
	retentionWritten = 12 << 20
	retentionValue   = 8 << 10
)

// retentionSeen is what was seen of a topic with retention.bytes.
type retentionSeen struct {
	written   int64 // records, numbered as their offsets
	low, high int64 // watermarks when it had come to rest
	kept      []int64
	bytes     int64  // of the values that are kept
	behind    string // what a reader at offset 0 is answered
	trimmed   bool   // the low watermark moved in time
}

// observeRetention writes more to a topic than it may hold, and waits until it does
// not.
func observeRetention(ctx context.Context, b *lab.Bench) (*retentionSeen, error) {
	b.Progress("retention  starting brokers")
	e, err := kit.OpenEngine(ctx, b, map[string]string{"log.retention.check.interval.ms": "1000"})
	if err != nil {
		return nil, err
	}
	cl, err := e.Kafka.NewClient(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(64))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	segment, most := fmt.Sprint(retentionSegment), fmt.Sprint(retentionBytes)
	if _, err := e.Admin.CreateTopic(ctx, 1, 3, map[string]*string{"segment.bytes": &segment, "retention.bytes": &most}, topic); err != nil {
		return nil, fmt.Errorf("create topic: %w", err)
	}
	o := &retentionSeen{}
	value := make([]byte, retentionValue)
	source := rand.NewChaCha8([32]byte{})
	b.Begin(caseRetention, time.Now())
	b.Progress(fmt.Sprintf("retention  writing %d MiB to a topic that may keep %d", retentionWritten>>20, retentionBytes>>20))
	for ; o.written < retentionWritten/retentionValue; o.written++ {
		_, _ = source.Read(value) // never fails
		binary.BigEndian.PutUint64(value, uint64(o.written))
		if err := cl.ProduceSync(ctx, kgo.SliceRecord(append([]byte(nil), value...))).FirstErr(); err != nil {
			return nil, fmt.Errorf("write: %w", err)
		}
	}
	b.Progress("retention  waiting for retention to remove the oldest segments")
	if err := o.settle(ctx, b, e); err != nil {
		return nil, err
	}
	return o, o.read(ctx, e)
}

// settle waits until the low watermark has moved and then stayed for a while.
func (o *retentionSeen) settle(ctx context.Context, b *lab.Bench, e *kit.Engine) (err error) {
	quiet := time.Now()
	o.trimmed, err = kit.Poll(ctx, kit.Patience, kit.SampleEvery, func() (bool, error) {
		bounds, err := kafka.Bounds(ctx, e.Client, topic)
		if err != nil {
			return false, err
		}
		at := bounds[kafka.TopicPartition{Topic: topic}]
		if at.Start != o.low {
			quiet = time.Now()
		}
		o.low, o.high = at.Start, at.End
		b.Points(caseRetention, record.Point{Panel: "low watermark (offset)", Y: float64(o.low)}, record.Point{Panel: "high watermark (offset)", Y: float64(o.high)})
		return o.low > 0 && time.Since(quiet) > 3*time.Second, nil
	})
	return err
}

// read reads what is kept, and asks for what is not.
func (o *retentionSeen) read(ctx context.Context, e *kit.Engine) error {
	err := kit.ReadBack(ctx, e.Kafka, e.Client, func(r *kgo.Record) {
		n := int64(-1)
		if len(r.Value) >= 8 && binary.BigEndian.Uint64(r.Value) == uint64(r.Offset) {
			n = r.Offset
		}
		o.kept, o.bytes = append(o.kept, n), o.bytes+int64(len(r.Value))
	}, topic)
	if err != nil {
		return err
	}
	late, err := e.Kafka.NewClient(kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		return err
	}
	defer late.Close()
	ctx, cancel := context.WithTimeout(ctx, kit.Patience)
	defer cancel()
	fetches := late.PollFetches(ctx)
	o.behind = fmt.Sprintf("%d records", fetches.NumRecords())
	if err := fetches.Err(); err != nil {
		o.behind = kit.ErrorName(err)
	}
	return nil
}

// measure adds figures.
func (o *retentionSeen) measure(r *lab.Report) {
	c := r.Of(caseRetention)
	c.Measure("records written", float64(o.written), "events")
	c.Measure("records kept", float64(len(o.kept)), "events")
	c.Measure("bytes kept", float64(o.bytes), "bytes")
	c.Measure("low watermark", float64(o.low), "events")
}

// judge adds the checks.
func (o *retentionSeen) judge(r *lab.Report) {
	c := r.Of(caseRetention)
	if !c.Needs(o.trimmed, "retention removes something", "a low watermark above 0 that stays", "%d after a minute", o.low) {
		return
	}
	c.Same("records keep their offsets: the high watermark is the number of records written", fmt.Sprint(o.written), "%d", o.high)
	wrong := 0
	for i, n := range o.kept {
		if n != o.low+int64(i) {
			wrong++
		}
	}
	const kept = "%d records, %d wrong"
	c.Same("only the oldest records are gone: all records from the low watermark on are stored", fmt.Sprintf(kept, o.high-o.low, 0), kept, len(o.kept), wrong)
	// Segments are removed whole, and never so that less than retention.bytes stays;
	// what records take beyond their values is below 5% here. The newest segment may
	// still be written to, and is on top.
	least, most := int64(retentionBytes)*95/100, int64(retentionBytes+2*retentionSegment)
	c.Check("no more records are removed than necessary", fmt.Sprintf("%d to %d KiB kept", least>>10, most>>10),
		fmt.Sprintf("%d KiB", o.bytes>>10), o.bytes >= least && o.bytes <= most)
	c.Same("a reader of a removed offset gets an error, not other records", offsetOutOfRange, "%s", o.behind)
}

// offsetOutOfRange is what a reader of a removed offset is answered.
const offsetOutOfRange = "OFFSET_OUT_OF_RANGE"

package kit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

// What is written to see retention at work: several times what may stay. A segment
// of 1 MiB is the smallest that Apache Kafka accepts.
const (
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
	inside    int64  // the first offset that a reader at the low watermark gets, -1 for none
	trimmed   bool   // the low watermark moved in time
}

// observeRetention writes more to a topic than it may hold, and waits until it does
// not.
func observeRetention(ctx context.Context, b *lab.Bench) (_ *retentionSeen, err error) {
	b.Progress("retention  starting brokers")
	e, err := openEngine(ctx, b, map[string]string{"log.retention.check.interval.ms": "1000"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	cfg := kafka.Config{Brokers: e.Addrs(), ClientID: "weir-lab", Log: b.Log}
	const topic = "lab-retention"
	cl, err := cfg.NewClient(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(64))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	segment, most := fmt.Sprint(retentionSegment), fmt.Sprint(retentionBytes)
	if _, err := admin.CreateTopic(ctx, 1, 3, map[string]*string{"segment.bytes": &segment, "retention.bytes": &most}, topic); err != nil {
		return nil, fmt.Errorf("create topic: %w", err)
	}
	o := &retentionSeen{inside: -1}
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
	b.Progress("retention  waiting for the oldest segments to go")
	if err := o.settle(ctx, b, admin, topic); err != nil {
		return nil, err
	}
	return o, o.read(ctx, cfg, topic)
}

// settle waits until the low watermark has moved and then stayed for some passes.
func (o *retentionSeen) settle(ctx context.Context, b *lab.Bench, admin *kadm.Client, topic string) error {
	quiet := time.Now()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		lows, err := admin.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		highs, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		low, _ := lows.Lookup(topic, 0)
		high, _ := highs.Lookup(topic, 0)
		if low.Offset != o.low {
			quiet = time.Now()
		}
		o.low, o.high = low.Offset, high.Offset
		b.Points(caseRetention, record.Point{Panel: "low watermark (offset)", Y: float64(o.low)}, record.Point{Panel: "high watermark (offset)", Y: float64(o.high)})
		if o.low > 0 && time.Since(quiet) > 3*time.Second {
			o.trimmed = true
			return nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// read reads what is kept, and asks for what is not.
func (o *retentionSeen) read(ctx context.Context, cfg kafka.Config, topic string) error {
	if o.high > o.low {
		of := kafka.Range{TopicPartition: kafka.TopicPartition{Topic: topic}, From: o.low, To: o.high}
		err := kafka.Scan(ctx, cfg, []kafka.Range{of}, func(r *kgo.Record) error {
			if o.inside < 0 {
				o.inside = r.Offset
			}
			n := int64(-1)
			if len(r.Value) >= 8 {
				n = int64(binary.BigEndian.Uint64(r.Value))
			}
			if n != r.Offset {
				n = -1
			}
			o.kept, o.bytes = append(o.kept, n), o.bytes+int64(len(r.Value))
			return nil
		})
		if err != nil {
			return fmt.Errorf("read what is kept: %w", err)
		}
	}
	cl, err := cfg.NewClient(kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fetches := cl.PollFetches(ctx)
	o.behind = fmt.Sprintf("%d records", fetches.NumRecords())
	if err := fetches.Err(); err != nil {
		o.behind = err.Error()
		if e, ok := errors.AsType[*kerr.Error](err); ok {
			o.behind = e.Message
		}
	}
	return nil
}

// measure adds figures.
func (o *retentionSeen) measure(r *lab.Report) {
	r.Measure(caseRetention, "records written", float64(o.written), "events")
	r.Measure(caseRetention, "records kept", float64(len(o.kept)), "events")
	r.Measure(caseRetention, "bytes kept", float64(o.bytes), "bytes")
	r.Measure(caseRetention, "low watermark", float64(o.low), "events")
}

// judge adds the checks.
func (o *retentionSeen) judge(r *lab.Report) {
	const of = caseRetention
	if !o.trimmed {
		r.Unknown(of, "retention removes something", "a low watermark above 0 that stays", fmt.Sprintf("%d after a minute", o.low))
		return
	}
	r.Check(of, "what was written keeps its offsets: the high watermark is the number of records", fmt.Sprint(o.written), fmt.Sprint(o.high), o.high == o.written)
	wrong := int64(0)
	for i, n := range o.kept {
		if n != o.low+int64(i) {
			wrong++
		}
	}
	r.Check(of, "only the oldest are gone: from the low watermark on everything is there", fmt.Sprintf("%d records, 0 wrong", o.high-o.low),
		fmt.Sprintf("%d records, %d wrong", len(o.kept), wrong), int64(len(o.kept)) == o.high-o.low && wrong == 0 && o.inside == o.low)
	// Segments are removed whole, and never so that less than retention.bytes stays;
	// what records take beyond their values is below 5% here. The newest segment may
	// still be written to, and is on top.
	least, most := int64(retentionBytes)*95/100, int64(retentionBytes+2*retentionSegment)
	r.Check(of, "no more is removed than must be", fmt.Sprintf("%d to %d KiB kept", least>>10, most>>10), fmt.Sprintf("%d KiB", o.bytes>>10),
		o.bytes >= least && o.bytes <= most)
	r.Check(of, "who is behind is told so, and not served something else", offsetOutOfRange, o.behind, o.behind == offsetOutOfRange)
}

// offsetOutOfRange is what a reader of a removed offset is answered.
const offsetOutOfRange = "OFFSET_OUT_OF_RANGE"

package kit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// degradedFor is how long it is watched that nobody can write.
const degradedFor = time.Second

// degradedTime waits until a required replica is out of the set in sync, watches
// for a while, and asks with a producer that does not try again.
func (f *failoverRun) degradedTime(ctx context.Context, show func(string)) error {
	show("waiting for the dead replica to leave the set in sync")
	ok, err := f.poll(ctx, func(leader int32, isr int) bool { return leader >= 0 && isr < 3 })
	if err != nil || !ok {
		return err
	}
	// Both are noted before the first moment and after the last one that count.
	f.degraded = f.now()
	show("watching: no replica may be missing, and one is")
	f.probe = f.ask(ctx)
	return wait(ctx, degradedFor)
}

// probeValue is what the probe writes where it may.
const probeValue = "probe"

// ask writes one record without trying again, and returns the answer's name.
func (f *failoverRun) ask(ctx context.Context) string {
	cl, err := f.kafka.NewClient(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.ProducerLinger(0))
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = cl.ProduceSync(ctx, &kgo.Record{Topic: f.topic, Value: []byte(probeValue)}).FirstErr()
	if err == nil {
		return "accepted"
	}
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// sabotage breaks what was asked for.
func (f *failoverRun) sabotage(ctx context.Context, cl *kgo.Client) error {
	switch f.s.Break {
	case BreakTrim:
		offsets := kadm.Offsets{}
		offsets.AddOffset(f.topic, 0, 10, -1)
		if _, err := f.admin.DeleteRecords(ctx, offsets); err != nil {
			return fmt.Errorf("break: %w", err)
		}
	case BreakTwice:
		for n := range int64(3) {
			r := &kgo.Record{Topic: f.topic, Value: strconv.AppendInt(nil, n, 10)}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				return fmt.Errorf("break: %w", err)
			}
		}
	}
	return nil
}

// readBack reads the whole topic.
func (f *failoverRun) readBack(ctx context.Context, cl *kgo.Client) error {
	bounds, err := kafka.Bounds(ctx, cl, f.topic)
	if err != nil {
		return err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	err = kafka.Scan(ctx, f.kafka, ranges, func(r *kgo.Record) error {
		if string(r.Value) == probeValue {
			return nil
		}
		f.stored = append(f.stored, number(r.Value))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was stored: %w", err)
	}
	return nil
}

// number is a record's, or -1 where it has none: then it is made up.
func number(value []byte) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

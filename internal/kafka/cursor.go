package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
)

// CursorVersion is the newest form of a CursorRecord that this program
// understands, and the one that it writes.
const CursorVersion = 1

// CursorRecord is the value of a record in TopicCursors: the state of one
// source's ingester after a transaction, written in that transaction. Together
// with the records it makes two independent statements about what the topics
// hold: dense sequence numbers and counts.
type CursorRecord struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	// Cursor is the position upstream after the last event of the transaction.
	Cursor event.Cursor `json:"cursor"`
	// Seqs is the next sequence number by topic.
	Seqs map[string]int64 `json:"seqs"`
	// Counts is how many records were ever committed, by topic and event type. Beyond
	// MaxKinds names per topic the rest is under event.OtherKind.
	Counts map[string]map[string]int64 `json:"counts"`
	// Gaps is how many gaps were ever recorded.
	Gaps int64 `json:"gaps,omitempty"`
	// Instance names the process that wrote the record, so that an ingester that was
	// fenced can distinguish a successor from a timeout.
	Instance string `json:"instance"`
	// WrittenUS is the writer's clock, in Unix microseconds.
	WrittenUS int64 `json:"written_us"`
}

// MaxKinds bounds the names in one topic's Counts: upstream chooses them, and the
// record is written with every transaction.
const MaxKinds = 1000

// Add counts n more records of an event type in a topic.
func (r *CursorRecord) Add(topic, kind string, n int64) {
	if r.Counts == nil {
		r.Counts = map[string]map[string]int64{}
	}
	if r.Counts[topic] == nil {
		r.Counts[topic] = map[string]int64{}
	}
	m := r.Counts[topic]
	if _, known := m[kind]; !known && len(m) >= MaxKinds {
		kind = event.OtherKind
	}
	m[kind] += n
}

// Encode returns the record's value.
func (r *CursorRecord) Encode() ([]byte, error) {
	v, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	return v, nil
}

// CursorError is a cursor that this program must not go on from. Trying again
// does not help.
type CursorError struct {
	Source string
	// Cause says what is wrong with the record, and where it lies.
	Cause string
	// Out is what a user can do.
	Out string
}

// useNewer is the way out where a record is from a newer version.
const useNewer = "use the newer weir that wrote it"

func (e *CursorError) Error() string {
	return fmt.Sprintf("the cursor of %s cannot be used: %s; %s", e.Source, e.Cause, e.Out)
}

// ReadCursor returns the last committed cursor of a source; found is false when
// there is none. It reads up to the high watermark: a transaction that is open
// there is waited for, because it may hold the cursor that counts. A record that
// does not parse, or is from a newer version, is a *CursorError.
func ReadCursor(ctx context.Context, c Config, source string) (rec CursorRecord, found bool, err error) {
	return readCursor(ctx, c, source, Bounds)
}

// PeekCursor is ReadCursor without waiting: it returns the last cursor whose
// transaction is committed by now and not below an open one. It shows who writes,
// and nothing may go on from it.
func PeekCursor(ctx context.Context, c Config, source string) (rec CursorRecord, found bool, err error) {
	return readCursor(ctx, c, source, StableBounds)
}

// errNoCursorPartition says that the cursor topic, or the source's partition of it, does not exist.
var errNoCursorPartition = fmt.Errorf("topic %s has no partition for the source's cursor", TopicCursors)

type listBoundsFunc = func(context.Context, *kgo.Client, ...string) (map[TopicPartition]Bound, error)

// readCursor looks at the end of the partition first: until the log is compacted it holds
// a cursor of every transaction there ever was.
func readCursor(ctx context.Context, c Config, source string, list listBoundsFunc) (rec CursorRecord, found bool, err error) {
	err = c.withCursors(ctx, source, list, func(cl *kgo.Client, all Range) error {
		var last *kgo.Record
		for n := int64(256); last == nil && all.To > all.From; n *= 16 {
			end := Range{TopicPartition: all.TopicPartition, From: max(all.From, all.To-n), To: all.To}
			if err := c.scan(ctx, cl, []Range{end}, func(r *kgo.Record) error { last = r; return nil }); err != nil {
				return fmt.Errorf("read cursor: %w", err)
			}
			all.To = end.From
		}
		if last != nil && last.Value != nil {
			rec, err = decodeCursor(source, last)
			found = err == nil
		}
		return err
	})
	if errors.Is(err, errNoCursorPartition) {
		err = fmt.Errorf("read the cursor of %s: %w", source, err)
	}
	return rec, found, err
}

// BestCursor returns the newest usable cursor that the cursor topic still holds of a
// source, also where a tombstone, an older copy or something else was written behind
// it. found is false when there is none. A record from a newer version is a
// *CursorError: it may be the one that counts.
func BestCursor(ctx context.Context, c Config, source string) (best CursorRecord, found bool, err error) {
	err = c.withCursors(ctx, source, Bounds, func(cl *kgo.Client, all Range) error {
		return c.scan(ctx, cl, []Range{all}, func(r *kgo.Record) error {
			rec, err := decodeCursor(source, r)
			if ce, ok := errors.AsType[*CursorError](err); ok && ce.Out == useNewer {
				return err
			}
			if err == nil && (!found || rec.WrittenUS >= best.WrittenUS) {
				best, found = rec, true
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, errNoCursorPartition) {
		return CursorRecord{}, false, fmt.Errorf("read cursors: %w", err)
	}
	return best, found, nil
}

// withCursors runs do on the partition of the cursor topic that belongs to a source.
func (c Config) withCursors(ctx context.Context, source string, list listBoundsFunc, do func(*kgo.Client, Range) error) error {
	p, err := Partition(source)
	if err != nil {
		return err
	}
	cl, err := c.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	all, err := list(ctx, cl, TopicCursors)
	if err != nil {
		return err
	}
	tp := TopicPartition{Topic: TopicCursors, Partition: p}
	b, ok := all[tp]
	if !ok {
		return errNoCursorPartition
	}
	return do(cl, Range{TopicPartition: tp, From: b.Start, To: b.End})
}

// decodeCursor checks a record of the cursor topic.
func decodeCursor(source string, r *kgo.Record) (CursorRecord, error) {
	var rec CursorRecord
	fail := func(out, format string, args ...any) (CursorRecord, error) {
		at := fmt.Sprintf("record %d of %s partition %d ", r.Offset, r.Topic, r.Partition)
		return CursorRecord{}, &CursorError{Source: source, Cause: at + fmt.Sprintf(format, args...), Out: out}
	}
	foreign := "something else writes to that topic: stop it, and then run: weir cursor rebuild " + source
	if string(r.Key) != source {
		return fail(foreign, "has the key %.40q instead of %q", r.Key, source)
	}
	// The version first: a newer form may not even parse as this one.
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return fail(foreign, "is not a cursor: %v", err)
	}
	switch {
	case v.Version > CursorVersion:
		return fail(useNewer, "has version %d, and this weir knows versions up to %d", v.Version, CursorVersion)
	case v.Version < 1:
		return fail(foreign, "has no version")
	}
	if err := json.Unmarshal(r.Value, &rec); err != nil {
		return fail(foreign, "is not a cursor: %v", err)
	}
	if rec.Source != source {
		return fail(foreign, "belongs to source %.40q", rec.Source)
	}
	for topic, n := range rec.Seqs {
		if n < 0 {
			return fail(foreign, "says that the next number in %.100q is %d", topic, n)
		}
	}
	return rec, nil
}

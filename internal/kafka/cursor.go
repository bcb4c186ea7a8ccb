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
	// Counts is how many records were ever committed, by topic and kind. Beyond
	// MaxKinds names per topic the rest is under event.OtherKind.
	Counts map[string]map[string]int64 `json:"counts"`
	// Gaps is how many gaps were ever recorded.
	Gaps int64 `json:"gaps,omitempty"`
	// Instance names the process that wrote the record, for an ingester that was
	// fenced to tell a successor from a timeout.
	Instance string `json:"instance"`
	// WrittenUS is the writer's clock, in Unix microseconds.
	WrittenUS int64 `json:"written_us"`
}

// MaxKinds bounds the names in one topic's Counts: upstream chooses them, and the
// record is written with every transaction.
const MaxKinds = 1000

// Add counts n more records of a kind in a topic.
func (r *CursorRecord) Add(topic, kind string, n int64) {
	if r.Counts == nil {
		r.Counts = map[string]map[string]int64{}
	}
	m := r.Counts[topic]
	if m == nil {
		m = map[string]int64{}
		r.Counts[topic] = m
	}
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
	p, err := Partition(source)
	if err != nil {
		return CursorRecord{}, false, err
	}
	return readCursor(ctx, c, source, p, Bounds)
}

// PeekCursor is ReadCursor without waiting: it returns the last cursor whose
// transaction is committed by now and not below an open one. It tells who writes,
// and is no position to go on from.
func PeekCursor(ctx context.Context, c Config, source string) (rec CursorRecord, found bool, err error) {
	p, err := Partition(source)
	if err != nil {
		return CursorRecord{}, false, err
	}
	return readCursor(ctx, c, source, p, stableBounds)
}

func readCursor(ctx context.Context, c Config, source string, p int32,
	bounds func(context.Context, *kgo.Client, ...string) (map[TopicPartition]Bound, error),
) (rec CursorRecord, found bool, err error) {
	cl, err := c.NewClient()
	if err != nil {
		return CursorRecord{}, false, err
	}
	defer cl.Close()
	all, err := bounds(ctx, cl, TopicCursors)
	if err != nil {
		return CursorRecord{}, false, err
	}
	b, ok := all[TopicPartition{TopicCursors, p}]
	if !ok {
		return CursorRecord{}, false, fmt.Errorf("topic %s has no partition %d, which is where %s keeps its cursor", TopicCursors, p, source)
	}
	last, err := lastRecord(ctx, c, p, b)
	if err != nil || last == nil || last.Value == nil {
		return CursorRecord{}, false, err
	}
	rec, err = decodeCursor(source, last)
	return rec, err == nil, err
}

// BestCursor returns the newest usable cursor that the cursor topic still holds of a
// source, also where a tombstone, an older copy or something else was written behind
// it. found is false when there is none. A record from a newer version is a
// *CursorError: it may be the one that counts.
func BestCursor(ctx context.Context, c Config, source string) (best CursorRecord, found bool, err error) {
	p, err := Partition(source)
	if err != nil {
		return CursorRecord{}, false, err
	}
	cl, err := c.NewClient()
	if err != nil {
		return CursorRecord{}, false, err
	}
	defer cl.Close()
	all, err := Bounds(ctx, cl, TopicCursors)
	if err != nil {
		return CursorRecord{}, false, err
	}
	tp := TopicPartition{TopicCursors, p}
	err = Scan(ctx, c, []Range{{tp, all[tp].Start, all[tp].End}}, func(r *kgo.Record) error {
		rec, err := decodeCursor(source, r)
		var ce *CursorError
		switch {
		case errors.As(err, &ce) && ce.Out == useNewer:
			return err
		case err == nil && (!found || rec.WrittenUS >= best.WrittenUS):
			best, found = rec, true
		}
		return nil
	})
	if err != nil {
		return CursorRecord{}, false, fmt.Errorf("read cursors: %w", err)
	}
	return best, found, nil
}

// lastRecord returns the last committed record of a partition of the cursor
// topic, nil if there is none. It looks at the end first: until the log is
// compacted it holds a cursor of every transaction there ever was.
func lastRecord(ctx context.Context, c Config, p int32, b Bound) (last *kgo.Record, err error) {
	to := b.End
	for n := int64(256); last == nil && to > b.Start; n *= 16 {
		from := max(b.Start, to-n)
		r := Range{TopicPartition{TopicCursors, p}, from, to}
		err := Scan(ctx, c, []Range{r}, func(r *kgo.Record) error {
			last = r
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read cursor: %w", err)
		}
		to = from
	}
	return last, nil
}

// decodeCursor checks a record of the cursor topic.
func decodeCursor(source string, r *kgo.Record) (CursorRecord, error) {
	var rec CursorRecord
	fail := func(out, format string, args ...any) (CursorRecord, error) {
		at := fmt.Sprintf("record %d of %s/%d ", r.Offset, r.Topic, r.Partition)
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

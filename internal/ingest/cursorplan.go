package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

const (
	// locatedRecords is how many of the newest events say where to go on. The middle
	// one in event time does: a single odd time must not steer the position.
	locatedRecords = 101
	// locatedTail is how many offsets at the end of a partition they are looked for in.
	locatedTail = 4096
)

// PlanConfig describes a source whose cursor is to be rebuilt.
type PlanConfig struct {
	Kafka  kafka.Config
	Source string
	Topics Topics
	// Locate returns the position after an event, made of its stored value and of the
	// host that sent it; ok is false for what is not an event of the source.
	Locate func(value []byte, host string) (at event.Cursor, ok bool)
}

// CursorPlan is a new cursor for a source, made from what its topics hold.
type CursorPlan struct {
	Source string `json:"source"`
	// Problem is why the present cursor cannot be used; empty where it can.
	Problem string `json:"problem,omitempty"`
	// Topics are those that the source writes to, sorted by name.
	Topics []PlannedTopic `json:"topics"`
	// Exact: an earlier cursor was found that fits, so the position is where the
	// ingester really was. Otherwise the newest events say where that was.
	Exact bool `json:"exact"`
	// Cursor is the new record.
	Cursor kafka.CursorRecord `json:"cursor"`

	cfg PlanConfig
}

// PlannedTopic is what a plan says about one topic.
type PlannedTopic struct {
	Topic string `json:"topic"`
	// Records is how many records with a sequence number the topic holds.
	Records int64 `json:"records"`
	// Was is the next sequence number by the present cursor, 0 without one; Next is it
	// by the new one.
	Was  int64 `json:"was"`
	Next int64 `json:"next"`
	// Deleted is how many records the new cursor counts without knowing their types:
	// they are no longer in the topic.
	Deleted int64 `json:"deleted"`
}

// PlanCursor reads a source's topics from beginning to end and works out its cursor. It
// writes nothing and disturbs nobody.
func PlanCursor(ctx context.Context, cfg PlanConfig) (*CursorPlan, error) {
	best, _, err := kafka.BestCursor(ctx, cfg.Kafka, cfg.Source)
	if err != nil {
		return nil, err
	}
	t := newTopicReader(&cfg, best)
	if err := t.read(ctx); err != nil {
		return nil, err
	}
	// After the topics: the cursor of an ingester that runs fits what was read before.
	p := &CursorPlan{Source: cfg.Source, cfg: cfg}
	was, found, err := kafka.ReadCursor(ctx, cfg.Kafka, cfg.Source)
	var ce *kafka.CursorError
	switch {
	case errors.As(err, &ce):
		p.Problem = ce.Cause
	case err != nil:
		return nil, err
	case !found && len(t.next) > 0:
		p.Problem = fmt.Sprintf("topic %s has no cursor of %s", kafka.TopicCursors, p.Source)
	}
	p.conclude(was, t)
	return p, nil
}

// conclude compares what was read with the present cursor and makes the new one.
func (p *CursorPlan) conclude(was kafka.CursorRecord, t *topicReader) {
	p.Cursor, p.Exact = t.rec, t.base.Version > 0
	for _, name := range t.names {
		base := t.base.Seqs[name]
		row := PlannedTopic{Topic: name, Records: t.records[name], Was: was.Seqs[name], Next: max(base, t.next[name])}
		if row.Deleted = max(0, row.Next-base-t.counted[name]); row.Deleted > 0 {
			p.Cursor.Add(name, event.DeletedKind, row.Deleted)
		}
		p.Cursor.Seqs[name] = row.Next
		p.Exact = p.Exact && row.Next == base
		if p.Problem == "" && row.Next > row.Was {
			p.Problem = fmt.Sprintf("it says that the next sequence number of topic %s is %d, and by the topic it is %d", name, row.Was, row.Next)
		}
		p.Topics = append(p.Topics, row)
	}
	if at, ok := t.position(); ok && !p.Exact {
		at.Scope, at.Origin = t.base.Cursor.Scope, t.base.Cursor.Origin
		p.Cursor.Cursor = at
	}
}

// Apply fences the source's ingester, if one runs, makes sure that the topics still hold
// what the plan was made of, and writes the new cursor.
func (p *CursorPlan) Apply(ctx context.Context) error {
	cl, err := p.cfg.Kafka.NewClient(
		kgo.TransactionalID(kafka.TransactionalID(p.Source)), kgo.TransactionTimeout(transactionTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer cl.Close()
	partition, err := kafka.Partition(p.Source)
	if err != nil {
		return err
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("fence the ingester: %w", err)
	}
	now, err := PlanCursor(ctx, p.cfg)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(now.Cursor, p.Cursor) {
		return errors.New("the topics have changed meanwhile: a weir stores events of this source; stop it and try again")
	}
	rec := p.Cursor
	rec.Instance, rec.WrittenUS = newInstance(), time.Now().UnixMicro()
	value, err := rec.Encode()
	if err != nil {
		return err
	}
	err = writeCursor(ctx, cl, &kgo.Record{Topic: kafka.TopicCursors, Partition: partition, Key: []byte(p.Source), Value: value})
	if err != nil {
		return fmt.Errorf("write the cursor of %s: %w", p.Source, err)
	}
	written, found, err := kafka.ReadCursor(ctx, p.cfg.Kafka, p.Source)
	if err == nil && (!found || written.Instance != rec.Instance) {
		err = errors.New("another weir has written one meanwhile")
	}
	if err != nil {
		return fmt.Errorf("read the new cursor of %s: %w", p.Source, err)
	}
	return nil
}

// writeCursor commits a record alone.
func writeCursor(ctx context.Context, cl *kgo.Client, rec *kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return err
	}
	if err := listed(ctx, cl, rec.Topic); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, kgo.TryCommit)
}

// topicReader reads the topics of a source.
type topicReader struct {
	cfg    *PlanConfig
	names  []string           // of the topics, sorted
	base   kafka.CursorRecord // the newest usable cursor
	rec    kafka.CursorRecord // base, and what came after it
	bounds map[kafka.TopicPartition]kafka.Bound

	// By topic: the records with a sequence number, those of them that base does not
	// know, and the highest sequence number plus 1.
	records, counted, next map[string]int64
	newest                 []located
}

// located is an event, in order of arrival, with the position after it.
type located struct {
	received, seq int64
	at            event.Cursor
}

func newTopicReader(cfg *PlanConfig, base kafka.CursorRecord) *topicReader {
	t := &topicReader{cfg: cfg, base: base, records: map[string]int64{}, counted: map[string]int64{}, next: map[string]int64{}}
	t.names = (&Config{Topics: cfg.Topics}).eventTopics()
	slices.Sort(t.names)
	t.rec = kafka.CursorRecord{
		Version: kafka.CursorVersion, Source: cfg.Source, Cursor: base.Cursor.Clone(), Gaps: base.Gaps,
		Seqs: map[string]int64{}, Counts: map[string]map[string]int64{},
	}
	for topic, kinds := range base.Counts {
		t.rec.Counts[topic] = maps.Clone(kinds)
	}
	maps.Copy(t.rec.Seqs, base.Seqs)
	return t
}

func (t *topicReader) read(ctx context.Context) error {
	partition, err := kafka.Partition(t.cfg.Source)
	if err != nil {
		return err
	}
	cl, err := t.cfg.Kafka.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	if t.bounds, err = kafka.Bounds(ctx, cl, t.names...); err != nil {
		return err
	}
	var ranges []kafka.Range
	for tp, b := range t.bounds {
		if tp.Topic != t.cfg.Topics.DeadLetter || tp.Partition == partition {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	if err := kafka.Scan(ctx, t.cfg.Kafka, ranges, t.record); err != nil {
		return fmt.Errorf("read the topics of %s: %w", t.cfg.Source, err)
	}
	return nil
}

func (t *topicReader) record(r *kgo.Record) error {
	seq, ok := kafka.Seq(r)
	if !ok {
		return nil // another program's
	}
	t.records[r.Topic]++
	t.next[r.Topic] = max(t.next[r.Topic], seq+1)
	letter := r.Topic == t.cfg.Topics.DeadLetter
	if seq >= t.base.Seqs[r.Topic] {
		kind := string(header(r, kafka.HeaderKind))
		t.counted[r.Topic]++
		t.rec.Add(r.Topic, kind, 1)
		if letter && kind == event.KindGap {
			t.rec.Gaps++
		}
	}
	end := t.bounds[kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}].End
	if !letter && r.Offset >= end-locatedTail {
		t.locate(r, seq)
	}
	return nil
}

// locate keeps an event as long as it is one of the newest.
func (t *topicReader) locate(r *kgo.Record, seq int64) {
	at, ok := t.cfg.Locate(r.Value, string(header(r, kafka.HeaderHost)))
	if !ok {
		return
	}
	received, _ := strconv.ParseInt(string(header(r, kafka.HeaderReceived)), 10, 64)
	if t.newest = append(t.newest, located{received, seq, at}); len(t.newest) >= 10*locatedRecords {
		t.cut()
	}
}

// cut leaves the newest events.
func (t *topicReader) cut() {
	slices.SortFunc(t.newest, func(a, b located) int {
		return cmp.Or(cmp.Compare(b.received, a.received), cmp.Compare(b.seq, a.seq))
	})
	t.newest = t.newest[:min(len(t.newest), locatedRecords)]
}

// position returns where the newest events say that the source has got to.
func (t *topicReader) position() (event.Cursor, bool) {
	if len(t.newest) == 0 {
		return event.Cursor{}, false
	}
	t.cut()
	slices.SortStableFunc(t.newest, func(a, b located) int { return cmp.Compare(a.at.TimeUS, b.at.TimeUS) })
	return t.newest[len(t.newest)/2].at, true
}

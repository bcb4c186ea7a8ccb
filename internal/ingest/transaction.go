package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

const (
	// maxAhead is how far in the future a record's timestamp may be: a broker
	// refuses more than an hour, and would refuse the same record for ever.
	maxAhead = kafka.MaxAhead
	// recordOverhead is room in bytes for what a record consists of besides key,
	// value and the values of its headers, and for the batch around it.
	recordOverhead = 512
)

// transaction builds the records of one Kafka transaction, is sealed, and commits
// them. All its memory is used again for a later one; what the records point to belongs
// to the batches, which are released once the transaction is committed. It lives and
// dies with a session: after an error the client may still hold the records. Building
// and sealing change the session, committing only the statistics, so that another
// transaction can be built meanwhile.
type transaction struct {
	s       *session
	limits  map[string]int // bytes of the largest record, by topic
	topics  *topics
	batches []*event.Batch
	recs    []record
	text    []byte // digits and digests
	cursor  kgo.Record
	kinds   []*kindState // with pending counts

	host      string
	hostBytes []byte
	// When the event in hand had arrived: Unix microseconds, and as text.
	receivedUS int64
	received   []byte

	events int   // taken from the queue
	bytes  int64 // of them
	now    time.Time
	done   delta

	// Since it was sealed: the position that it commits, Stats.Total with it, and filter.early.
	at     event.Cursor
	total  int64
	early  int64
	failed atomic.Pointer[error]
}

// delta is what a transaction adds to the statistics.
type delta struct{ events, bytes, rejects, gaps, duplicates, tooOld, skipped int64 }

// topicState is what is known of a topic that records go to.
type topicState struct {
	name  string
	seq   int64 // of the next record
	kinds map[string]*kindState
	last  *kindState
}

// kindState is one kind of a topic: its header, so that it is made once, and how
// many of it the transaction has.
type kindState struct {
	topic   string
	kind    string
	header  []byte
	pending int64
}

func newTransaction(s *session, topics *topics, limits map[string]int) *transaction {
	return &transaction{s: s, topics: topics, limits: limits}
}

// topics are those that records go to, by route: what the transactions of a session
// share.
type topics [event.Gap + 1]*topicState

func newTopics(s *session) *topics {
	t := &topics{}
	topic := func(name string) *topicState {
		if name == "" {
			return nil
		}
		return &topicState{name: name, seq: s.rec.Seqs[name], kinds: map[string]*kindState{}}
	}
	t[event.Data] = topic(s.cfg.Topics.Data)
	t[event.Account] = topic(s.cfg.Topics.Account)
	t[event.Reject] = topic(s.cfg.Topics.DeadLetter)
	t[event.Gap] = t[event.Reject]
	return t
}

// records is how many records the transaction has, the cursor not counted.
func (t *transaction) records() int { return len(t.recs) }

// record is a record with its headers beside it: the library reads both whenever it
// reads one, long after they were made.
type record struct {
	kgo.Record // its Headers are nil until it is produced, or a dead letter's
	headers    [4]kgo.RecordHeader
}

// add takes ownership of a batch and turns its events into records.
func (t *transaction) add(ctx context.Context, b *event.Batch) error {
	t.batches = append(t.batches, b)
	if err := t.s.origin(b.Cursor.Origin); err != nil {
		return err
	}
	t.now = time.Now()
	if host := cmp.Or(b.Host, b.Cursor.Host); t.host != host || t.hostBytes == nil {
		t.host, t.hostBytes = host, []byte(host)
	}
	// What came before this batch decides what is late: a quiet stream's batch can span hours.
	t.s.late = t.s.filter.newest - t.s.filter.window/2
	t.s.filter.tick(b.Cursor.TimeUS)
	fresh := t.done.events + t.done.rejects
	t.s.hashAll(b.Events)
	t.s.filter.touch(b.Events)
	for i := range b.Events {
		t.arrived(b.ReceivedUS(&b.Events[i]))
		if err := t.event(ctx, &b.Events[i]); err != nil {
			return err
		}
	}
	t.s.filter.expire()
	t.events += len(b.Events)
	t.bytes += int64(b.Bytes())
	if t.done.events+t.done.rejects > fresh || b.Cursor.TimeUS >= t.s.rec.Cursor.TimeUS {
		t.move(&b.Cursor)
	}
	return nil
}

// arrived makes us the time of arrival of the next event, in Unix microseconds; 0 means now.
func (t *transaction) arrived(us int64) {
	if us == 0 {
		us = t.now.UnixMicro()
	}
	if t.received == nil || us != t.receivedUS {
		t.receivedUS, t.received = us, t.digits(us)
	}
}

// move makes c the position to commit. What is delivered again after a reconnect
// does not move it back: the next start would go over that stretch once more.
func (t *transaction) move(c *event.Cursor) {
	origin := t.s.rec.Cursor.Origin
	t.s.rec.Cursor = c.Clone()
	t.s.rec.Cursor.Origin = origin
	t.s.moved = true
}

// event turns an event into a record, unless it is a duplicate or not stored.
func (t *transaction) event(ctx context.Context, e *event.Event) error {
	if e.Route == event.Skip {
		t.done.skipped++
		return nil
	}
	if int(e.Route) >= len(*t.topics) || t.topics[e.Route] == nil {
		return &internalError{fmt.Sprintf("%s delivered an event of route %s, which has no topic", t.s.cfg.Source.Name(), e.Route)}
	}
	if e.Route != event.Gap && t.size(e) > t.limits[t.topics[e.Route].name] {
		t.tooLarge(e) // before the filter, which knows dead letters by their digest
		e.Sum = t.s.filter.ident(e.ID)
	}
	if at := t.s.behind(e); at != 0 {
		if told, err := t.s.tells(ctx, e, at); err != nil {
			return err
		} else if !told {
			t.s.skip(&t.done, at)
			return nil
		}
	}
	if len(e.ID) > 0 && !t.s.filter.add(e.Sum) {
		t.done.duplicates++
		return nil
	}
	t.record(e)
	return nil
}

// size is an upper bound of the record's size in bytes.
func (t *transaction) size(e *event.Event) int {
	return len(e.Key) + len(e.Value) + len(e.Kind) + len(e.Detail) + len(t.host) + recordOverhead
}

// tooLarge makes a dead letter of an event that its topic does not accept.
func (t *transaction) tooLarge(e *event.Event) {
	limit := t.limits[t.topics[e.Route].name]
	if e.Route != event.Reject {
		sum := sha256.Sum256(e.Value)
		id := []byte(event.RejectID(sum))
		*e = event.Event{Route: event.Reject, Kind: event.ReasonTooLarge, ID: id, Key: id, Value: e.Value,
			TimeUS: e.TimeUS, AtUS: e.AtUS, Size: int64(len(e.Value)),
			Detail: fmt.Sprintf("%d bytes, and topic %s takes records of at most %d", len(e.Value), t.topics[e.Route].name, limit)}
	}
	e.Detail = e.Detail[:min(len(e.Detail), 1024)]
	limit = t.limits[t.topics[event.Reject].name]
	e.Value = e.Value[:min(len(e.Value), event.MaxHead)]
	if over := t.size(e) - limit; over > 0 {
		e.Value = e.Value[:max(0, len(e.Value)-over)]
	}
}

// record appends the record of an event.
func (t *transaction) record(e *event.Event) {
	topic := t.topics[e.Route]
	kind := t.kind(topic, e.Kind)
	t.recs = append(t.recs, record{kgo.Record{Topic: topic.name, Key: e.Key, Value: e.Value, Timestamp: t.timestamp(e.TimeUS), Partition: e.Hash},
		[...]kgo.RecordHeader{
			{Key: kafka.HeaderKind, Value: kind.header},
			{Key: kafka.HeaderSeq, Value: t.digits(topic.seq)},
			{Key: kafka.HeaderHost, Value: t.hostBytes},
			{Key: kafka.HeaderReceived, Value: t.received}}})
	topic.seq++
	rec := &t.recs[len(t.recs)-1]
	switch e.Route {
	case event.Reject:
		t.letter(rec, e)
		t.done.rejects++
	case event.Gap:
		t.letter(rec, e)
		t.s.rec.Gaps++
		t.done.gaps++
	default:
		t.done.events++
		t.done.bytes += int64(len(e.Value))
	}
}

// letter adds what a dead letter has beyond other records.
func (t *transaction) letter(rec *record, e *event.Event) {
	name := t.s.cfg.Source.Name()
	rec.Partition = t.s.partition
	if len(rec.Key) == 0 {
		rec.Key = []byte(name)
	}
	size := e.Size
	digest, known := strings.CutPrefix(string(e.ID), rejectPrefix)
	if !known { // a gap
		sum := sha256.Sum256(e.Value)
		digest, size = hex.EncodeToString(sum[:]), int64(len(e.Value))
	}
	rec.Headers = append(rec.headers[:len(rec.headers):len(rec.headers)],
		kgo.RecordHeader{Key: kafka.HeaderSource, Value: []byte(name)},
		kgo.RecordHeader{Key: kafka.HeaderSize, Value: t.digits(size)},
		kgo.RecordHeader{Key: kafka.HeaderSHA256, Value: []byte(digest)},
		kgo.RecordHeader{Key: kafka.HeaderDetail, Value: []byte(e.Detail)})
}

// rejectPrefix is how the identity of a Reject begins: event.RejectID.
const rejectPrefix = "sha256:"

// kind counts one record of a kind.
func (t *transaction) kind(topic *topicState, kind string) *kindState {
	k := topic.last
	if k == nil || k.kind != kind {
		k = topic.kinds[kind]
	}
	if k == nil {
		k = &kindState{topic: topic.name, kind: strings.Clone(kind), header: []byte(kind)}
		if len(topic.kinds) < kafka.MaxKinds {
			topic.kinds[k.kind] = k
		}
	}
	topic.last = k
	if k.pending == 0 {
		t.kinds = append(t.kinds, k)
	}
	k.pending++
	return k
}

// digits returns a number as text, in memory of the transaction.
func (t *transaction) digits(n int64) []byte {
	from := len(t.text)
	t.text = strconv.AppendInt(t.text, n, 10)
	return t.text[from:len(t.text):len(t.text)]
}

// timestamp is the event's time where a broker accepts it.
func (t *transaction) timestamp(us int64) time.Time {
	if us <= 0 {
		return t.now
	}
	if latest := t.now.Add(maxAhead); us > latest.UnixMicro() {
		return latest
	}
	return time.UnixMicro(us)
}

// commit writes the records and the cursor, which are sealed, in one transaction, which
// is reset before it is built again. After an error the session is over.
func (t *transaction) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, transactionTimeout)
	defer cancel()
	defer t.s.attend(ctx)()
	cl := t.s.cl
	if err := cl.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	crash.Here("ingest: begun")
	promise := t.promise
	for i := range t.recs {
		if i == len(t.recs)/2 {
			crash.Here("ingest: half produced")
		}
		rec := &t.recs[i]
		if rec.Headers == nil {
			rec.Headers = rec.headers[:]
		}
		cl.Produce(context.Background(), &rec.Record, promise)
	}
	cl.Produce(context.Background(), &t.cursor, promise)
	crash.Here("ingest: produced")
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("write %d records: %w", len(t.recs), err)
	}
	if err := t.failed.Load(); err != nil {
		return fmt.Errorf("write %d records: %w", len(t.recs), *err)
	}
	crash.Here("ingest: flushed")
	if err := t.registered(ctx); err != nil {
		return fmt.Errorf("write %d records: %w", len(t.recs), err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit %d records: %w", len(t.recs), err)
	}
	crash.Here("ingest: committed")
	t.account()
	crash.Here("ingest: accounted")
	return nil
}

// registered waits until the client lists every topic that the transaction wrote.
// kgo (1.22.3, storePartitionsUpdate) sends the records that waited for a topic's
// first metadata a moment before it lists the topic. A transaction that ends within
// that moment looks empty to EndTransaction, which aborts it and reports success, and
// leaves its partitions with sequence numbers that the brokers then refuse.
func (t *transaction) registered(ctx context.Context) error {
	if err := listed(ctx, t.s.cl, t.cursor.Topic); err != nil {
		return err
	}
	for _, k := range t.kinds {
		if err := listed(ctx, t.s.cl, k.topic); err != nil {
			return err
		}
	}
	return nil
}

// listed waits until the client has the partitions of a topic, or ctx ends.
func listed(ctx context.Context, cl *kgo.Client, topic string) error {
	for !loaded(cl, topic) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the partitions of %s: %w", topic, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// loaded reports whether the client has a topic's partitions.
func loaded(cl *kgo.Client, topic string) bool {
	leader, _, err := cl.PartitionLeader(topic, 0)
	return leader != -1 || err != nil
}

// promise keeps the first error of a record.
func (t *transaction) promise(r *kgo.Record, err error) {
	if err != nil {
		if errors.Is(err, kerr.InvalidTimestamp) {
			err = &kafka.TimestampError{Topic: r.Topic, Time: r.Timestamp, Now: time.Now(), Err: err}
		}
		t.failed.CompareAndSwap(nil, &err)
	}
}

// seal makes the cursor record. Nothing is added afterwards.
func (t *transaction) seal() error {
	rec := &t.s.rec
	for _, k := range t.kinds {
		rec.Add(k.topic, k.kind, k.pending)
		k.pending = 0
	}
	for _, topic := range t.topics {
		if topic != nil {
			rec.Seqs[topic.name] = topic.seq
		}
	}
	rec.Version, rec.Instance, rec.WrittenUS = kafka.CursorVersion, t.s.instance, time.Now().UnixMicro()
	value, err := rec.Encode()
	if err != nil {
		return &internalError{err.Error()}
	}
	t.cursor = kgo.Record{Topic: kafka.TopicCursors, Partition: t.s.partition, Key: []byte(rec.Source), Value: value}
	t.at, t.s.moved = rec.Cursor.Clone(), false
	t.total = rec.Seqs[t.s.cfg.Topics.Data] + rec.Seqs[t.s.cfg.Topics.Account]
	if t.s.filter != nil {
		t.early = t.s.filter.early
	}
	return nil
}

// account adds a committed transaction to the statistics.
func (t *transaction) account() {
	now := time.Now()
	i := t.s.Ingester
	i.mu.Lock()
	defer i.mu.Unlock()
	i.goesOn()
	s := &i.stats
	t.done.addTo(s)
	t.done = delta{}
	s.Commits++
	s.LastCommit = now
	s.Cursor, s.Forgotten, s.Total = t.at, t.early, t.total
	for _, b := range t.batches {
		for i := range b.Events {
			if us := b.ReceivedUS(&b.Events[i]); us != 0 {
				s.Latency.Add(now.Sub(time.UnixMicro(us)), 1)
			}
		}
	}
}

func (d *delta) addTo(s *Stats) {
	s.Events += d.events
	s.Bytes += d.bytes
	s.Rejects += d.rejects
	s.Gaps += d.gaps
	s.Duplicates += d.duplicates
	s.TooOld += d.tooOld
	s.Skipped += d.skipped
}

// reset releases what the transaction holds, to build the next one.
func (t *transaction) reset() {
	if t.done != (delta{}) { // nothing to commit: duplicates and skips
		t.s.mu.Lock()
		t.done.addTo(&t.s.stats)
		t.s.mu.Unlock()
	}
	for _, b := range t.batches {
		b.Release()
	}
	clear(t.batches)
	clear(t.recs)
	t.batches, t.recs, t.text = t.batches[:0], t.recs[:0], t.text[:0]
	t.received = nil
	t.kinds, t.events, t.bytes, t.done = t.kinds[:0], 0, 0, delta{}
}

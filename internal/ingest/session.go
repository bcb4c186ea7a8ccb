package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/queue"
)

// session is one life of an ingester: from the fence to the first error. Nothing
// of it outlives it, so that an aborted transaction leaves no trace in memory.
type session struct {
	*Ingester
	cl *kgo.Client
	// rec is the cursor record after the transaction being built, or after the
	// last one.
	rec    kafka.CursorRecord
	filter *filter
	// late is the upstream time, in Unix microseconds, before which an event of the batch in
	// hand may have been forgotten by the filter.
	late int64
	// trimmed are the topics that no longer hold all that was stored since filter.since: of the
	// last look back.
	trimmed map[string]bool
	// beyond is a time, in Unix microseconds, since which the topics are known not to tell
	// what was stored; toldOld is when an event from before it was last logged.
	beyond  int64
	toldOld time.Time
	hash    kgo.TopicPartitioner // of keys: it keeps nothing
	// moved: the cursor is not the committed one.
	moved bool
	// tx is being built, and other is built next: flight tells how the commit of other
	// ended, and is nil when nothing is being committed. fail ends the waits of the
	// session when that fails.
	tx, other *transaction
	flight    chan landing
	fail      context.CancelFunc

	began time.Time // the last transaction
}

// once runs one session. It returns nil when ctx was cancelled and what was
// queued is committed.
func (i *Ingester) once(ctx context.Context) error {
	i.setState(StateStarting, nil)
	// Operations of Kafka outlive the cancellation, to drain; not for long.
	op, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(drainTimeout, cancel)
		context.AfterFunc(op, func() { timer.Stop() })
	})()

	s := &session{Ingester: i, hash: kgo.StickyKeyPartitioner(nil).ForTopic("")}
	defer s.close()
	if err := s.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // nothing was taken on yet
		}
		return err
	}
	return s.stream(ctx, op)
}

func (s *session) close() {
	if s.cl != nil {
		s.cl.Close()
	}
}

// open makes the session ready to stream, in the order that exactly-once needs.
func (s *session) open(ctx context.Context) error {
	var err error
	limits := map[string]int{}
	if s.cl, err = s.cfg.Kafka.NewClient(s.producerOpts(limits)...); err != nil {
		return err
	}
	if err := s.cfg.Kafka.Ping(ctx, s.cl); err != nil {
		return err
	}
	if f := s.successor(ctx); f != nil {
		return f
	}
	if err := s.topics(ctx, limits); err != nil {
		return err
	}
	// The fence comes first. Between reading the cursor and a later fence, a
	// predecessor could still commit, and its events would be written twice.
	if err := s.fence(ctx); err != nil {
		return err
	}
	crash.Here("ingest: fenced")
	if err := s.position(ctx); err != nil {
		return err
	}
	crash.Here("ingest: cursor read")
	if err := s.check(ctx); err != nil {
		return err
	}
	s.tx = newTransaction(s, newTopics(s), limits)
	s.other = newTransaction(s, s.tx.topics, limits)
	if err := s.claim(ctx); err != nil {
		return err
	}
	crash.Here("ingest: claimed")
	s.filter = newFilter(s.cfg.Source.Window(), s.memory.limit)
	if err := s.rebuild(ctx); err != nil {
		return err
	}
	// What was rebuilt came partition by partition: none of it may go before as
	// many others have come as can be repeated, and none of what is not committed yet: a
	// look back would not find it.
	uncommitted := 2 * (s.cfg.MaxEvents + s.memory.batch)
	s.filter.keep = min(s.filter.n+s.repeats()+uncommitted, s.memory.limit)
	crash.Here("ingest: filter rebuilt")
	return nil
}

// fence makes every earlier producer of this source's transactional id fail, and
// aborts the transaction that one left open.
func (s *session) fence(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 2*transactionTimeout)
	defer cancel()
	if _, _, err := s.cl.ProducerID(limited); err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			if why := kafka.Unended(ctx, s.cl, kafka.TransactionalID(s.cfg.Source.Name())); why != nil {
				return why
			}
		}
		return fmt.Errorf("fence the predecessor: %w", err)
	}
	return nil
}

// producerOpts are the client's options beyond the common ones. limits is filled
// in before the first record.
func (s *session) producerOpts(limits map[string]int) []kgo.Opt {
	return []kgo.Opt{
		kgo.TransactionalID(kafka.TransactionalID(s.cfg.Source.Name())),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Apache Kafka may refuse a transaction whose predecessor's markers are not in
		// place yet, and the library tries again once it has asked where the leaders are.
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.StopProducerOnDataLossDetected(),
		kgo.RecordPartitioner(partitioner{manual: []string{kafka.TopicCursors, s.cfg.Topics.DeadLetter}}),
		kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if n := limits[topic]; n > 0 {
				return int32(n)
			}
			return kafka.MaxMessageBytes
		}),
		// A transaction is produced whole and then flushed: what is sent before is
		// only cut into smaller batches.
		kgo.ProducerLinger(transactionTimeout),
		kgo.MaxBufferedRecords(1 << 30),
	}
}

// topics checks that the topics are there and learns how large a record may be.
// It creates nothing: a topic that vanished is a loss, which must not be papered over.
func (s *session) topics(ctx context.Context, limits map[string]int) error {
	names := s.cfg.topicNames()
	got, err := kafka.MaxBytes(ctx, s.cl, names...)
	if err != nil {
		return err
	}
	for t, n := range got {
		limits[t] = n
	}
	bounds, err := kafka.Bounds(ctx, s.cl, names...)
	if err != nil {
		return err
	}
	for _, t := range names {
		p := int32(0)
		if t == kafka.TopicCursors || t == s.cfg.Topics.DeadLetter {
			p = s.partition
		}
		if _, ok := bounds[kafka.TopicPartition{Topic: t, Partition: p}]; !ok {
			return fmt.Errorf("topic %s has no partition %d: it must exist before events are ingested", t, p)
		}
	}
	return nil
}

// topicNames are the topics that the ingester writes.
func (c *Config) topicNames() []string { return append(c.eventTopics(), kafka.TopicCursors) }

// eventTopics are topicNames without the cursors.
func (c *Config) eventTopics() []string {
	names := []string{c.Topics.Data, c.Topics.DeadLetter}
	if c.Topics.Account != "" {
		names = append(names, c.Topics.Account)
	}
	return names
}

// writes reports whether a partition of the eventTopics is one that this source writes:
// the sources share the dead-letter topic.
func (i *Ingester) writes(tp kafka.TopicPartition) bool {
	return tp.Topic != i.cfg.Topics.DeadLetter || tp.Partition == i.partition
}

// position reads the cursor and checks that it is this source's to go on from.
func (s *session) position(ctx context.Context) error {
	name := s.cfg.Source.Name()
	rec, found, err := kafka.ReadCursor(ctx, s.cfg.Kafka, name)
	if err != nil {
		return err
	}
	if !found {
		rec = kafka.CursorRecord{Source: name}
	}
	s.known = writing{rec.Instance, max(rec.WrittenUS, 1)}
	s.rec = rec
	if s.rec.Seqs == nil {
		s.rec.Seqs = map[string]int64{}
	}
	return s.origin(s.cfg.Origin)
}

// check stops an ingester whose cursor was lost or is older than what the topics hold.
func (s *session) check(ctx context.Context) error {
	bounds, err := kafka.Bounds(ctx, s.cl, s.cfg.eventTopics()...)
	if err != nil {
		return err
	}
	maps.DeleteFunc(bounds, func(tp kafka.TopicPartition, _ kafka.Bound) bool { return !s.writes(tp) })
	return kafka.CheckCursor(ctx, s.cfg.Kafka, s.rec, bounds)
}

// origin is the guard against mixed topics: it accepts where events come from, or
// refuses.
func (s *session) origin(got string) error {
	have := s.rec.Cursor.Origin
	switch {
	case got == "" || got == have:
		return nil
	case have != "":
		return &OriginError{Source: s.cfg.Source.Name(), Have: have, Got: got}
	}
	s.rec.Cursor.Origin = got
	return nil
}

// claim commits the cursor as it is, in this instance's name, so that the
// predecessor learns who has fenced it.
func (s *session) claim(ctx context.Context) error {
	err := s.tx.seal()
	if err == nil {
		err = s.tx.commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("claim %s: %w", s.cfg.Source.Name(), err)
	}
	s.tx.reset()
	s.known = writingOf(&s.rec)
	return nil
}

// stream runs the source and commits what it delivers, until ctx is cancelled and
// everything is committed, or something fails.
func (s *session) stream(ctx, op context.Context) error {
	q := queue.New(s.cfg.QueueEvents, s.cfg.QueueBytes)
	s.setQueue(q)
	defer q.Discard()
	defer s.setQueue(nil)
	s.setState(StateRunning, nil)

	up, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	from := s.rec.Cursor.Clone()
	go func() {
		defer q.Close()
		ended <- s.upstream(up, from, q)
	}()
	var err error
	defer cancel()
	op, s.fail = context.WithCancel(op)
	defer s.fail()
	for err == nil {
		err = s.next(op, q)
	}
	if failed := s.land(); failed != nil {
		err = failed
	}
	cancel()
	upErr := s.stopped(ctx, ended)
	if errors.Is(err, queue.ErrClosed) { // by the source, which has returned
		err = upErr // nil after a cancellation
	}
	return err
}

// stopped waits until the source has returned after its context was cancelled. The next
// session calls the same Source, which allows one call of Stream at a time: two at once would
// mix their positions. So a session lasts for as long as its source hangs, and says so. A
// source that still hangs when the ingester itself is to end is left behind.
func (s *session) stopped(ctx context.Context, ended <-chan error) error {
	late := time.NewTimer(drainTimeout)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
	}
	err := fmt.Errorf("%s did not stop within %v: ingest goes on when it has", s.cfg.Source.Name(), drainTimeout)
	s.cfg.Log.Warn("the source does not stop", "error", err)
	s.setState(StateWaiting, err)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// next waits for events and begins to commit one transaction of them, as soon as the
// one before is committed. It returns queue.ErrClosed when there will be no more.
func (s *session) next(ctx context.Context, q *queue.Queue) error {
	limit := time.Duration(-1)
	if s.moved {
		limit = max(0, time.Until(s.lastCommit().Add(idleCommit)))
	}
	if err := q.Wait(ctx, 1, 0, limit); err != nil {
		return err
	}
	if wait := time.Until(s.began.Add(s.cfg.Pace)); wait > 0 {
		if err := q.Wait(ctx, s.cfg.EagerEvents, s.cfg.MaxBytes/2, wait); err != nil {
			return err
		}
	}
	if err := s.gather(ctx, q); err != nil {
		return err
	}
	if s.flight != nil {
		if s.tx.events == 0 && !s.moved {
			return nil // who puts was about to
		}
		if err := s.land(); err != nil {
			return err
		}
		if err := s.gather(ctx, q); err != nil { // what came meanwhile
			return err
		}
	}
	s.began = time.Now()
	crash.Here("ingest: gathered")
	if s.tx.records() == 0 && (!s.moved || time.Since(s.lastCommit()) < idleCommit) {
		// Duplicates and canaries alone are not worth a transaction: coming back
		// to where the cursor is costs no more than meeting them again.
		s.tx.reset()
		return nil
	}
	return s.launch(ctx)
}

// gather takes from the queue what fits into the transaction.
func (s *session) gather(ctx context.Context, q *queue.Queue) error {
	// At once: a backlog's first transactions would grow step by step, and copy what they
	// have each time.
	s.tx.recs = slices.Grow(s.tx.recs, max(0, min(q.Stats().Events, s.cfg.MaxEvents-s.tx.events)))
	for s.tx.events < s.cfg.MaxEvents && s.tx.bytes < s.cfg.MaxBytes {
		b, ok := q.TryGet()
		if !ok {
			break
		}
		if err := s.tx.add(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// launch commits what was gathered while the next transaction is gathered: Apache
// Kafka lets a transaction wait for the end of the one before, and then both its
// processors and these ones have nothing to do.
func (s *session) launch(ctx context.Context) error {
	if err := s.tx.seal(); err != nil {
		return err
	}
	tx, flight := s.tx, make(chan landing, 1)
	s.tx, s.other, s.flight = s.other, tx, flight
	go func() {
		var l landing
		defer func() {
			if l.panicked = recover(); l.panicked != nil || l.err != nil {
				s.fail()
			}
			flight <- l
		}()
		l.err = tx.commit(ctx)
	}()
	s.tx.reset() // the one before, now that nobody waits for it
	return nil
}

// landing is how a transaction ended.
type landing struct {
	err      error
	panicked any
}

// land waits until the transaction that is being committed, if there is one, has
// ended, and panics where that did.
func (s *session) land() error {
	if s.flight == nil {
		return nil
	}
	l := <-s.flight
	s.flight = nil
	if l.panicked != nil {
		panic(l.panicked)
	}
	return l.err
}

// idleCommit is how old the committed cursor may become after nothing but
// duplicates and canaries.
const idleCommit = 10 * time.Second

// upstream streams the source until ctx ends, or it fails for good.
func (s *session) upstream(ctx context.Context, from event.Cursor, q *queue.Queue) error {
	var backoff event.Backoff
	for ctx.Err() == nil {
		delivered := false
		err := s.cfg.Source.Stream(ctx, from, func(b *event.Batch) error {
			delivered = delivered || len(b.Events) > 0
			s.hashAll(b.Events)
			cursor := b.Cursor.Clone() // the batch belongs to the queue afterwards
			if err := q.Put(ctx, b); err != nil {
				return err
			}
			from = cursor
			return nil
		})
		if ctx.Err() != nil {
			break
		}
		wait, permanent := backoff.Next(err, delivered)
		if permanent {
			return &sourceError{err}
		}
		if err != nil && !delivered {
			s.cfg.Log.Warn("source is not connected", "error", err, "wait", wait.Round(time.Millisecond))
		} else {
			s.cfg.Log.Info("source connects again", "reason", err, "wait", wait.Round(time.Millisecond))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil //nolint:nilerr // a stream that is cancelled ends with any error
}

package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

// MaxTopics bounds the topics of one ReadTopics: each has fetches of its own in memory.
const MaxTopics = 16

// ReadTopics is Read for several topics. Their messages are merged by time, as far as the
// order within each partition allows; what is followed comes as it arrives. Newest means the
// newest of all topics, and MaxMessages counts over all. MaxBytes and MaxScanned are limits
// of each topic. It returns the progress by topic.
func (i *Inspector) ReadTopics(ctx context.Context, topics []string, q Query, each func(Message) error) (map[string]Progress, error) {
	if len(topics) > MaxTopics {
		return nil, fmt.Errorf("read messages: %d topics at once, at most %d: read them in turns", len(topics), MaxTopics)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &topicsReading{i: i, q: q, each: each, cancel: cancel, progress: map[string]Progress{}}
	var err error
	if q.From.mode == targetNewest {
		err = r.newest(ctx, topics)
	} else {
		err = r.forward(ctx, topics)
	}
	if err == nil && q.Follow && r.stopped == "" && ctx.Err() == nil {
		err = r.follow(ctx)
	}
	for name, p := range r.progress {
		p.Stopped = cmp.Or(r.stopped, p.Stopped)
		r.progress[name] = p
	}
	return r.progress, err
}

// errStopped ends the reading of a topic because the merge has ended: its message was not
// delivered.
var errStopped = errors.New("reading has ended")

// topicsReading is the state of one ReadTopics.
type topicsReading struct {
	i        *Inspector
	q        Query
	each     func(Message) error
	cancel   context.CancelFunc // ends the reading of all topics
	mu       sync.Mutex         // guards the rest; held while the caller's functions run
	progress map[string]Progress
	returned int64
	stopped  string // why the merge ended before the topics did
	failed   error  // what the caller's function returned
}

// query is the one for a single topic, which reports the progress of all.
func (r *topicsReading) query(topic string) Query {
	q := r.q
	q.Topic, q.Follow, q.MaxMessages, q.Gaps = topic, false, 0, false
	q.OnProgress = func(p Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.progress[topic] = Progress{Scanned: p.Scanned, Matched: r.progress[topic].Matched}
		if r.q.OnProgress == nil {
			return
		}
		sum := Progress{Matched: r.returned}
		for _, p := range r.progress {
			sum.Scanned += p.Scanned
		}
		r.q.OnProgress(sum)
	}
	return q
}

// deliver hands a message to the caller and ends reading at a limit.
func (r *topicsReading) deliver(m Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != "" {
		return errStopped
	}
	err := r.each(m)
	switch {
	case errors.Is(err, ErrStop):
		r.stopped = StoppedCaller
	case err != nil:
		r.stopped, r.failed = StoppedCaller, err
		r.cancel()
		return err
	}
	r.returned++
	if err == nil && r.q.MaxMessages > 0 && r.returned >= r.q.MaxMessages {
		r.stopped, err = StoppedLimit, ErrStop
	}
	if err != nil {
		r.cancel()
	}
	return err
}

// newest reads topic by topic and keeps the newest of what has come so far, so that memory
// holds no more than two topics' worth.
func (r *topicsReading) newest(ctx context.Context, topics []string) error {
	type keyed struct {
		Message
		key int64 // never falls within a topic, so that sorting by it keeps the order there
	}
	var kept []keyed
	incomplete := false
	for _, topic := range topics {
		key := int64(math.MinInt64)
		p, err := r.i.Read(ctx, r.query(topic), func(m Message) error {
			key = max(key, m.Timestamp.UnixMilli())
			kept = append(kept, keyed{m, key})
			return nil
		})
		if err != nil {
			return fmt.Errorf("topic %q: %w", topic, err)
		}
		p.Matched, p.Before = 0, nil
		r.progress[topic] = p
		slices.SortStableFunc(kept, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
		from, size := len(kept), int64(0)
		for from > 0 && int64(len(kept)-from) < r.q.From.n {
			if size += kept[from-1].size(); size > newestBudget && from < len(kept) {
				incomplete = true
				break
			}
			from--
		}
		kept = slices.Clone(kept[from:]) // lets go of the others
	}
	for _, m := range kept {
		p := r.progress[m.Topic]
		if err := r.deliver(m.Message); err != nil {
			return r.failed
		}
		p.Matched, p.Incomplete = p.Matched+1, p.Incomplete || incomplete
		r.progress[m.Topic] = p
	}
	return nil
}

// topicStream is one topic on its way to the merge.
type topicStream struct {
	topic    string
	messages chan Message
	head     *Message // not delivered yet
	key      int64    // of the head: it never falls
	matched  int64    // messages that were delivered
	progress Progress // valid, as err is, once messages is closed
	err      error
}

// forward reads all topics at once, each ahead of the merge by one message.
func (r *topicsReading) forward(ctx context.Context, topics []string) error {
	var wg sync.WaitGroup
	streams := make([]*topicStream, 0, len(topics))
	ctx, cancel := context.WithCancel(ctx)
	for _, topic := range topics {
		s := &topicStream{topic: topic, messages: make(chan Message), key: math.MinInt64}
		streams = append(streams, s)
		q := r.query(topic)
		wg.Go(func() {
			defer close(s.messages)
			s.progress, s.err = r.i.Read(ctx, q, func(m Message) error {
				select {
				case s.messages <- m:
					return nil
				case <-ctx.Done():
					return errStopped
				}
			})
		})
	}
	err := r.mergeTopics(streams)
	cancel()
	wg.Wait()
	for _, s := range streams {
		p := s.progress
		if p.Matched = s.matched; s.head != nil {
			p.Next[s.head.Partition] = s.head.Offset // it was read, and not delivered
		}
		r.progress[s.topic] = p
	}
	return err
}

// mergeTopics delivers the messages of all topics by their times until all have ended.
func (r *topicsReading) mergeTopics(streams []*topicStream) error {
	open := slices.Clone(streams)
	for {
		var best *topicStream
		for _, s := range open {
			if s.head == nil {
				m, ok := <-s.messages
				switch {
				case !ok && s.err != nil && !errors.Is(s.err, errStopped):
					return fmt.Errorf("topic %q: %w", s.topic, s.err)
				case !ok:
					continue
				}
				s.head, s.key = &m, max(s.key, m.Timestamp.UnixMilli())
			}
			if best == nil || s.key < best.key {
				best = s
			}
		}
		if best == nil {
			return nil
		}
		open = slices.DeleteFunc(open, func(s *topicStream) bool { return s.head == nil })
		err := r.deliver(*best.head)
		if err != nil && !errors.Is(err, ErrStop) {
			return err
		}
		best.head = nil
		best.matched++
		if errors.Is(err, ErrStop) {
			return nil
		}
	}
}

// follow goes on with what is written to each topic.
func (r *topicsReading) follow(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(r.progress))
	for topic, before := range maps.Clone(r.progress) {
		q := r.query(topic)
		q.From, q.Until, q.Follow = AtPositions(before.Next), Target{}, true
		wg.Go(func() {
			p, err := r.i.Read(ctx, q, r.deliver)
			if err != nil && !errors.Is(err, errStopped) {
				r.cancel()
				errs <- fmt.Errorf("topic %q: %w", topic, err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			p.Scanned, p.Matched, p.Trimmed = p.Scanned+before.Scanned, p.Matched+before.Matched, p.Trimmed+before.Trimmed
			r.progress[topic] = p
		})
	}
	wg.Wait()
	close(errs)
	if r.failed != nil {
		return r.failed
	}
	return <-errs // nil once it is closed
}

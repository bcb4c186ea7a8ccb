// Package overflow puts a bounded queue and a slow stage between a source and its ingester,
// for the lab about backpressure. When the queue is full, it makes the source wait, drops
// events and counts them, or puts them on disk. It owns those policies. `weir up` has none of
// this: there the source always waits.
package overflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
)

// Policy says what happens to events for which the queue has no space.
type Policy uint8

// The policies. Block loses nothing. The others never make the source wait, and count what
// they drop. None drops a Gap, which is the proof of an earlier loss.
const (
	// Block makes the source wait: nothing reads the socket, and upstream is the buffer.
	Block Policy = iota
	// DropNewest drops events that arrive while the queue is full.
	DropNewest
	// DropOldest drops the events that have waited longest, to make space for new ones.
	DropOldest
	// Sample admits a share of the new events. The share falls from all of them at half
	// full to none at full, so that the stored events are spread over time.
	Sample
	// Spill writes new events to disk while the queue is full, and reads them back in
	// order. It drops new events while its share of the disk is used up. It needs a
	// directory; without one it is Block.
	Spill

	policies
)

var policyNames = [policies]string{"block", "drop-newest", "drop-oldest", "sample", "spill"}

// Policies returns all policies, Block first.
func Policies() []Policy { return []Policy{Block, DropNewest, DropOldest, Sample, Spill} }

// String returns the policy's name as flags and reports show it.
func (p Policy) String() string {
	if p >= policies {
		return fmt.Sprintf("invalid(%d)", uint8(p))
	}
	return policyNames[p]
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Policy) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePolicy(string(text))
	return err
}

// ParsePolicy returns the policy of a name. An error lists the names.
func ParsePolicy(name string) (Policy, error) {
	if i := slices.Index(policyNames[:], name); i >= 0 {
		return Policy(i), nil
	}
	return Block, fmt.Errorf("policy %q is unknown: choose one of %s", name, strings.Join(policyNames[:], ", "))
}

// Drops counts dropped events by policy; the count of Block stays 0.
type Drops [policies]int64

// Total is the sum over all policies.
func (d Drops) Total() (n int64) {
	for _, v := range d {
		n += v
	}
	return n
}

// Config describes a Queue, and the Source that it is a part of.
type Config struct {
	// Events and Bytes bound what waits in memory.
	Events int
	Bytes  int64
	Policy Policy
	// Dir is where Spill writes events: an existing directory, or empty. DiskBytes is how
	// many bytes it may use there.
	Dir       string
	DiskBytes int64
	// Work is the slow stage: it gets the events in order, may take its time, must not
	// change them, and must return when ctx ends. nil means that there is no slow stage.
	Work func(ctx context.Context, events []event.Event)
}

// Upstream is a source that events come from.
type Upstream interface {
	ingest.Source
	ingest.Repeater
}

// Source is an ingest.Source whose events wait in a queue and pass through a slow stage.
// Waiting events are not committed: when a stream ends early, upstream sends them again.
type Source struct {
	Upstream
	*Queue
	work func(context.Context, []event.Event)
}

// NewSource puts a queue behind a source.
func NewSource(src Upstream, cfg Config) *Source {
	return &Source{Upstream: src, Queue: New(cfg), work: cfg.Work}
}

// Stream implements ingest.Source. When the connection ends, it first emits the
// events that wait.
func (s *Source) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	s.open()
	defer s.Discard()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var ended error
	wg.Go(func() {
		defer s.Close()
		ended = s.Upstream.Stream(ctx, from, func(b *event.Batch) error { return s.Put(ctx, b) })
	})
	err := s.handOver(ctx, emit)
	cancel()
	wg.Wait()
	if errors.Is(err, ErrClosed) {
		return ended
	}
	return err
}

// handOver passes batches on until there are no more.
func (s *Source) handOver(ctx context.Context, emit func(*event.Batch) error) error {
	for {
		b, err := s.Get(ctx)
		if err != nil {
			return err
		}
		if s.work != nil {
			s.work(ctx, b.Events)
		}
		if err := ctx.Err(); err != nil { // the work may be unfinished
			return err
		}
		if err := emit(b); err != nil {
			return err
		}
	}
}

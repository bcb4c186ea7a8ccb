package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
)

// Kinds are the event types that counters count.
var Kinds = []string{"create", "update", "delete"}

// seed of the simulated events of every check: a report can be compared with another one.
const seed = 15

// collections are what the simulated stream has.
var collections = []string{"app.bsky.feed.post"}

// Posts makes the simulated Bluesky as the stream and the topics have it.
func Posts() (*simulate.Bluesky, error) {
	w, err := simulate.NewWorld(seed).Bluesky(collections...)
	if err != nil {
		return nil, fmt.Errorf("make events: %w", err)
	}
	return w, nil
}

// Event is one event that was written to the topic.
type Event struct {
	Kind, Key string
	Partition int32
	Offset    int64
	At        time.Time
}

// Ledger has what was written, by partition, in the order of the offsets from 0.
type Ledger struct {
	mu    sync.Mutex
	parts map[int32][]Event
	world *simulate.Bluesky // nil until events of it are needed
	next  int64             // index of its next event
}

func newLedger() *Ledger { return &Ledger{parts: map[int32][]Event{}} }

// Counts is a number by event type.
type Counts map[string]int64

// Sum adds them up.
func (c Counts) Sum() (n int64) {
	for _, v := range c {
		n += v
	}
	return n
}

// Minus returns the difference by event type.
func (c Counts) Minus(other Counts) Counts {
	out := Counts{}
	for _, k := range Kinds {
		out[k] = c[k] - other[k]
	}
	return out
}

// Equal reports whether both have the same number of every type.
func (c Counts) Equal(other Counts) bool {
	return !slices.ContainsFunc(Kinds, func(k string) bool { return c[k] != other[k] })
}

// Some reports whether ok holds for the number of some type.
func (c Counts) Some(ok func(int64) bool) bool {
	return slices.ContainsFunc(Kinds, func(k string) bool { return ok(c[k]) })
}

func (c Counts) String() string {
	var out []string
	for _, k := range Kinds {
		out = append(out, k+" "+strconv.FormatInt(c[k], 10))
	}
	return strings.Join(out, ", ")
}

// Total counts all events.
func (l *Ledger) Total() Counts { return l.count(func(Event) bool { return true }) }

// Below counts the events below offsets of the partitions.
func (l *Ledger) Below(offsets map[int32]int64) Counts {
	return l.count(func(e Event) bool { return e.Offset < offsets[e.Partition] })
}

// In counts the events of some partitions.
func (l *Ledger) In(partitions ...int32) Counts {
	return l.count(func(e Event) bool { return slices.Contains(partitions, e.Partition) })
}

// Since counts the events that were written at or after a time.
func (l *Ledger) Since(t time.Time) Counts {
	return l.count(func(e Event) bool { return !e.At.Before(t) })
}

func (l *Ledger) count(in func(Event) bool) Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Counts{}
	for _, events := range l.parts {
		for _, e := range events {
			if in(e) {
				c[e.Kind]++
			}
		}
	}
	return c
}

// At returns an event; false where there is none.
func (l *Ledger) At(partition int32, offset int64) (Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.parts[partition]; offset >= 0 && offset < int64(len(p)) {
		return p[offset], true
	}
	return Event{}, false
}

// Ends returns the offset after the last event of each partition that has some.
func (l *Ledger) Ends() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int32]int64{}
	for p, events := range l.parts {
		out[p] = int64(len(events))
	}
	return out
}

// Partitions lists the partitions that have events.
func (l *Ledger) Partitions() []int32 { return slices.Sorted(maps.Keys(l.Ends())) }

// Evidence is an event as evidence.
func (b *Bench) Evidence(what string, partition int32, offset int64) exercise.Evidence {
	out := exercise.Evidence{What: what, Topic: b.Topic, Partition: partition, Offset: offset}
	if e, ok := b.Truth.At(partition, offset); ok {
		out.Key, out.At = e.Key, Moment(e.At)
	}
	return out
}

// Write writes the next n simulated events to the topic.
func (b *Bench) Write(ctx context.Context, n int) error {
	records, err := b.Truth.take(b.Topic, n)
	if err != nil {
		return err
	}
	return b.put(ctx, records)
}

// take makes records of the next n simulated events.
func (l *Ledger) take(topic string, n int) (records []*kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.world == nil {
		if l.world, err = Posts(); err != nil {
			return nil, err
		}
	}
	for ; len(records) < n; l.next++ {
		if it := l.world.At(l.next); it.Route == event.Data && !it.Again {
			records = append(records, &kgo.Record{Topic: topic, Key: []byte(it.Key),
				Value:   l.world.AppendFrame(nil, it.Index, time.Now().UnixMicro(), 0),
				Headers: []kgo.RecordHeader{{Key: kafka.HeaderKind, Value: []byte(it.Kind)}}})
		}
	}
	return records, nil
}

// always is more events than any check writes.
const always = math.MaxInt

// feeding writes events at a rate, at most so many, while do runs.
func (b *Bench) feeding(ctx context.Context, rate float64, most int, do func() error) error {
	writing, stop := context.WithCancel(ctx)
	var failed error
	var ended sync.WaitGroup
	ended.Go(func() {
		failed = paced(writing, feedTick, rate, most, func(from, to int) error {
			// What is begun is written to its end: the truth has to know it.
			return b.Write(context.WithoutCancel(ctx), to-from)
		})
		if errors.Is(failed, writing.Err()) {
			failed = nil // it was stopped
		}
	})
	err := do()
	stop()
	ended.Wait()
	return cmp.Or(failed, err) // where weir could not write, nothing is wrong with the program
}

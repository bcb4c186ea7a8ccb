// Package ingest moves the events of one source into Kafka, each exactly once.
// It owns the transactions, the sequence numbers, the duplicate filter and the
// restart after any error; what an event is and how a source is resumed is the
// source's business, what a cursor record looks like is kafka's.
//
// A transaction holds events and the cursor that follows them. Everything that an
// ingester knows is read back from Kafka whenever it starts, and any error of
// Kafka makes it start again: a commit whose answer was lost needs no special
// case, because the cursor says whether it happened.
package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/queue"
)

// Source is a stream of events that can be resumed.
type Source interface {
	// Name fixes the transactional id and the cursor partition: bluesky or wikipedia.
	Name() string
	// Window is how far apart in event time two deliveries of one event can be:
	// what the duplicate filter must cover.
	Window() time.Duration
	// Stream connects once and emits batches from the cursor on until the
	// connection or ctx ends. emit takes ownership of the batch and blocks while
	// the queue is full. A *event.StreamError steers what happens next.
	Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error
	// Identify returns the identity and the time of a stored record's value, as
	// the event had them when it was stored. id is memory of b or of value.
	Identify(value []byte, b *event.Batch) (id []byte, timeUS int64, ok bool)
	// Status says how the connection is.
	Status() event.SourceStatus
}

// Repeater is a Source that can be sent events again by number, however old they
// are: on a quiet stream a few thousand events can be hours.
type Repeater interface {
	// Repeats is how many of the newest events the duplicate filter must cover.
	Repeats() int
}

// Topics names where a source's events go.
type Topics struct {
	Data string
	// Account is empty for a source that has no such events.
	Account    string
	DeadLetter string
}

// Defaults of a Config.
const (
	DefaultQueueEvents = 50_000
	DefaultQueueBytes  = 32 << 20
	// DefaultPace trades latency at low rates for the price of a transaction: with ten
	// times as much, events take ten times as long to be counted, and a third of the CPU.
	DefaultPace = 20 * time.Millisecond
	// MinPace and MaxPace bound what a user can choose: events wait for up to a pace, and
	// upstream disconnects a reader that stands still for long.
	MinPace = time.Millisecond
	MaxPace = 5 * time.Second
	// DefaultEagerEvents is worth a transaction of its own at any time.
	DefaultEagerEvents = 2_000
	// DefaultMaxEvents and DefaultMaxBytes are for a backlog. Apache Kafka takes some
	// 50 ms for each transaction, whatever its size, before it lets the next one write:
	// with 4 MiB an ingester waited half of its time for that; with 16 MiB it takes twice
	// as many events a second.
	DefaultMaxEvents = 20_000
	DefaultMaxBytes  = 16 << 20
)

const (
	// transactionTimeout bounds how long the transaction of an ingester that died
	// hides later records from readers, and how long a commit may take.
	transactionTimeout = 15 * time.Second
	// drainTimeout bounds how long a cancelled ingester commits what it has.
	drainTimeout = 5 * time.Second
	// successorPatience is how long a fenced ingester looks for its successor.
	successorPatience = 5 * time.Second

	restartMin = 100 * time.Millisecond
	restartMax = 5 * time.Second
	// explainAfter is how long a transaction may take before the cluster is asked
	// what is the matter, and how often then.
	explainAfter = 3 * time.Second
)

// Config describes an Ingester.
type Config struct {
	Kafka  kafka.Config
	Source Source
	Topics Topics
	// Origin is where the source's events come from, if that is known before it
	// is connected: event.OriginLive or a simulated one. A topic that holds
	// another origin's is refused.
	Origin string

	// QueueEvents and QueueBytes bound what waits between source and Kafka.
	QueueEvents int
	QueueBytes  int64
	// Pace is the shortest time between the beginnings of two transactions,
	// unless EagerEvents or half of MaxBytes wait. An event after a pause does
	// not wait.
	Pace        time.Duration
	EagerEvents int
	// MaxEvents and MaxBytes end a transaction's gathering; a batch more may be in it.
	MaxEvents int
	MaxBytes  int64

	// Log is required.
	Log *slog.Logger
}

// Ingester moves one source's events.
type Ingester struct {
	cfg       Config
	partition int32 // of the shared topics
	// instance tells this ingester's cursors from those of others.
	instance string
	// known is the last cursor that this ingester read or wrote: a later one by
	// another instance is a successor's.
	known writing
	// memory is what the duplicate filter holds: usual, and less in tests.
	memory memory

	mu    sync.Mutex
	stats Stats
	told  time.Time    // when a wait was last logged
	queue *queue.Queue // nil while there is none
	// blocked is how long earlier queues were full.
	blocked time.Duration
}

// New checks the configuration and returns an ingester that has done nothing yet.
func New(cfg Config) (*Ingester, error) {
	if cfg.Source == nil || cfg.Log == nil {
		return nil, errors.New("ingest needs a source and a logger")
	}
	if err := cfg.Kafka.Validate(); err != nil {
		return nil, err
	}
	p, err := kafka.Partition(cfg.Source.Name())
	if err != nil {
		return nil, err
	}
	if cfg.Topics.Data == "" || cfg.Topics.DeadLetter == "" {
		return nil, fmt.Errorf("ingest of %s needs a data and a dead-letter topic", cfg.Source.Name())
	}
	cfg.QueueEvents = orDefault(cfg.QueueEvents, DefaultQueueEvents)
	cfg.QueueBytes = orDefault(cfg.QueueBytes, DefaultQueueBytes)
	cfg.Pace = orDefault(cfg.Pace, DefaultPace)
	cfg.EagerEvents = orDefault(cfg.EagerEvents, DefaultEagerEvents)
	cfg.MaxEvents = orDefault(cfg.MaxEvents, DefaultMaxEvents)
	cfg.MaxBytes = orDefault(cfg.MaxBytes, DefaultMaxBytes)
	cfg.Log = cfg.Log.With("source", cfg.Source.Name())
	return &Ingester{cfg: cfg, partition: p, instance: newInstance(), memory: usual}, nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// newInstance names this ingester so that a person can find it, and uniquely.
func newInstance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%.64s/%d/%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// Run ingests until ctx is cancelled; then it stops the source, commits what is
// queued within 5 s, and returns nil. Trouble with Kafka is waited out, however
// long it lasts. Run returns an error when going on cannot help: the source
// failed for good, the topics hold events of another origin (*OriginError), the
// cursor cannot be used (*kafka.CursorError), or another instance has taken over
// (*FencedError). It must not be called twice.
func (i *Ingester) Run(ctx context.Context) error {
	backoff := event.Backoff{Min: restartMin, Max: restartMax}
	for {
		before := i.commits()
		err := i.once(ctx)
		if err == nil {
			i.setState(StateStopped, nil)
			return nil
		}
		if ctx.Err() != nil {
			// What was not committed is still upstream, and the cursor before it.
			i.cfg.Log.Warn("stopped without committing everything", "error", err)
			i.setState(StateStopped, err)
			return nil //nolint:nilerr // it was asked to stop, and has said what it left
		}
		err = i.judge(ctx, err)
		if permanent(err) {
			i.setState(StateFailed, err)
			return fmt.Errorf("ingest %s: %w", i.cfg.Source.Name(), err)
		}
		wait, _ := backoff.Next(nil, i.commits() > before)
		if why := i.explain(ctx); why != nil {
			err = why // what a client meets is only how it shows
		}
		i.restarting(err)
		select {
		case <-ctx.Done():
			i.setState(StateStopped, nil)
			return nil
		case <-time.After(wait):
		}
	}
}

// OriginError says that live and simulated events, or those of two simulations,
// would be mixed.
type OriginError struct {
	Source string
	// Have is the origin of the events in the topics, Got the source's.
	Have, Got string
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("the topics of %s hold events of origin %q and the source now sends %q: the two never share a topic; "+
		"use another --data directory, another cluster, or the source that they came from", e.Source, e.Have, e.Got)
}

// FencedError says that another ingester of the same source has taken over.
type FencedError struct {
	Source string
	// Instance is the other one: host, process id, and a random part.
	Instance string
	Since    time.Time
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("another weir ingests %s into this cluster (%s, since %s), so this one stops; "+
		"there can be one ingester of a source and cluster: stop that one first",
		e.Source, e.Instance, e.Since.UTC().Format(time.RFC3339))
}

// sourceError is the end of a source that trying again cannot help.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// internalError is a mistake of this program: it stops loudly.
type internalError struct{ text string }

func (e *internalError) Error() string { return "internal error: " + e.text }

func permanent(err error) bool {
	var (
		origin *OriginError
		fenced *FencedError
		cursor *kafka.CursorError
		source *sourceError
		bug    *internalError
	)
	return errors.As(err, &origin) || errors.As(err, &fenced) || errors.As(err, &cursor) ||
		errors.As(err, &source) || errors.As(err, &bug)
}

// judge finds out what a refusal by the broker means. A producer is refused alike
// when another instance has fenced it and when its transaction has timed out; the
// first must not fence back, or the two would do so for ever, and the second must
// begin again.
func (i *Ingester) judge(ctx context.Context, err error) error {
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.InvalidTxnState) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, successorPatience)
	defer cancel()
	for {
		if f := i.successor(ctx); f != nil {
			return f
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// explain asks the cluster why it takes no events; nil where it looks well.
func (i *Ingester) explain(ctx context.Context) error {
	return kafka.Explain(ctx, i.cfg.Kafka, i.cfg.topicNames()...)
}

// attend explains a transaction that takes long, again and again until stop is called.
func (i *Ingester) attend(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(explainAfter, func() {
		defer close(done)
		for {
			why := i.explain(ctx)
			if ctx.Err() != nil {
				return
			}
			if why != nil {
				i.waiting(why)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(explainAfter):
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

// writing tells one cursor record from another.
type writing struct {
	instance string
	us       int64
}

func writingOf(rec *kafka.CursorRecord) writing { return writing{rec.Instance, rec.WrittenUS} }

// successor returns who has written a cursor since this instance read or wrote
// one, nil if nobody has or nobody knows. Every instance writes a cursor before it
// does anything else, so a successor shows as soon as it has fenced this one.
func (i *Ingester) successor(ctx context.Context) error {
	if i.known == (writing{}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, successorPatience)
	defer cancel()
	rec, found, err := kafka.PeekCursor(ctx, i.cfg.Kafka, i.cfg.Source.Name())
	if err != nil || !found || rec.Instance == i.instance || writingOf(&rec) == i.known {
		return nil
	}
	return &FencedError{Source: rec.Source, Instance: rec.Instance, Since: time.UnixMicro(rec.WrittenUS)}
}

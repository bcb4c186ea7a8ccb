package ingest

import (
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/queue"
)

// State is what an ingester is doing.
type State string

// States of an ingester.
const (
	// StateStarting: fencing, reading the cursor, rebuilding the filter.
	StateStarting State = "starting"
	// StateRunning: the source is being streamed (or reconnected).
	StateRunning State = "running"
	// StateWaiting: Kafka does not do its part, or the source does not stop; LastError says why.
	StateWaiting State = "waiting for Kafka"
	// StateStopped: cancelled and drained.
	StateStopped State = "stopped"
	// StateFailed: Run has returned an error, which LastError repeats.
	StateFailed State = "failed"
)

// Stats is what an ingester has done since the process started, at one moment.
// Counters of events count committed ones.
type Stats struct {
	State State
	// Events counts records in the data and account topics, Bytes their values.
	Events, Bytes int64
	// Rejects and Gaps count records in the dead-letter topic.
	Rejects, Gaps int64
	// Duplicates counts events that were delivered again and dropped, TooOld those that
	// upstream sent unasked and that are too old to compare with the topics, Skipped
	// those that are not stored (canaries).
	Duplicates, TooOld, Skipped int64
	Commits                     int64
	LastCommit                  time.Time
	// Total is how many records the data and account topics were ever given, by the cursor
	// that was committed last; 0 before the first commit.
	Total int64
	// Cursor is the one that was committed last.
	Cursor event.Cursor
	// Restarts counts how often everything began again after an error.
	Restarts int64
	// LastError is the last error, empty if there was none; it stays when the
	// trouble is over, and LastErrorAt says how old it is.
	LastError   string
	LastErrorAt time.Time
	// Waiting says why Kafka takes no events at present, with the way out; empty
	// when it does. WaitingSince is since when.
	Waiting      string
	WaitingSince time.Time
	// Forgotten counts identities that the duplicate filter had to drop early.
	Forgotten int64
	// Latency is from an event's arrival to its commit.
	Latency latency.Histogram
	Queue   queue.Stats
	Source  event.SourceStatus
}

// Stats returns a snapshot. It is cheap and safe for concurrent use.
func (i *Ingester) Stats() Stats {
	i.mu.Lock()
	s, q, blocked := i.stats, i.queue, i.blocked
	i.mu.Unlock()
	s.Source = i.cfg.Source.Status()
	s.Queue = queue.Stats{MaxEvents: i.cfg.QueueEvents, MaxBytes: i.cfg.QueueBytes}
	if q != nil {
		s.Queue = q.Stats()
	}
	s.Queue.Blocked += blocked
	return s
}

// setQueue makes q the queue that Stats shows; nil means that there is none.
func (i *Ingester) setQueue(q *queue.Queue) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.queue != nil {
		i.blocked += i.queue.Stats().Blocked
	}
	i.queue = q
}

func (i *Ingester) setState(s State, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stats.State = s
	if err != nil {
		i.stats.LastError, i.stats.LastErrorAt = err.Error(), time.Now()
	}
}

func (i *Ingester) commits() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stats.Commits
}

// lastCommit is when a transaction was last committed, zero for never.
func (i *Ingester) lastCommit() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stats.LastCommit
}

// restarting notes and tells an error after which everything begins again.
func (i *Ingester) restarting(err error) {
	i.mu.Lock()
	s := &i.stats
	s.Restarts++
	s.State = StateWaiting
	s.LastError, s.LastErrorAt = err.Error(), time.Now()
	i.mu.Unlock()
	i.waiting(err)
}

// tellEvery is how often a lasting wait is told again.
const tellEvery = 10 * time.Second

// waiting notes that Kafka takes no events, and tells of it.
func (i *Ingester) waiting(err error) {
	now := time.Now()
	i.mu.Lock()
	s := &i.stats
	if s.Waiting == "" {
		s.WaitingSince = now
	}
	tell := s.Waiting == "" || now.Sub(i.told) >= tellEvery
	if s.Waiting = err.Error(); tell {
		i.told = now
	}
	since := s.WaitingSince
	i.mu.Unlock()
	if tell {
		i.cfg.Log.Warn(kafka.LogWaiting, "error", err, "for", now.Sub(since).Round(time.Second))
	}
}

// goesOn notes that Kafka takes events again. The caller holds i.mu.
func (i *Ingester) goesOn() {
	if s := &i.stats; s.Waiting != "" {
		i.cfg.Log.Info("Kafka takes events again", "after", time.Since(s.WaitingSince).Round(time.Millisecond))
		s.Waiting, s.WaitingSince = "", time.Time{}
	}
}

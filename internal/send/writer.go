// Package send writes records that a person or another program brings: lines of text, messages
// as JSON, templates. It owns reading them, writing them fast and in order, and saying of each
// one whether it was written. It does not own the streams that weir ingests, and creates
// no topics.
package send

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// inFlightBytes and inFlightRecords bound what is written and not confirmed yet.
	inFlightBytes   = 32 << 20
	inFlightRecords = 50_000
	// inFlightBatches bounds the batches, each of which can be a single record.
	inFlightBatches = 10_000
	// recordOverhead is about what a record takes in memory beside its bytes.
	recordOverhead = 256
)

// Landed is where records of one partition were written.
type Landed struct {
	Partition int32 `json:"partition"`
	Records   int64 `json:"records"`
	// First and Last are offsets; -1 where the brokers do not report them (acks=0).
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// Result is what has been written.
type Result struct {
	Records int64
	// Landed has the partitions that records were written to, in their order.
	Landed []Landed
}

// Writer writes an input to a topic.
type Writer struct {
	// Client was made with Options.Client.
	Client  *kgo.Client
	Topic   Topic
	Options Options
	// Written is called for each record, in the order of the input, when the brokers have confirmed
	// it: with its number in the input. An error ends the writing. May be nil.
	Written func(n int64, r *kgo.Record) error
	// Progress is called now and then with the number of confirmed records. May be nil.
	Progress func(records int64)
	// Patience is how long the brokers may confirm nothing, before the client is closed and the
	// records on their way count as failed; 0 means 30 s. The client's own limit
	// counts from a record's timestamp, which can be any time.
	Patience time.Duration
}

// Write writes an input until its end. When ctx ends, or a record is not written, it reads no
// more and waits for those that are on their way. Its error then says which records were not
// written: *FailedError or *StoppedError. With a transaction, all are written or none.
func (w *Writer) Write(ctx context.Context, in Input) (Result, error) {
	if w.Options.Transaction != "" {
		if err := w.Client.BeginTransaction(); err != nil {
			return Result{}, fmt.Errorf("begin a transaction: %w", err)
		}
	}
	r := &run{Writer: w, unit: in.Unit(), fifo: make(chan *Batch, inFlightBatches)}
	r.halted, r.halt = context.WithCancel(context.Background())
	defer r.halt()
	r.room = sync.NewCond(&r.mu)
	collected, watching := make(chan struct{}), make(chan struct{})
	go func() { defer close(collected); r.collect() }()
	go func() { defer close(watching); r.watch(collected, cmp.Or(w.Patience, patience)) }()
	err := r.feed(ctx, in)
	_ = w.Client.Flush(context.WithoutCancel(ctx)) // fails only with its context
	close(r.fifo)
	<-collected
	<-watching
	result := Result{Records: r.records, Landed: r.landed()}
	err = r.verdict(err)
	if w.Options.Transaction == "" {
		return result, err
	}
	return w.end(ctx, result, err)
}

// end commits or aborts the transaction.
func (w *Writer) end(ctx context.Context, result Result, err error) (Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	how := kgo.TryCommit
	if err != nil {
		how = kgo.TryAbort
	}
	ended := w.Client.EndTransaction(ctx, how)
	switch {
	case err != nil && ended != nil:
		return Result{}, fmt.Errorf("%w; the transaction was not committed, so consumers of committed records see none of it", err)
	case err != nil:
		return Result{}, fmt.Errorf("%w; the transaction was aborted, so consumers of committed records see none of it", err)
	case ended != nil:
		return Result{}, fmt.Errorf("commit the transaction, which may take %v at most: %w", transactionTimeout, ended)
	}
	return result, nil
}

// run is one Write.
type run struct {
	*Writer
	unit   string
	fifo   chan *Batch
	halted context.Context // ends when a record was not written
	halt   context.CancelFunc

	handed   atomic.Int64 // records to the client
	finished atomic.Int64 // records whose outcome is known

	mu      sync.Mutex
	room    *sync.Cond
	bytes   int64
	pending int64

	sent       int64 // the number of the last record that was handed to the client
	records    int64
	partitions []Landed // by ID
	failed     FailedError
	printing   error // of Written
}

// errHalt ends the feeding, whose reason is known elsewhere.
var errHalt = errors.New("stopped")

// feed hands the records of the input to the client.
func (r *run) feed(ctx context.Context, in Input) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	batches, ended := make(chan *Batch, 4), make(chan error, 1)
	go func() {
		defer close(batches)
		for {
			b, err := in.Next(reading)
			if err != nil {
				ended <- err
				return
			}
			select {
			case batches <- b:
			case <-reading.Done():
				ended <- reading.Err()
				return
			}
		}
	}()
	for {
		var b *Batch
		var ok bool
		select {
		case b, ok = <-batches:
		case <-r.halted.Done():
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.halted.Err() != nil {
			return errHalt
		}
		if !ok {
			if err := <-ended; !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}
		if err := r.produce(ctx, b); err != nil {
			return err
		}
	}
}

// produce hands a batch to the client, up to a record that the broker would reject.
func (r *run) produce(ctx context.Context, b *Batch) error {
	r.take(b)
	b.left.Store(int64(len(b.Records)))
	b.done = make(chan struct{})
	r.fifo <- b
	// Records that are handed over are confirmed or not, whatever ends ctx: their outcome is reported.
	ctx = context.WithoutCancel(ctx)
	promise := func(rec *kgo.Record, err error) {
		if err != nil {
			r.fail(b, b.index(rec), err)
		}
		r.finished.Add(1)
		b.finish(1)
	}
	for i := range b.Records {
		rec := &b.Records[i]
		rec.Topic = r.Topic.Name
		r.sent = b.First + int64(i)
		if err := r.Topic.check(rec, r.Options.Placed); err != nil {
			r.fail(b, i, err)
			b.sent = i + 1
			b.finish(len(b.Records) - i)
			return errHalt
		}
		r.handed.Add(1)
		r.Client.Produce(ctx, rec, promise)
	}
	return nil
}

// watch closes the client when it has records and the brokers have confirmed none for as long as
// patience. Otherwise it would try for ever.
func (r *run) watch(done <-chan struct{}, patience time.Duration) {
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			if n := r.finished.Load(); n != last || n == r.handed.Load() {
				last, since = n, now
			} else if now.Sub(since) > patience {
				r.Client.Close()
				return
			}
		}
	}
}

// finish counts records whose outcome is known.
func (b *Batch) finish(n int) {
	if b.left.Add(int64(-n)) == 0 {
		close(b.done)
	}
}

// index finds a record of the batch.
func (b *Batch) index(r *kgo.Record) int {
	for i := range b.Records {
		if &b.Records[i] == r {
			return i
		}
	}
	panic("a record of another batch")
}

// fail notes that a record was not written, and ends the feeding.
func (r *run) fail(b *Batch, i int, err error) {
	r.mu.Lock()
	if b.errs == nil {
		b.errs = map[int]error{}
	}
	b.errs[i] = err
	r.mu.Unlock()
	r.halt()
}

// take waits until there is room for a batch.
func (r *run) take(b *Batch) {
	b.sent = len(b.Records)
	for i := range b.Records {
		b.size += int64(len(b.Records[i].Key)+len(b.Records[i].Value)) + recordOverhead
	}
	n := int64(len(b.Records))
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.pending > 0 && (r.bytes+b.size > inFlightBytes || r.pending+n > inFlightRecords) {
		r.room.Wait()
	}
	r.bytes += b.size
	r.pending += n
}

// collect waits for the batches in the order of the input, and reports them.
func (r *run) collect() {
	for b := range r.fifo {
		<-b.done
		for i := range b.sent {
			r.outcome(b.First+int64(i), &b.Records[i], b.errs[i])
		}
		r.mu.Lock()
		r.bytes -= b.size
		r.pending -= int64(len(b.Records))
		r.mu.Unlock()
		r.room.Signal()
		if r.Progress != nil {
			r.Progress(r.records)
		}
	}
}

// outcome takes in what became of a record.
func (r *run) outcome(n int64, rec *kgo.Record, err error) {
	if err != nil {
		r.failed.add(n, r.Topic.explain(err))
		return
	}
	r.records++
	if r.Options.Acks == "0" {
		rec.Offset = -1 // no broker reports one
	}
	for int(rec.Partition) >= len(r.partitions) {
		r.partitions = append(r.partitions, Landed{Partition: int32(len(r.partitions))})
	}
	if p := &r.partitions[rec.Partition]; p.Records == 0 {
		*p = Landed{rec.Partition, 1, rec.Offset, rec.Offset}
	} else {
		p.Records++
		p.First, p.Last = min(p.First, rec.Offset), max(p.Last, rec.Offset)
	}
	if r.Written == nil || r.printing != nil {
		return
	}
	if r.printing = r.Written(n, rec); r.printing != nil {
		r.halt()
	}
}

func (r *run) landed() []Landed {
	return slices.DeleteFunc(r.partitions, func(p Landed) bool { return p.Records == 0 })
}

// verdict is the error of a run whose feeding ended with err.
func (r *run) verdict(err error) error {
	r.failed.Unit, r.failed.Written, r.failed.Sent, r.failed.Ended = r.unit, r.records, r.sent, err == nil
	switch {
	case r.failed.Total > 0:
		return &r.failed
	case r.printing != nil:
		err = r.printing
	case err == nil:
		return nil
	}
	return &StoppedError{Unit: r.unit, Written: r.records, Sent: r.sent, Err: err}
}

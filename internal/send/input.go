package send

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Batch is records that were read together.
type Batch struct {
	Records []kgo.Record
	// First is the number of the first record in its input, from 1: of its line, its
	// argument, or its turn.
	First int64

	size int64         // in memory, about
	sent int           // how many have an outcome: the rest was not sent
	errs map[int]error // by index: why a record was not written
	left atomic.Int64  // how many have no outcome yet
	done chan struct{} // closed when all have one
}

// Input is a source of records.
type Input interface {
	// Next returns the next records, io.EOF after the last. An error names the place. Records
	// before the place have been returned.
	Next(ctx context.Context) (*Batch, error)
	// Unit is what is counted: "line" or "record".
	Unit() string
}

// Records is an input of given records, whose unit is the record.
type Records struct{ next *Batch }

// NewRecords returns an input of given records.
func NewRecords(records ...kgo.Record) *Records { return &Records{&Batch{Records: records, First: 1}} }

// Next implements Input.
func (r *Records) Next(context.Context) (*Batch, error) {
	b := r.next
	r.next = nil
	if b == nil || len(b.Records) == 0 {
		return nil, io.EOF
	}
	return b, nil
}

// Unit implements Input.
func (r *Records) Unit() string { return "record" }

// paced hands out the records of an input at a rate.
type paced struct {
	Input
	pace *pace
	rest *Batch
}

// AtRate returns an input that hands out at most rate records a second.
func AtRate(in Input, rate float64) Input { return &paced{Input: in, pace: newPace(rate)} }

// Next implements Input.
func (p *paced) Next(ctx context.Context) (*Batch, error) {
	if p.rest == nil || len(p.rest.Records) == 0 {
		b, err := p.Input.Next(ctx)
		if err != nil {
			return nil, err
		}
		p.rest = b
	}
	n, err := p.pace.take(ctx, len(p.rest.Records))
	if err != nil {
		return nil, err
	}
	b := &Batch{Records: p.rest.Records[:n:n], First: p.rest.First}
	p.rest = &Batch{Records: p.rest.Records[n:], First: p.rest.First + int64(n)}
	return b, nil
}

// pace is a schedule of so many records a second.
type pace struct {
	interval time.Duration
	due      time.Time // of the next record
}

func newPace(rate float64) *pace {
	return &pace{interval: max(time.Duration(float64(time.Second)/rate), 1)}
}

// take waits until a record is due, and returns how many are, at most most. Time in which
// nobody took any is not made up for.
func (p *pace) take(ctx context.Context, most int) (int, error) {
	now := time.Now()
	if p.due.IsZero() || now.Sub(p.due) > time.Second {
		p.due = now
	}
	if wait := p.due.Sub(now); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
			now = time.Now()
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	n := min(1+int(now.Sub(p.due)/p.interval), most)
	p.due = p.due.Add(time.Duration(n) * p.interval)
	return n, nil
}

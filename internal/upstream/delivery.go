package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// A batch is handed on when it holds this much, or when the connection has nothing more.
const (
	MaxBatchEvents = 256
	MaxBatchBytes  = 64 << 10
)

// Logger returns a logger that names the source; log may be nil.
func Logger(log *slog.Logger, source string) *slog.Logger {
	return cmp.Or(log, slog.New(slog.DiscardHandler)).With("source", source)
}

// Delivery gathers the events of one connection into batches and hands them on. It is
// for one goroutine.
type Delivery struct {
	Host   string
	Probe  *Probe // holds batches back
	Meter  *event.SourceMeter
	Log    *slog.Logger
	Cursor func(*event.Batch) event.Cursor // the position after a batch
	Emit   func(*event.Batch) error        // owns what it is given

	batch  *event.Batch // nil when there is nothing to hand on
	bytes  int64        // payload bytes of the batch
	failed error        // what Emit returned
}

// Batch returns the batch for a frame of size bytes, which arrived at a time.
func (d *Delivery) Batch(at time.Time, size int64) *event.Batch {
	if d.batch == nil {
		d.batch = event.NewBatch()
		d.batch.Received = at
	}
	d.bytes += size
	return d.batch
}

// Known gives the batch's last event to the probe. The error ends a stream that weir
// does not understand, and drops the batch; url and wayOut are for its text.
func (d *Delivery) Known(url interface{ String() string }, wayOut string) error {
	last := &d.batch.Events[len(d.batch.Events)-1]
	if d.Probe.Allows(last) {
		return nil
	}
	err := d.Probe.Refusal(url.String(), last, wayOut)
	d.Drop()
	return err
}

// Drop forgets the batch.
func (d *Delivery) Drop() {
	d.batch.Release()
	d.batch, d.bytes = nil, 0
}

// Gap adds a gap to the batch.
func (d *Delivery) Gap(g Gap) {
	g.Add(d.batch)
	d.Log.Warn("gap upstream", "host", g.Host, "from_us", g.FromUS, "to_us", g.ToUS, "reason", g.Reason)
}

// PassFull hands a batch on that is full.
func (d *Delivery) PassFull() error {
	if len(d.batch.Events) < MaxBatchEvents && d.batch.Bytes() < MaxBatchBytes {
		return nil
	}
	return d.Pass()
}

// Pass hands the batch on unless the probe holds it back.
func (d *Delivery) Pass() error {
	if d.batch == nil || d.Probe.Holds(d.batch) {
		return nil
	}
	return d.flush()
}

func (d *Delivery) flush() error {
	b := d.batch
	if b == nil || len(b.Events) == 0 {
		return nil
	}
	d.batch = nil
	b.Cursor, b.Host = d.Cursor(b), d.Host
	d.Meter.Received(b, d.bytes)
	d.bytes = 0
	d.failed = d.Emit(b)
	return d.failed
}

// End hands on what is left when the connection has ended. It returns Emit's error, or
// that of ctx; nil where neither is why the connection ended.
func (d *Delivery) End(ctx context.Context) error {
	switch {
	case d.failed != nil:
		return d.failed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return d.flush()
}

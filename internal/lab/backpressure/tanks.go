package backpressure

import (
	"fmt"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
)

// offer lets policy, workers and the time of the work be changed while a case runs.
func (o *observation) offer(b *lab.Bench, s *Settings, g *kit.Stack, w *kit.Workers) (withdraw func()) {
	var names []string
	for _, p := range overflow.Policies() {
		names = append(names, p.String())
	}
	var all []func()
	add := func(c record.Control, set func(string)) {
		all = append(all, b.Offer(c, func(value string) error {
			o.change(c.Name, value)
			set(value)
			return nil
		}))
	}
	number := func(v string) float64 {
		x, _ := strconv.ParseFloat(v, 64) // within the bounds
		return x
	}
	add(record.Control{Name: "policy", Label: "policy", Values: names, Value: o.policy.String()}, func(v string) {
		p, _ := overflow.ParsePolicy(v) // one of the names
		g.Overflow.SetPolicy(p)
	})
	if s.Slow == kit.SlowWork {
		add(record.Control{Name: "workers", Label: "workers", Min: 1, Max: kit.MaxWorkers, Value: strconv.Itoa(s.Workers)},
			func(v string) { w.Number.Store(int64(number(v))) })
		add(record.Control{Name: "work", Label: "work per event", Min: 1, Max: 100, Unit: "ms",
			Value: strconv.FormatFloat(kit.Milliseconds(s.Work), 'f', -1, 64)}, func(v string) { w.Work.Store(int64(number(v) * float64(time.Millisecond))) })
		add(record.Control{Name: "pause", Label: "workers are", Values: []string{"working", "paused"}, Value: "working"},
			func(v string) { w.Paused.Store(v == "paused") })
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// rateOver is how far back in seconds a tank's rates look.
const rateOver = 1.0

// tanks are the stages as they are at a sample, which is the last one.
func (o *observation) tanks(s *Settings, w *kit.Workers, x *sample) []record.Tank {
	past := x
	for i := len(o.samples) - 1; i >= 0 && x.at-o.samples[i].at <= rateOver; i-- {
		past = &o.samples[i]
	}
	rate := func(of func(*sample) int64) float64 {
		if x.at <= past.at {
			return 0
		}
		return float64(of(x)-of(past)) / (x.at - past.at)
	}
	offered, received := rate(func(x *sample) int64 { return x.offered }), rate(func(x *sample) int64 { return x.received })
	stored, counted := rate(func(x *sample) int64 { return x.stored }), rate(func(x *sample) int64 { return x.counted })
	worked, fetched := stored, rate(func(x *sample) int64 { return x.fetched })
	if s.Slow == kit.SlowWork {
		worked = rate(func(x *sample) int64 { return x.worked })
	}
	q := x.queue
	held := max(0, x.received-int64(q.Events)-int64(q.Spilled.Events)-x.stored-q.Dropped.Total()) // read, and neither in the queue nor stored nor dropped
	socket := record.Tank{Name: "socket", Level: float64(x.kernel.Sending + x.kernel.Receiving), Capacity: 4 * kit.SocketBuffer, Unit: "bytes", In: offered, Out: received}
	if x.kernel.Stopped > 100*time.Millisecond {
		socket.Note = fmt.Sprintf("upstream has been trying to write for %.1f s", x.kernel.Stopped.Seconds())
	}
	queue := record.Tank{Name: "queue", Bytes: float64(q.Bytes), MaxBytes: float64(q.MaxBytes), Level: float64(q.Events), Capacity: float64(q.MaxEvents),
		Unit: "events", In: received, Out: worked, Lost: q.Dropped.Total(), Note: q.Policy.String()}
	producer := record.Tank{Name: "producer", Level: float64(held), Unit: "events", In: worked, Out: stored}
	if s.Slow == kit.SlowWork {
		producer.Note = fmt.Sprintf("%d workers × %.3g ms", w.Number.Load(), kit.Milliseconds(time.Duration(w.Work.Load())))
		if w.Paused.Load() {
			producer.Note = "paused"
		}
	}
	out := []record.Tank{{Name: "upstream", Level: float64(x.upstream), Unit: "events", In: offered, Out: received}, socket, queue}
	if s.Live != nil { // what waits there is not known here
		out = out[1:]
		out[0].Capacity /= 2
	}
	if q.Policy == overflow.Spill || q.Spilled.Total > 0 {
		out = append(out, record.Tank{Name: "disk", Level: float64(q.Spilled.Bytes), Capacity: float64(q.Spilled.MaxBytes), Unit: "bytes",
			Note: fmt.Sprintf("%d events", q.Spilled.Events)})
	}
	return append(out, producer,
		record.Tank{Name: "kafka", Level: float64(x.stored - x.fetched), Unit: "events", In: stored, Out: fetched, Note: fmt.Sprintf("%d stored", x.stored)},
		record.Tank{Name: "consumer", Level: float64(max(0, x.fetched-x.counted)), Unit: "events", In: fetched, Out: counted, Note: "fetched, not yet counted"},
		record.Tank{Name: "redis", Level: float64(x.counted), Unit: "events", In: counted, Note: "counted"})
}

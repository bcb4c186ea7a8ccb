package batching

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// run is the experiment while it runs.
type run struct {
	s      *Settings
	b      *lab.Bench
	e      *kit.Engine
	events []kit.Payload // that producers write
	made   []kit.Payload // simulated ones, different from each other, that weir ingests
	topics int           // made so far
	warm   bool          // brokers are: what is measured counts
}

// open makes the events before anything is measured.
func (s *Settings) open(b *lab.Bench, e *kit.Engine, own []kit.Payload) (*run, error) {
	made, err := kit.Payloads(s.Seed, max(s.Flood, int(s.Rate*s.Offer.Seconds()), commitHighRate*int(commitTime/time.Second)+1))
	x := &run{s: s, b: b, e: e, events: own, made: made}
	if own == nil {
		x.events = made
	}
	return x, err
}

// topic makes a new one.
func (x *run) topic(ctx context.Context) (string, error) {
	name := fmt.Sprintf("lab-batching-%d", x.topics)
	x.topics++
	return name, kafka.EnsureTopics(ctx, x.e.Client, kafka.TopicSpec{Name: name, Partitions: topicPartitions})
}

// turns does something with all in turn, some rounds long: in every second round backwards, so
// that what changes with time does not favour one.
func turns[T any](rounds int, all []T, do func(round, i int, x T) error) error {
	order := slices.Clone(all)
	for round := range rounds {
		for i, x := range order {
			if err := do(round, i, x); err != nil {
				return fmt.Errorf("%v: %w", x, err)
			}
		}
		slices.Reverse(order)
	}
	return nil
}

// producerSeen is what was seen of one setting, all rounds together.
type producerSeen struct {
	of      ProducerSetting
	real    bool    // brokers are Apache Kafka's
	seconds float64 // for which records were offered at the rate
	short   bool    // the rate was not reached
	refused int64   // records that were not acknowledged
	// Of what was offered at the rate.
	paced    int64
	latency  []float64 // ms from when a record was due to its acknowledgement, sorted
	cpu      time.Duration
	requests int64
	// Of the flood.
	flood        int64
	floodSeconds float64
	// Of all: what the client wrote, and what the brokers have: the bytes are of one replica.
	written int64
	wire    wireSeen
	disk    int64
	kit.Contents
}

// String names the setting.
func (o *producerSeen) String() string { return o.of.String() }

// wireSeen is a client's hook that counts what it wrote.
type wireSeen struct {
	mu               sync.Mutex
	requests         int64 // Produce requests
	batches, records int64
	plain, packed    int64 // bytes of batches' records, before and after compression
	largest          int64 // of plain
}

var _ interface {
	kgo.HookBrokerWrite
	kgo.HookProduceBatchWritten
} = (*wireSeen)(nil)

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (m *wireSeen) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) == kmsg.Produce {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.requests++
	}
}

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (m *wireSeen) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, w kgo.ProduceBatchMetrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches++
	m.records += int64(w.NumRecords)
	m.plain += int64(w.UncompressedBytes)
	m.packed += int64(w.CompressedBytes)
	m.largest = max(m.largest, int64(w.UncompressedBytes))
}

// sofar returns how many requests and records were written.
func (m *wireSeen) sofar() (requests, records int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests, m.records
}

// producers measures every setting in turns.
func (x *run) producers(ctx context.Context) ([]*producerSeen, error) {
	x.b.Progress("warming up")
	err := kit.WarmUp(func() ([]float64, error) {
		warm := &producerSeen{of: BaseSetting()}
		err := x.producer(ctx, warm)
		slices.Sort(warm.latency)
		return warm.latency, err
	})
	if err != nil {
		return nil, err
	}
	x.warm = true
	seen := make([]*producerSeen, len(x.s.Producers))
	for i, p := range x.s.Producers {
		seen[i] = &producerSeen{of: p, real: x.e.Real()}
	}
	err = turns(x.s.Rounds, seen, func(round, i int, o *producerSeen) error {
		x.b.Begin(o.String(), time.Now())
		x.b.Progress(fmt.Sprintf("round %d of %d, setting %d of %d: %s", round+1, x.s.Rounds, i+1, len(seen), o))
		return x.producer(ctx, o)
	})
	for _, o := range seen {
		slices.Sort(o.latency)
	}
	return seen, err
}

// perEvent is a share of CPU time, in microseconds.
func perEvent(cpu time.Duration, events int64) float64 {
	return float64(cpu.Microseconds()) / float64(max(1, events))
}

func (o *producerSeen) cpuPerEvent() float64 { return perEvent(o.cpu, o.paced) }

// producer measures a setting once, on a new topic.
func (x *run) producer(ctx context.Context, o *producerSeen) error {
	opts := append(o.of.options(), kgo.WithHooks(&o.wire))
	if x.s.Break == BreakHurry {
		opts = append(opts, kgo.ProducerLinger(0))
	}
	w, err := x.numbered(ctx, opts...)
	if err != nil {
		return err
	}
	defer w.cl.Close()
	cpu, start := x.e.CPU(), time.Now()
	before, _ := o.wire.sofar()
	w.report = func() { x.report(o, w, x.e.CPU()-cpu) }
	if err := w.pace(ctx, x.s.Rate, x.s.Offer); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	if err := w.flush(ctx); err != nil {
		return err
	}
	after, _ := o.wire.sofar()
	o.cpu += x.e.CPU() - cpu
	o.requests += after - before
	o.seconds += took
	o.paced += w.next
	o.short = o.short || took > 2*x.s.Offer.Seconds()
	latency, _ := w.results()
	o.latency = append(o.latency, latency...)
	start = time.Now()
	for range x.s.Flood {
		w.write(ctx, time.Time{})
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	o.flood, o.floodSeconds = o.flood+int64(x.s.Flood), o.floodSeconds+time.Since(start).Seconds()
	written := w.next
	_, refused := w.results()
	o.written, o.refused = o.written+written, o.refused+refused
	// The client reports a batch to its hook a moment after its records are acknowledged.
	if _, err := kit.Until(ctx, func() bool { _, n := o.wire.sofar(); return n >= o.written-o.refused }); err != nil {
		return err
	}
	if x.s.Break == BreakTwice {
		if err := w.again(ctx); err != nil {
			return err
		}
	}
	return x.takeStock(ctx, w.topic, written, o)
}

// report reports where a setting lies by what there is of it: rounds that are over, and this one.
func (x *run) report(o *producerSeen, w *numbered, cpu time.Duration) {
	if !x.warm {
		return
	}
	latency, _ := w.results()
	sofar := producerSeen{of: o.of, paced: o.paced + w.next, cpu: o.cpu + cpu, latency: append(latency, o.latency...)}
	slices.Sort(sofar.latency)
	if len(sofar.latency) > 0 {
		x.b.Tradeoff(sofar.tradeoff())
	}
}

// takeStock looks up what the brokers have.
func (x *run) takeStock(ctx context.Context, topic string, written int64, o *producerSeen) error {
	got, err := x.readBack(ctx, topic, written)
	if err != nil {
		return err
	}
	o.Lost, o.Twice, o.Late = o.Lost+got.Lost, o.Twice+got.Twice, o.Late+got.Late
	all := kadm.TopicsSet{}
	for p := range int32(topicPartitions) {
		all.Add(topic, p)
	}
	dirs, err := x.e.Admin.DescribeAllLogDirs(ctx, all)
	if err != nil {
		return fmt.Errorf("ask for the size of %s: %w", topic, err)
	}
	size := map[int32]int64{} // of the largest replica: a follower may lag for a moment
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == topic {
				size[p.Partition] = max(size[p.Partition], p.Size)
			}
		})
	})
	for _, n := range size {
		o.disk += n
	}
	return nil
}

// numberHeader holds a record's number.
const numberHeader = "n"

// numbered writes events with a number each to a topic of its own.
type numbered struct {
	cl     *kgo.Client
	topic  string
	events []kit.Payload
	next   int64
	report func() // called twice a second at a rate; may be nil

	mu      sync.Mutex
	latency []float64 // ms
	refused int64
}

// numbered makes a topic and a client that writes to it.
func (x *run) numbered(ctx context.Context, opts ...kgo.Opt) (*numbered, error) {
	topic, err := x.topic(ctx)
	if err != nil {
		return nil, err
	}
	cl, err := x.e.Kafka.NewClient(append(opts, kgo.DefaultProduceTopic(topic))...)
	return &numbered{cl: cl, topic: topic, events: x.events}, err
}

// write writes the next one. due is when it should have been, zero where that does not
// matter.
func (w *numbered) write(ctx context.Context, due time.Time) {
	x := &w.events[int(w.next)%len(w.events)]
	n := binary.AppendVarint(nil, w.next)
	w.next++
	r := &kgo.Record{Key: x.Key, Value: x.Value, Headers: []kgo.RecordHeader{{Key: numberHeader, Value: n}}}
	w.cl.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
		took := time.Since(due)
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case err != nil:
			w.refused++
		case !due.IsZero():
			w.latency = append(w.latency, kit.Milliseconds(took))
		}
	})
}

func (w *numbered) flush(ctx context.Context) error {
	if err := w.cl.Flush(ctx); err != nil {
		return fmt.Errorf("wait for acknowledgements: %w", err)
	}
	return nil
}

// again writes the last three again, under their numbers: a fault.
func (w *numbered) again(ctx context.Context) error {
	w.next -= 3
	for range 3 {
		w.write(ctx, time.Time{})
	}
	return w.flush(ctx)
}

// results returns the latencies so far, and how many records were refused.
func (w *numbered) results() (latency []float64, refused int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.latency), w.refused
}

// paceReportEvery is seldom enough to cost nothing that is measured.
const paceReportEvery = 500 * time.Millisecond

// pace writes at a rate for a time.
func (w *numbered) pace(ctx context.Context, rate float64, d time.Duration) error {
	start, total := time.Now(), int64(rate*d.Seconds())
	var reported kit.Throttle
	for due := range kit.Due(ctx, time.Millisecond, start, rate) {
		if w.report != nil && reported.Due(paceReportEvery) {
			w.report()
		}
		for due = min(total, due); w.next < due; {
			w.write(ctx, start.Add(time.Duration(float64(w.next)/rate*float64(time.Second))))
		}
		if w.next == total {
			break
		}
	}
	return ctx.Err()
}

// readBack compares a topic with the numbers from 0 to written.
func (x *run) readBack(ctx context.Context, topic string, written int64) (kit.Contents, error) {
	got := kit.Expect(written)
	err := kit.ReadBack(ctx, x.e.Kafka, x.e.Client, func(r *kgo.Record) {
		if len(r.Headers) == 0 { // it shows that all replicas have what lies before
			return
		}
		n, read := binary.Varint(kit.Header(r, numberHeader))
		if read <= 0 {
			n = -1
		}
		key := string(r.Key)
		if key == "" { // without a key there is no order to keep
			key = fmt.Sprint(n)
		}
		got.Find(n, key)
	}, topic)
	if err == nil && got.Foreign > 0 {
		err = fmt.Errorf("%d records of %s have numbers that were not written", got.Foreign, topic)
	}
	return got, err
}

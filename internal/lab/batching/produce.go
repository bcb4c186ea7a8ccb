package batching

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
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
	kafka  kafka.Config
	cl     *kgo.Client
	admin  *kadm.Client
	events []kit.Payload // that producers write
	made   []kit.Payload // simulated ones, different from each other, that weir ingests
	topics int           // made so far
	warm   bool          // brokers are: what is measured counts
}

// own reads or records the records that producers write, nil where they are simulated.
func (s *Settings) own(ctx context.Context, b *lab.Bench) ([]kit.Payload, error) {
	switch {
	case s.From != nil:
		return s.From.read(ctx, b, maxOwn)
	case s.Live != nil:
		return s.Live.Record(ctx, b, maxOwn, recordTime)
	}
	return nil, nil
}

// open connects, and makes the events before anything is measured.
func (s *Settings) open(ctx context.Context, b *lab.Bench, e *kit.Engine, own []kit.Payload) (*run, error) {
	x := &run{s: s, b: b, e: e, events: own, kafka: kafka.Config{Brokers: e.Addrs(), ClientID: "weir-lab", Log: b.Log}}
	var err error
	if x.made, err = kit.Payloads(s.Seed, max(s.Flood, int(s.Rate*s.Offer.Seconds()), commitHighRate*int(commitTime/time.Second)+1)); err != nil {
		return nil, err
	}
	if own == nil {
		x.events = x.made
	}
	if x.cl, err = x.kafka.Connect(ctx); err != nil {
		return nil, err
	}
	x.admin = kadm.NewClient(x.cl)
	return x, nil
}

func (x *run) close() { x.cl.Close() }

// topic makes a new one.
func (x *run) topic(ctx context.Context) (string, error) {
	name := fmt.Sprintf("lab-batching-%d", x.topics)
	x.topics++
	return name, kafka.EnsureTopics(ctx, x.cl, kafka.TopicSpec{Name: name, Partitions: topicPartitions})
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
	// Of all: records, batches and bytes of batches as the client wrote them, and the
	// bytes that the brokers have of one replica.
	written int64
	wire    wireSeen
	disk    int64
	lost    int64
	doubled int64
	late    int64
}

// wireSeen is what a client wrote.
type wireSeen struct {
	requests, bytes  int64 // Produce requests, whole
	batches, records int64
	plain, packed    int64 // bytes of batches' records, before and after compression
	largest          int64 // of plain
}

// meter is a client's hook that counts.
type batchMeter struct {
	mu sync.Mutex
	wireSeen
}

var _ interface {
	kgo.HookBrokerWrite
	kgo.HookProduceBatchWritten
} = (*batchMeter)(nil)

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (m *batchMeter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, _ error) {
	if kmsg.Key(key) != kmsg.Produce {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	m.bytes += int64(bytes)
}

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (m *batchMeter) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, w kgo.ProduceBatchMetrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches++
	m.records += int64(w.NumRecords)
	m.plain += int64(w.UncompressedBytes)
	m.packed += int64(w.CompressedBytes)
	m.largest = max(m.largest, int64(w.UncompressedBytes))
}

func (m *batchMeter) seen() wireSeen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wireSeen
}

// Brokers that have just been started are slow, Java's most of all: they are warm when
// 99 % is acknowledged within warmLatency, in ms, or nothing comes of it.
const (
	warmLatency = 150
	maxWarmUps  = 5
)

// producers measures every setting in turns: in the second round backwards, so that what
// changes with time does not favour one.
func (x *run) producers(ctx context.Context) ([]*producerSeen, error) {
	seen := make([]*producerSeen, len(x.s.Producers))
	order := make([]int, len(seen))
	for i, p := range x.s.Producers {
		seen[i], order[i] = &producerSeen{of: p, real: x.e.Real()}, i
	}
	x.b.Progress("warming up")
	for range maxWarmUps {
		warm := &producerSeen{of: BaseSetting()}
		if err := x.producer(ctx, warm); err != nil {
			return nil, err
		}
		if slices.Sort(warm.latency); kit.Quantile(warm.latency, 0.99) < warmLatency {
			break
		}
	}
	x.warm = true
	for round := range x.s.Rounds {
		for n, i := range order {
			x.b.Begin(seen[i].of.String(), time.Now())
			x.b.Progress(fmt.Sprintf("round %d of %d, setting %d of %d: %s", round+1, x.s.Rounds, n+1, len(order), seen[i].of))
			if err := x.producer(ctx, seen[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", seen[i].of, err)
			}
		}
		slices.Reverse(order)
	}
	for _, o := range seen {
		slices.Sort(o.latency)
	}
	return seen, nil
}

func (o *producerSeen) cpuPerEvent() float64 {
	return float64(o.cpu.Microseconds()) / float64(max(1, o.paced))
}

// producer measures a setting once, on a new topic.
func (x *run) producer(ctx context.Context, o *producerSeen) error {
	topic, err := x.topic(ctx)
	if err != nil {
		return err
	}
	meter := &batchMeter{}
	opts := append(o.of.options(), kgo.DefaultProduceTopic(topic), kgo.WithHooks(meter))
	if x.s.Break == BreakHurry {
		opts = append(opts, kgo.ProducerLinger(0))
	}
	cl, err := x.kafka.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	w := &numbered{cl: cl, events: x.events}
	cpu := x.cpu()
	w.tell = func() { x.tell(o, w, x.cpu()-cpu) }
	start := time.Now()
	if err := w.pace(ctx, x.s.Rate, x.s.Offer); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("wait for acknowledgements: %w", err)
	}
	o.cpu += x.cpu() - cpu
	paced := w.next
	o.requests += meter.seen().requests
	o.seconds += took
	o.paced += paced
	o.short = o.short || took > 2*x.s.Offer.Seconds()
	w.mu.Lock()
	o.latency = append(o.latency, w.latency...)
	w.mu.Unlock()
	start = time.Now()
	for range x.s.Flood {
		w.write(ctx, time.Time{})
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("wait for acknowledgements: %w", err)
	}
	o.flood, o.floodSeconds = o.flood+int64(x.s.Flood), o.floodSeconds+time.Since(start).Seconds()
	// The client tells of a batch a moment after its records are acknowledged.
	for end := time.Now().Add(kit.Patience); meter.seen().records < w.next-w.refusals() && time.Now().Before(end); {
		if err := kit.Wait(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	m := meter.seen()
	o.written += w.next
	o.refused += w.refusals()
	o.wire.requests += m.requests
	o.wire.bytes += m.bytes
	o.wire.batches += m.batches
	o.wire.records += m.records
	o.wire.plain += m.plain
	o.wire.packed += m.packed
	o.wire.largest = max(o.wire.largest, m.largest)
	if x.s.Break == kit.BreakTwice {
		w.next -= 3
		for range 3 {
			w.write(ctx, time.Time{})
		}
		if err := cl.Flush(ctx); err != nil {
			return fmt.Errorf("break: %w", err)
		}
	}
	return x.takeStock(ctx, topic, w.next, o)
}

// tell tells where a setting lies by what there is of it: rounds that are over, and this one.
func (x *run) tell(o *producerSeen, w *numbered, cpu time.Duration) {
	if !x.warm {
		return
	}
	sofar := producerSeen{of: o.of, paced: o.paced + w.next, cpu: o.cpu + cpu}
	w.mu.Lock()
	sofar.latency = slices.Concat(o.latency, w.latency)
	w.mu.Unlock()
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
	o.lost, o.doubled, o.late = o.lost+got.lost, o.doubled+got.doubled, o.late+got.late
	dirs, err := x.admin.DescribeAllLogDirs(ctx, x.set(topic))
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

// set names all partitions of a topic.
func (x *run) set(topic string) kadm.TopicsSet {
	s := kadm.TopicsSet{}
	for p := range int32(topicPartitions) {
		s.Add(topic, p)
	}
	return s
}

// numberHeader holds a record's number.
const numberHeader = "n"

// numbered writes events with a number each.
type numbered struct {
	cl     *kgo.Client
	events []kit.Payload
	next   int64
	tell   func() // called twice a second at a rate; nil for nobody

	mu      sync.Mutex
	latency []float64 // ms
	refused int64
}

// write writes the next one. due is when it should have been, zero where that does not
// matter.
func (w *numbered) write(ctx context.Context, due time.Time) {
	x := &w.events[int(w.next)%len(w.events)]
	n := binary.AppendVarint(nil, w.next)
	w.next++
	w.cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: x.Key, Value: x.Value, Headers: []kgo.RecordHeader{{Key: numberHeader, Value: n}}}, func(_ *kgo.Record, err error) {
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

func (w *numbered) refusals() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// pace writes at a rate for a time.
func (w *numbered) pace(ctx context.Context, rate float64, d time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start, total := time.Now(), int64(rate*d.Seconds())
	for told := start; w.next < total; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if w.tell != nil && time.Since(told) >= paceTellEvery {
			told = time.Now()
			w.tell()
		}
		for due := min(total, int64(time.Since(start).Seconds()*rate)); w.next < due; {
			w.write(ctx, start.Add(time.Duration(float64(w.next)/rate*float64(time.Second))))
		}
	}
	return nil
}

// paceTellEvery is seldom enough to cost nothing that is measured.
const paceTellEvery = 500 * time.Millisecond

// stock is what a topic holds, compared with what was written.
type stock struct{ lost, doubled, late int64 }

// readBack compares a topic with the numbers from 0 to written.
func (x *run) readBack(ctx context.Context, topic string, written int64) (stock, error) {
	var got stock
	bounds, err := kafka.Bounds(ctx, x.cl, topic)
	if err != nil {
		return got, err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	seen := make([]bool, written)
	newest := map[string]int64{}
	err = kafka.Scan(ctx, x.kafka, ranges, func(r *kgo.Record) error {
		if len(r.Headers) == 0 { // it shows that all replicas have what lies before
			return nil
		}
		n := int64(-1)
		for _, h := range r.Headers {
			if h.Key == numberHeader {
				n, _ = binary.Varint(h.Value)
			}
		}
		if n < 0 || n >= written {
			return fmt.Errorf("a record of %s has the unknown number %d", topic, n)
		}
		if seen[n] {
			got.doubled++
			return nil
		}
		seen[n] = true
		if len(r.Key) > 0 && n < newest[string(r.Key)] { // without a key there is no order to keep
			got.late++
		}
		newest[string(r.Key)] = n
		return nil
	})
	if err != nil {
		return got, fmt.Errorf("read the stored records: %w", err)
	}
	for _, there := range seen {
		if !there {
			got.lost++
		}
	}
	return got, nil
}

// cpu is the CPU time of this process, and of the brokers' where they have their own.
func (x *run) cpu() time.Duration {
	all := ownCPU()
	brokers, _ := x.e.Brokers(context.Background()) // cannot fail where they are processes
	for _, b := range brokers {
		if b.PID != 0 {
			all += processCPU(b.PID)
		}
	}
	return all
}

// processCPU is the CPU time of another process, in steps of 10 ms; 0 where the system
// does not tell.
func processCPU(pid int) time.Duration {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(body), ") ") // its name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

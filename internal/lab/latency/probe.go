package latency

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
)

// stage is a part of the way of an event from the socket to its count.
type stage int

// The stages, in the order of the way.
const (
	socket      stage = iota // from when the event was due to the queue
	queue                    // until its transaction begins
	transaction              // until the commit is acknowledged
	fetch                    // until a counter has it
	redis                    // until Redis has counted it
	stages
)

// String names the stage.
func (s stage) String() string {
	return [...]string{"socket", "queue", "transaction", "fetch", "Redis"}[s]
}

// moments are when an event had passed each stage, in microseconds since 1970; 0 where it has
// not.
type moments [stages]int64

// probe notes when each event of the data topic passes each stage. It watches from outside: at
// the source, in the hooks of the Kafka clients, and when a counter reports a batch as counted.
type probe struct {
	start time.Time // wall clock and monotonic clock at one moment

	mu      sync.Mutex
	base    int64     // the server's number of event 0; 0 before any has come
	next    int64     // the number of the event after the last one that has come
	numbers []int64   // of the events of the data topic, by their seq
	passed  []moments // by seq
	open    []int64   // seqs of the transaction in progress
	ended   bool      // it is committed
	fetched map[int32][]held
	counted int64
	unknown int64 // records that stand for no event
	again   int64 // records that were fetched once more
	// Of the step that is measured: when an event was due, by its number, the first number, and the
	// latencies in ms since they were last asked for.
	due    func(number int64) int64
	from   int64
	lately []float64
}

// held is a record that a counter has, and has not counted yet.
type held struct {
	offset int64
	seq    int
}

func newProbe() *probe { return &probe{start: time.Now(), fetched: map[int32][]held{}} }

// now is the time. It does not jump when the machine's clock is set.
func (p *probe) now() int64 {
	return p.start.UnixMicro() + time.Since(p.start).Microseconds()
}

// received notes the events of a batch that is about to enter the queue. Events that come a
// second time, as after a reconnect, have been noted.
func (p *probe) received(b *event.Batch) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := b.Cursor.Seq - int64(len(b.Events)) + 1
	if p.base == 0 {
		p.base = n
	}
	for i := range b.Events {
		number := n + int64(i) - p.base
		if number < p.next {
			continue
		}
		p.next = number + 1
		if b.Events[i].Route == event.Data {
			p.numbers = append(p.numbers, number)
			p.passed = append(p.passed, moments{socket: now})
		}
	}
}

// seqOf is the seq of a record of the data topic that stands for an event; else -1.
func (p *probe) seqOf(r *kgo.Record) int {
	seq, err := strconv.Atoi(string(kit.Header(r, kafka.HeaderSeq)))
	if err != nil || seq < 0 || seq >= len(p.passed) {
		return -1
	}
	return seq
}

// producing is a hook of the ingester's client.
type producing struct{ *probe }

var _ interface {
	kgo.HookProduceRecordBuffered
	kgo.HookBrokerE2E
} = producing{}

// OnProduceRecordBuffered implements kgo.HookProduceRecordBuffered: a transaction has begun.
func (p producing) OnProduceRecordBuffered(r *kgo.Record) {
	if r.Topic != kafka.TopicBluesky {
		return
	}
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		p.open, p.ended = p.open[:0], false
	}
	if seq := p.seqOf(r); seq >= 0 {
		p.passed[seq][queue] = now
		p.open = append(p.open, int64(seq))
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E: a transaction has ended. Where Apache Kafka asks to
// wait for the transaction before, the last response counts.
func (p producing) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if kmsg.Key(key) != kmsg.EndTxn || e.WriteErr != nil || e.ReadErr != nil {
		return
	}
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seq := range p.open {
		p.passed[seq][transaction] = now
	}
	p.ended = true
}

// fetching is a hook of the counters' clients.
type fetching struct{ *probe }

var _ kgo.HookFetchRecordBuffered = fetching{}

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered: a record has come.
func (p fetching) OnFetchRecordBuffered(r *kgo.Record) {
	if r.Topic != kafka.TopicBluesky || r.Attrs.IsControl() {
		return
	}
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := p.seqOf(r)
	switch {
	case seq < 0:
		p.unknown++
		return
	case p.passed[seq][fetch] > 0:
		p.again++
		return
	}
	p.passed[seq][fetch] = now
	p.fetched[r.Partition] = append(p.fetched[r.Partition], held{r.Offset, seq})
}

// count notes that the records of a partition below an offset are counted.
func (p *probe) count(partition int32, next int64) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.fetched[partition]
	n := 0
	for ; n < len(all) && all[n].offset < next; n++ {
		p.passed[all[n].seq][redis] = now
		p.counted++
		if number := p.numbers[all[n].seq]; p.due != nil && number >= p.from {
			p.lately = append(p.lately, float64(now-p.due(number))/1000)
		}
	}
	p.fetched[partition] = slices.Delete(all, 0, n)
}

// watch notes the latency of each event from a number on that is counted from now on.
func (p *probe) watch(from int64, due func(number int64) int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.due, p.lately = from, due, nil
}

// latest returns the latencies, sorted, that were noted since it was called last.
func (p *probe) latest() []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	ms := p.lately
	p.lately = nil
	slices.Sort(ms)
	return ms
}

// all reports whether the events below a number have come, and all that have come are counted.
func (p *probe) all(below int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next >= below && p.counted == int64(len(p.passed))
}

// free is for how long a source that stalls goes on in between.
const free = 50 * time.Millisecond

// tap notes the events of a source. Before that the source can stall.
func (p *probe) tap(stall func() time.Duration) func(context.Context, *event.Batch) {
	var went time.Time // when it went on after a stall
	return func(ctx context.Context, b *event.Batch) {
		if d := stall(); d > 0 && time.Since(went) > free {
			_ = kit.Wait(ctx, d) // what comes after it looks at ctx
			went = time.Now()
		}
		p.received(b)
	}
}

package kit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// attempt is one go of a worker at one record.
type attempt struct {
	slot
	worker int
	// delivery is the broker's count of a share group's deliveries, 0 elsewhere.
	delivery   int32
	begin, end float64 // seconds since the case began
	accepted   bool    // as worked; else it was released
}

// parallelSeen is what was seen of a case.
type parallelSeen struct {
	parallelCase
	log      *backlog
	attempts []attempt
	control  float64 // share of its work that a worker without a pipeline has done meanwhile
	finished bool    // everything was worked, and the group came to rest

	// described is how many partitions each member has by Kafka's account, before and
	// after; of groups of members only.
	described, after []int
	// behind is how many records the group's committed position is short of the end.
	behind int64

	// Of a share group: the poison record, the limit of its deliveries, what was to be
	// released once, and acknowledgements that brokers refused.
	poison  slot
	limit   int
	release map[slot]bool
	refused int64
}

// ledger takes attempts down.
type ledger struct {
	mu       sync.Mutex
	began    time.Time
	attempts []attempt
	accepted map[slot]bool
	last     time.Time // when the last attempt ended
}

func newLedger() *ledger {
	return &ledger{began: time.Now(), accepted: map[slot]bool{}, last: time.Now()}
}

func (l *ledger) add(a attempt, begin, end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.begin, a.end = begin.Sub(l.began).Seconds(), end.Sub(l.began).Seconds()
	l.attempts = append(l.attempts, a)
	if a.accepted {
		l.accepted[a.slot] = true
	}
	l.last = end
}

// state is how many different records are accepted, and when something ended last.
func (l *ledger) state() (accepted int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted), l.last
}

// do is a worker's go at a record; false where ctx ended in the middle of it.
func (p *parallelRun) do(ctx context.Context, w *workers, l *ledger, a attempt) bool {
	begin := time.Now()
	w.one(ctx, a.worker)
	if ctx.Err() != nil {
		return false
	}
	l.add(a, begin, time.Now())
	return true
}

// twice reports whether BreakAgain wants a record to be worked again.
func (p *parallelRun) twice(r *kgo.Record) bool { return p.Break == BreakAgain && r.Offset%50 == 7 }

// nextGroup names a group that nobody has used.
func (p *parallelRun) nextGroup() string {
	p.group++
	return fmt.Sprintf("weir-lab-parallel-%d", p.group)
}

// begin starts the course of a case.
func (p *parallelRun) begin(ctx context.Context, c parallelCase) (*parallelSeen, func() float64) {
	control, stop := startControl(ctx, p.Work)
	start := time.Now()
	p.b.Begin(c.name, start)
	return &parallelSeen{parallelCase: c, log: p.log}, func() float64 {
		stop()
		return float64(control.done.Load()) * p.Work.Seconds() / time.Since(start).Seconds()
	}
}

// drained waits until want different records are accepted, and reports false where
// nothing has moved for as long as anybody waits.
func (p *parallelRun) drained(ctx context.Context, of string, l *ledger, want int) (bool, error) {
	var shown, told time.Time
	for {
		n, last := l.state()
		if time.Since(told) >= tellEvery/2 || n >= want { // a case may last less than a second
			told = time.Now()
			p.b.Point(of, "worked (records)", float64(n))
		}
		if time.Since(shown) > 200*time.Millisecond {
			shown = time.Now()
			p.show(fmt.Sprintf("worked %d of %d", n, len(p.log.records)))
		}
		if n >= want {
			return true, nil
		}
		if time.Since(last) > patience {
			return false, nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// consumer is a member of a consumer group that commits what is marked.
func (p *parallelRun) consumer(group string) (*kgo.Client, error) {
	return p.g.kafka.NewClient(kgo.ConsumerGroup(group), kgo.ConsumeTopics(kafka.TopicBluesky), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond), kgo.FetchMaxWait(250*time.Millisecond))
}

// threads is one consumer that hands records to workers: by key, or to whoever is free.
func (p *parallelRun) threads(ctx context.Context, c parallelCase) (_ *parallelSeen, err error) {
	group := p.nextGroup()
	cl, err := p.consumer(group)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	p.show("joining")
	w, l, win := newWorkers(c.workers, p.Work), newLedger(), &window{cl: cl, parts: map[int32][]*task{}}
	o, controlled := p.begin(ctx, c)
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	lanes := make([]chan *task, c.workers)
	for i := range lanes {
		lanes[i] = lanes[0]
		if i == 0 || c.promise == keepsOrder {
			lanes[i] = make(chan *task, laneDepth)
		}
		wg.Go(func() { p.work(run, w, l, win, i, lanes[i]) })
	}
	wg.Go(func() { p.deal(run, cl, win, lanes) })
	o.finished, err = p.drained(ctx, c.name, l, len(p.log.records))
	stop()
	wg.Wait()
	o.control, o.attempts = controlled(), l.attempts
	if err != nil {
		return nil, err
	}
	return o, errors.Join(cl.CommitMarkedOffsets(ctx), p.committed(ctx, o, group))
}

// laneDepth is how many records wait for one worker at most.
const laneDepth = 256

// deal hands records out.
func (p *parallelRun) deal(ctx context.Context, cl *kgo.Client, win *window, lanes []chan *task) {
	turn := 0
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			n := int(hash(r.Key) % uint32(len(lanes)))
			if p.Break == BreakScatter {
				n, turn = turn%len(lanes), turn+1
			}
			t := &task{Record: r}
			win.add(t)
			select {
			case lanes[n] <- t:
			case <-ctx.Done():
			}
		})
	}
}

// work is one thread.
func (p *parallelRun) work(ctx context.Context, w *workers, l *ledger, win *window, n int, lane <-chan *task) {
	for {
		select {
		case t := <-lane:
			a := attempt{slot: slot{t.Partition, t.Offset}, worker: n, accepted: true}
			if !p.do(ctx, w, l, a) {
				return
			}
			if p.twice(t.Record) && !p.do(ctx, w, l, a) {
				return
			}
			win.finish(t)
		case <-ctx.Done():
			return
		}
	}
}

// task is a record that waits to be worked, or is.
type task struct {
	*kgo.Record
	done bool
}

// window knows what is under way of each partition: only what nothing before it is
// under way of may be committed, or a crash would lose what was overtaken.
type window struct {
	cl    *kgo.Client
	mu    sync.Mutex
	parts map[int32][]*task
}

func (w *window) add(t *task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts[t.Partition] = append(w.parts[t.Partition], t)
}

func (w *window) finish(t *task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.done = true
	all := w.parts[t.Partition]
	n := 0
	for n < len(all) && all[n].done {
		n++
	}
	if n > 0 {
		w.cl.MarkCommitRecords(all[n-1].Record)
		w.parts[t.Partition] = all[n:]
	}
}

// committed notes how far the group's committed position is behind.
func (p *parallelRun) committed(ctx context.Context, o *parallelSeen, group string) error {
	at, err := p.admin.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("read the group's offsets: %w", err)
	}
	for partition, end := range p.log.ends {
		c, _ := at.Lookup(kafka.TopicBluesky, partition)
		o.behind += max(0, end-c.At)
	}
	return nil
}

// members is a consumer group of members with one worker each.
func (p *parallelRun) members(ctx context.Context, c parallelCase) (_ *parallelSeen, err error) {
	group, joining := p.nextGroup(), c.workers
	if p.Break == BreakAlone {
		joining = min(joining, parallelPartitions)
	}
	var clients []*kgo.Client
	defer func() {
		for _, cl := range clients {
			cl.Close()
		}
	}()
	for range joining {
		cl, err := p.consumer(group)
		if err != nil {
			return nil, err
		}
		clients = append(clients, cl)
	}
	p.show("joining")
	before, err := p.stable(ctx, group, joining)
	if err != nil {
		return nil, err
	}
	w, l := newWorkers(c.workers, p.Work), newLedger()
	o, controlled := p.begin(ctx, c)
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i, cl := range clients {
		wg.Go(func() {
			for run.Err() == nil {
				cl.PollFetches(run).EachRecord(func(r *kgo.Record) {
					a := attempt{slot: slot{r.Partition, r.Offset}, worker: i, accepted: true}
					if p.do(run, w, l, a) && (!p.twice(r) || p.do(run, w, l, a)) {
						cl.MarkCommitRecords(r)
					}
				})
			}
		})
	}
	o.finished, err = p.drained(ctx, c.name, l, len(p.log.records))
	stop()
	wg.Wait()
	o.control, o.attempts, o.described = controlled(), l.attempts, before
	if err != nil {
		return nil, err
	}
	if o.after, _, err = p.described(ctx, group); err != nil {
		return nil, err
	}
	for _, cl := range clients {
		err = errors.Join(err, cl.CommitMarkedOffsets(ctx))
	}
	return o, errors.Join(err, p.committed(ctx, o, group))
}

// described returns how many partitions each member of a group has by Kafka's own
// account, and whether the group is at rest.
func (p *parallelRun) described(ctx context.Context, group string) (parts []int, rest bool, err error) {
	all, err := p.admin.DescribeGroups(ctx, group)
	if err != nil {
		return nil, false, fmt.Errorf("describe the group: %w", err)
	}
	d := all[group]
	for _, m := range d.Members {
		n := 0
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				n += len(t.Partitions)
			}
		}
		parts = append(parts, n)
	}
	return parts, d.Err == nil && d.State == "Stable", nil
}

// stable waits until so many members have all partitions among them, and returns
// how many each has.
func (p *parallelRun) stable(ctx context.Context, group string, members int) ([]int, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		parts, rest, err := p.described(ctx, group)
		if err == nil && rest && len(parts) == members && total64(parts) == parallelPartitions {
			return parts, nil
		}
		if err := wait(ctx, sampleEvery); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%d members did not agree on the partitions within %v", members, patience)
}

func total64(all []int) (n int) {
	for _, x := range all {
		n += x
	}
	return n
}

// refusals counts acknowledgements that brokers refuse.
type refusals struct{ n atomic.Int64 }

func (x *refusals) note(_ *kgo.Client, results kgo.ShareAckResults) {
	for _, r := range results {
		if r.Err != nil {
			x.n.Add(1)
		}
	}
}

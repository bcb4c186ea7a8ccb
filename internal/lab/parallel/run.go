package parallel

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// attempt is one try of a worker at one record.
type attempt struct {
	slot
	worker int
	// delivery is the broker's count of a share group's deliveries, 0 elsewhere.
	delivery   int32
	begin, end float64 // seconds since the case began
	accepted   bool    // as worked; otherwise it was released
}

// seen is what was seen of a case.
type seen struct {
	way
	log      *backlog
	attempts []attempt
	control  float64 // share of its work that a worker without a pipeline has done meanwhile
	finished bool    // all records were worked, and the group has nothing left

	// described is how many partitions each member has according to Kafka, before and
	// after; of groups of members only.
	described, after []int
	// behind is how many records the group's committed offsets are short of the end.
	behind int64

	// Of a share group: the poison record, the limit of its deliveries, the records to be
	// released once, and acknowledgements that brokers rejected.
	poison  slot
	limit   int
	release map[slot]bool
	refused int64
}

// run is the experiment while it runs.
type run struct {
	*Settings
	b    *lab.Bench
	g    *kit.Stack
	log  *backlog
	show func(string)

	group   string        // of the case; no case before has used it
	clients []*kgo.Client // of the case, its members
}

// job is a case while it runs.
type job struct {
	*run
	*seen
	w     *kit.Workers
	began time.Time
	wg    sync.WaitGroup

	mu       sync.Mutex
	accepted map[slot]bool
	last     time.Time // when the last attempt ended
}

// do is a worker's attempt at a record; false where ctx ended in the middle of it.
func (j *job) do(ctx context.Context, a attempt) bool {
	begin := time.Now()
	j.w.One(ctx, a.worker)
	if ctx.Err() != nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = time.Now()
	a.begin, a.end = begin.Sub(j.began).Seconds(), j.last.Sub(j.began).Seconds()
	j.attempts = append(j.attempts, a)
	if a.accepted {
		j.accepted[a.slot] = true
	}
	return true
}

// work does a record, and where BreakAgain wants it a second time.
func (j *job) work(ctx context.Context, worker int, r *kgo.Record) bool {
	a := attempt{slot: slot{r.Partition, r.Offset}, worker: worker, accepted: true}
	return j.do(ctx, a) && (!j.twice(r) || j.do(ctx, a))
}

// twice reports whether BreakAgain wants a record to be worked again.
func (j *job) twice(r *kgo.Record) bool { return j.Break == BreakAgain && r.Offset%50 == 7 }

// carry carries a case out: start starts its workers, which end with the context that they
// get. It is over when want different records are accepted and then, where it is not nil, rest
// returns true.
func (p *run) carry(ctx context.Context, c way, want int, start func(context.Context, *job), rest func(*job) (bool, error)) (*seen, error) {
	control, stopControl := kit.StartControl(ctx, p.Work)
	j := &job{run: p, seen: &seen{way: c, log: p.log}, w: kit.NewWorkers(c.workers, p.Work), began: time.Now(), accepted: map[slot]bool{}, last: time.Now()}
	p.b.Begin(c.name, j.began)
	going, stop := context.WithCancel(ctx)
	start(going, j)
	ok, err := j.drained(ctx, want)
	if err == nil && ok && rest != nil {
		ok, err = rest(j)
	}
	stop()
	j.wg.Wait()
	stopControl()
	j.finished, j.control = ok, float64(control.Done.Load())*p.Work.Seconds()/time.Since(j.began).Seconds()
	return j.seen, err
}

// drained waits until want different records are accepted; false when no worker has finished
// a record for as long as the lab has patience.
func (j *job) drained(ctx context.Context, want int) (bool, error) {
	var shown, told kit.Throttle
	for {
		j.mu.Lock()
		n, last := len(j.accepted), j.last
		j.mu.Unlock()
		if told.Due(kit.TellEvery/2) || n >= want { // a case may last less than a second
			j.b.Point(j.name, "worked (records)", float64(n))
		}
		if shown.Due(200 * time.Millisecond) {
			j.show(fmt.Sprintf("worked %d of %d", n, len(j.run.log.records)))
		}
		if n >= want || time.Since(last) > kit.Patience {
			return n >= want, nil
		}
		if err := kit.Wait(ctx, 10*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// join opens n clients.
func (p *run) join(n int, opts ...kgo.Opt) error {
	p.show("joining")
	for range n {
		cl, err := p.g.Kafka.NewClient(opts...)
		if err != nil {
			return err
		}
		p.clients = append(p.clients, cl)
	}
	return nil
}

// leave closes the clients of the case.
func (p *run) leave() {
	for _, cl := range p.clients {
		cl.Close()
	}
	p.clients = nil
}

// consumers opens n members of a consumer group that commits what is marked.
func (p *run) consumers(n int) error {
	return p.join(n, kgo.ConsumerGroup(p.group), kgo.ConsumeTopics(kafka.TopicBluesky), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond), kgo.FetchMaxWait(250*time.Millisecond))
}

// threads is one consumer that hands records to workers: by key, or to any that is free.
func (p *run) threads(ctx context.Context, c way) (*seen, error) {
	if err := p.consumers(1); err != nil {
		return nil, err
	}
	win := &window{cl: p.clients[0], parts: map[int32][]*task{}}
	o, err := p.carry(ctx, c, len(p.log.records), func(ctx context.Context, j *job) {
		queues := make([]chan *task, c.workers)
		for i := range queues {
			queues[i] = queues[0]
			if i == 0 || c.promise == keepsOrder {
				queues[i] = make(chan *task, queueDepth)
			}
			j.wg.Go(func() { j.thread(ctx, win, i, queues[i]) })
		}
		j.wg.Go(func() { j.deal(ctx, win, queues) })
	}, nil)
	if err != nil {
		return nil, err
	}
	return o, p.commit(ctx, o)
}

// queueDepth is how many records wait for one worker at most.
const queueDepth = 256

// deal hands records out.
func (j *job) deal(ctx context.Context, win *window, queues []chan *task) {
	turn := 0
	for ctx.Err() == nil {
		win.cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			n := int(hash(r.Key) % uint32(len(queues)))
			if j.Break == BreakScatter {
				n, turn = turn%len(queues), turn+1
			}
			t := &task{Record: r}
			win.add(t)
			select {
			case queues[n] <- t:
			case <-ctx.Done():
			}
		})
	}
}

// thread is one worker of the one consumer.
func (j *job) thread(ctx context.Context, win *window, n int, queue <-chan *task) {
	for {
		select {
		case t := <-queue:
			if !j.work(ctx, n, t.Record) {
				return
			}
			win.finish(t)
		case <-ctx.Done():
			return
		}
	}
}

// task is a record that waits for a worker, or is worked.
type task struct {
	*kgo.Record
	done bool
}

// window knows the unfinished records of each partition. An offset may be committed only when
// every record before it is done: otherwise a crash would lose the records that were overtaken.
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

// commit commits what is done, and notes how far the group's committed offsets are behind.
func (p *run) commit(ctx context.Context, o *seen) error {
	for _, cl := range p.clients {
		if err := cl.CommitMarkedOffsets(ctx); err != nil {
			return err
		}
	}
	at, err := p.g.Admin.FetchOffsets(ctx, p.group)
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
func (p *run) members(ctx context.Context, c way) (*seen, error) {
	joining := c.workers
	if p.Break == BreakAlone {
		joining = min(joining, partitions)
	}
	if err := p.consumers(joining); err != nil {
		return nil, err
	}
	before, err := p.stable(ctx, joining)
	if err != nil {
		return nil, err
	}
	o, err := p.carry(ctx, c, len(p.log.records), func(ctx context.Context, j *job) {
		for i, cl := range p.clients {
			j.wg.Go(func() {
				for ctx.Err() == nil {
					cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
						if j.work(ctx, i, r) {
							cl.MarkCommitRecords(r)
						}
					})
				}
			})
		}
	}, nil)
	if err != nil {
		return nil, err
	}
	o.described = before
	if o.after, _, err = p.described(ctx); err != nil {
		return nil, err
	}
	return o, p.commit(ctx, o)
}

// described returns how many partitions each member of the group has according to Kafka, and
// whether the group is stable.
func (p *run) described(ctx context.Context) (parts []int, stable bool, err error) {
	all, err := p.g.Admin.DescribeGroups(ctx, p.group)
	if err != nil {
		return nil, false, fmt.Errorf("describe the group: %w", err)
	}
	d := all[p.group]
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

// stable waits until so many members share all partitions, and returns how many each has.
func (p *run) stable(ctx context.Context, members int) (parts []int, err error) {
	err = inTime(ctx, members, func() bool {
		all, stable, err := p.described(ctx)
		total := 0
		for _, n := range all {
			total += n
		}
		parts = all
		return err == nil && stable && len(all) == members && total == partitions
	})
	return parts, err
}

// inTime waits until members have their partitions.
func inTime(ctx context.Context, members int, ready func() bool) error {
	ok, err := kit.Until(ctx, ready)
	if err == nil && !ok {
		err = fmt.Errorf("%d members did not get their partitions within %v", members, kit.Patience)
	}
	return err
}

package kit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

// patience is how long a cluster may take to do what it will do: elect, shrink and
// grow the replicas in sync, acknowledge again. Beyond that a case is inconclusive.
const patience = 60 * time.Second

// notEnoughReplicas is how the probe spells that answer.
const notEnoughReplicas = "NOT_ENOUGH_REPLICAS"

// failoverRun is a case while it runs.
type failoverRun struct {
	*failoverSeen
	s     *Failover
	e     *engine
	topic string
	kafka kafka.Config
	admin *kadm.Client
	begin time.Time
	b     *lab.Bench
	down  bool // the leader is killed and not yet started again

	mu    sync.Mutex // guards acked, refused and sent of failoverSeen, and consumed
	wg    sync.WaitGroup
	stops []func()
}

// observe runs one case.
func (s *Failover) observe(ctx context.Context, b *lab.Bench, e *engine, c FailoverCase, index int, show func(string)) (_ *failoverSeen, err error) {
	f := &failoverRun{s: s, e: e, topic: fmt.Sprintf("lab-failover-%d", index), begin: time.Now(), b: b,
		kafka:        kafka.Config{Brokers: e.Addrs(), ClientID: "weir-lab", Log: b.Log},
		failoverSeen: &failoverSeen{of: c, real: e.real(), acked: make(map[int64]float64), consumed: make(map[int64]float64)}}
	cl, err := f.kafka.NewClient(kgo.MetadataMinAge(50 * time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	f.admin = kadm.NewClient(cl)
	defer f.stop()
	b.Begin(string(c), f.begin)
	show("creating a topic")
	if err := f.open(ctx); err != nil {
		return nil, err
	}
	// Nothing may be left of a case that was cut short, or the next one finds two
	// brokers, one of which is held.
	defer func() {
		if !f.down {
			return
		}
		if e := f.revive(context.WithoutCancel(ctx)); e != nil && err == nil {
			err = e
		}
	}()
	show("writing and reading")
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	// Consumed, not only acknowledged: then every replica in sync has them.
	if _, err := f.until(ctx, func() bool { return len(f.consumed) >= int(s.Rate*s.Before.Seconds()) }); err != nil {
		return nil, err
	}
	if s.Break != BreakIdle {
		if err := f.fault(ctx, show); err != nil {
			return nil, err
		}
	}
	if err := f.recovery(ctx, show); err != nil {
		return nil, err
	}
	f.stop()
	if err := f.sabotage(ctx, cl); err != nil {
		return nil, err
	}
	show("reading what is there")
	if err := f.readBack(ctx, cl); err != nil {
		return nil, err
	}
	return f.failoverSeen, ctx.Err()
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now is the time in seconds since the case began.
func (f *failoverRun) now() float64 { return time.Since(f.begin).Seconds() }

// open makes the topic: one partition, so that one broker is all that counts.
func (f *failoverRun) open(ctx context.Context) error {
	least := "1"
	switch f.of {
	case AcksAll:
		least = "2"
	case AcksEvery:
		least = "3"
	}
	configs := map[string]*string{"min.insync.replicas": &least}
	if _, err := f.admin.CreateTopic(ctx, 1, 3, configs, f.topic); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	ok, err := f.poll(ctx, func(leader int32, isr int) bool { return leader >= 0 && isr == 3 })
	if err == nil && !ok {
		err = errors.New("the new topic's replicas did not come into sync within a minute")
	}
	return err
}

// poll asks for the partition's leader and the number of its replicas in sync until
// ok says so, and reports false when patience is over.
func (f *failoverRun) poll(ctx context.Context, ok func(leader int32, isr int) bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if p, err := f.partition(ctx); err == nil && ok(p.Leader, len(p.ISR)) {
			return true, nil
		}
		if err := wait(ctx, 20*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
			return false, nil
		}
	}
}

func (f *failoverRun) partition(ctx context.Context) (kadm.PartitionDetail, error) {
	topics, err := f.admin.ListTopics(ctx, f.topic)
	if err != nil {
		return kadm.PartitionDetail{}, err
	}
	p, ok := topics[f.topic].Partitions[0]
	if !ok {
		return p, kerr.UnknownTopicOrPartition
	}
	return p, p.Err
}

// load starts a producer at the case's rate and a consumer.
func (f *failoverRun) load(ctx context.Context) error {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(f.topic), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1 << 20),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.ProduceRequestTimeout(5 * time.Second)}
	switch f.of {
	case AcksNone:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case AcksLeader:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	default:
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	producer, err := f.kafka.NewClient(opts...)
	if err != nil {
		return err
	}
	consumer, err := f.kafka.NewClient(kgo.MetadataMinAge(100*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{f.topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		producer.Close()
		return err
	}
	writing, stopWriting := context.WithCancel(ctx)
	reading, stopReading := context.WithCancel(ctx)
	f.wg.Go(func() { f.produce(writing, producer) })
	f.wg.Go(func() {
		defer consumer.Close()
		for reading.Err() == nil {
			fetches := consumer.PollFetches(reading)
			at := f.now()
			f.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				if n := number(r.Value); n >= 0 {
					if _, ok := f.consumed[n]; !ok {
						f.consumed[n] = at
					}
				}
			})
			f.mu.Unlock()
		}
	})
	f.wg.Go(func() { f.tell(reading) })
	f.stops = append(f.stops, stopWriting, stopReading)
	return nil
}

// tell shows how many records a second are acknowledged and consumed, until ctx ends.
func (f *failoverRun) tell(ctx context.Context) {
	var acked, consumed int
	for last := time.Now(); wait(ctx, tellEvery) == nil; {
		f.mu.Lock()
		a, c := len(f.acked), len(f.consumed)
		f.mu.Unlock()
		took := time.Since(last).Seconds()
		last = time.Now()
		f.b.Points(string(f.of), record.Point{Panel: ackedPanel, Y: float64(a-acked) / took}, record.Point{Panel: consumedPanel, Y: float64(c-consumed) / took})
		acked, consumed = a, c
	}
}

// produce writes numbers, as many as are due, until ctx ends, and then waits for
// what is under way.
func (f *failoverRun) produce(ctx context.Context, cl *kgo.Client) {
	defer cl.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			_ = cl.Flush(flush) // what is not acknowledged by then never is
			return
		case <-tick.C:
		}
		due := int64(time.Since(start).Seconds() * f.s.Rate)
		f.mu.Lock()
		from := f.sent
		f.sent = max(from, due)
		f.mu.Unlock()
		for n := from; n < due; n++ {
			r := &kgo.Record{Partition: 0, Value: strconv.AppendInt(nil, n, 10)}
			// Not ctx: a record under way when it ends shall still be settled.
			cl.TryProduce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
				at := f.now()
				f.mu.Lock()
				defer f.mu.Unlock()
				if err != nil {
					f.refused++
					return
				}
				f.acked[n] = at
			})
		}
	}
}

// stop ends producer and consumer, in this order. It may be called twice.
func (f *failoverRun) stop() {
	if len(f.stops) == 0 {
		return
	}
	for _, stop := range f.stops {
		stop()
	}
	f.wg.Wait()
	f.stops = nil
}

// until waits until ok, which is asked with the lock held, or patience is over:
// then it reports false.
func (f *failoverRun) until(ctx context.Context, ok func() bool) (bool, error) {
	for end := time.Now().Add(patience); ; {
		f.mu.Lock()
		done := ok()
		f.mu.Unlock()
		if done || time.Now().After(end) {
			return done, ctx.Err()
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// fault holds the followers where that is possible, kills the leader, and waits for
// another one.
func (f *failoverRun) fault(ctx context.Context, show func(string)) error {
	p, err := f.partition(ctx)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	f.leader, f.successor = p.Leader, p.Leader
	f.held = f.now()
	if f.real {
		show(fmt.Sprintf("holding the followers of broker %d", p.Leader))
		f.b.Mark(string(f.of), fmt.Sprintf("followers of broker %d held", p.Leader))
		release, err := holdFollowers(f.e, p)
		if err != nil {
			return err
		}
		err = wait(ctx, f.s.Hold)
		if err == nil {
			err = f.kill(ctx, p.Leader)
		}
		if err := errors.Join(err, release()); err != nil {
			return err
		}
	} else if err := f.kill(ctx, p.Leader); err != nil {
		return err
	}
	show(fmt.Sprintf("broker %d is dead: waiting for another leader", p.Leader))
	_, err = f.poll(ctx, func(leader int32, _ int) bool {
		if leader < 0 || leader == f.leader {
			return false
		}
		f.moved, f.successor = f.now(), leader
		f.b.Mark(string(f.of), fmt.Sprintf("broker %d leads", leader))
		return true
	})
	return err
}

// holdFollowers stops the processes of all replicas but the leader, and returns
// what lets them go on.
func holdFollowers(e *engine, p kadm.PartitionDetail) (release func() error, err error) {
	var held []int32
	release = func() (err error) {
		for _, id := range held {
			err = errors.Join(err, e.Resume(id))
		}
		held = nil
		return err
	}
	for _, id := range p.Replicas {
		if id == p.Leader {
			continue
		}
		if err := e.Pause(id); err != nil {
			return nil, errors.Join(err, release())
		}
		held = append(held, id)
	}
	return release, nil
}

// kill kills the leader without warning.
func (f *failoverRun) kill(ctx context.Context, id int32) error {
	f.killed = f.now()
	if err := f.e.KillHard(ctx, id); err != nil {
		return err
	}
	f.down, f.dead = true, !f.e.Alive(ctx, id)
	f.b.Mark(string(f.of), fmt.Sprintf("broker %d killed", id))
	return nil
}

// recovery waits until records are acknowledged again and the killed broker is back
// and in sync.
func (f *failoverRun) recovery(ctx context.Context, show func(string)) error {
	if f.of == AcksEvery && f.down {
		if err := f.degradedTime(ctx, show); err != nil {
			return err
		}
	}
	f.mu.Lock()
	enough := len(f.acked) + int(f.s.Rate*f.s.After.Seconds())
	f.mu.Unlock()
	if f.of == AcksEvery && f.down { // only then it can
		if err := f.revive(ctx); err != nil {
			return err
		}
	}
	show("waiting for acknowledgements")
	if ok, err := f.until(ctx, func() bool { return len(f.acked) >= enough }); err != nil || !ok {
		return err
	}
	if f.down {
		if err := f.revive(ctx); err != nil {
			return err
		}
	}
	show("waiting for all replicas to be in sync")
	ok, err := f.poll(ctx, func(leader int32, isr int) bool { return leader >= 0 && isr == 3 })
	f.back, f.finished = f.now(), ok
	return err
}

// revive starts the killed broker again.
func (f *failoverRun) revive(ctx context.Context) error {
	f.restarting = f.now()
	if err := f.e.Restart(ctx, f.leader); err != nil {
		return err
	}
	f.down = false
	f.b.Mark(string(f.of), fmt.Sprintf("broker %d is back", f.leader))
	return nil
}

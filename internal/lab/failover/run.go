package failover

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
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/record"
)

const (
	// notEnoughReplicas is how the probe spells that answer.
	notEnoughReplicas = "NOT_ENOUGH_REPLICAS"
	// degradedFor is how long the lab watches that no record is acknowledged.
	degradedFor = time.Second
	// probeValue is what the probe writes where it may.
	probeValue = "probe"
)

// run is a case while it runs.
type run struct {
	*seen
	s     *Lab
	e     *kit.Engine
	topic string
	kafka kafka.Config
	admin *kadm.Client
	begin time.Time
	b     *lab.Bench
	show  func(string)
	down  bool // the leader is killed and not yet started again

	mu    sync.Mutex // guards acked, sent and consumed of seen
	wg    sync.WaitGroup
	stops []func()
}

// observe runs one case.
func (s *Lab) observe(ctx context.Context, b *lab.Bench, e *kit.Engine, c Case, index int, show func(string)) (_ *seen, err error) {
	f := &run{s: s, e: e, topic: fmt.Sprintf("lab-failover-%d", index), begin: time.Now(), b: b, show: show, kafka: kit.Kafka(b, e),
		seen: &seen{of: c, real: e.Real(), acked: make(map[int64]float64), consumed: make(map[int64]float64)}}
	cl, err := f.kafka.NewClient(kgo.MetadataMinAge(50 * time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	f.admin = kadm.NewClient(cl)
	defer f.stop()
	b.Begin(string(c), f.begin)
	// Nothing may be left of a case that was cut short, or the next one finds two brokers
	// only, one of which is held.
	defer func() {
		if f.down {
			err = errors.Join(err, f.revive(context.WithoutCancel(ctx)))
		}
	}()
	for _, step := range []struct {
		text string
		do   func(context.Context) error
	}{
		{"creating a topic", f.open},
		{"writing and reading", f.load},
		{"", f.fault},
		{"", f.recovery},
		{"", func(ctx context.Context) error { f.stop(); return f.sabotage(ctx, cl) }},
		{"reading the topic back", func(ctx context.Context) error { return f.readBack(ctx, cl) }},
	} {
		if step.text != "" {
			show(step.text)
		}
		if err := step.do(ctx); err != nil {
			return nil, err
		}
	}
	return f.seen, ctx.Err()
}

// now is the time in seconds since the case began.
func (f *run) now() float64 { return time.Since(f.begin).Seconds() }

// open makes the topic: one partition, so that only one broker matters.
func (f *run) open(ctx context.Context) error {
	least := map[Case]string{AcksAll: "2", AcksEvery: "3"}[f.of]
	if least == "" {
		least = "1"
	}
	if _, err := f.admin.CreateTopic(ctx, 1, 3, map[string]*string{"min.insync.replicas": &least}, f.topic); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	ok, err := f.inSync(ctx)
	if err == nil && !ok {
		err = errors.New("the replicas of the new topic were not in sync within a minute")
	}
	return err
}

// inSync waits until all replicas are in sync.
func (f *run) inSync(ctx context.Context) (bool, error) {
	return f.poll(ctx, func(leader int32, isr int) bool { return leader >= 0 && isr == 3 })
}

// poll asks for the partition's leader and the number of its in-sync replicas until ok
// returns true; false when patience is over.
func (f *run) poll(ctx context.Context, ok func(leader int32, isr int) bool) (bool, error) {
	return kit.Until(ctx, func() bool {
		p, err := f.partition(ctx)
		return err == nil && ok(p.Leader, len(p.ISR))
	})
}

func (f *run) partition(ctx context.Context) (kadm.PartitionDetail, error) {
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

// load starts a producer at the case's rate and a consumer, and returns when enough is
// consumed. Consumed, not only acknowledged: then every in-sync replica has it.
func (f *run) load(ctx context.Context) error {
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
	going, stop := context.WithCancel(ctx)
	f.stops = append(f.stops, stop)
	f.wg.Go(func() {
		load := kit.Load{Client: producer, Rate: f.s.Rate, Drop: true, Sent: f.sending, Acked: f.settled,
			Record: func(n int64) *kgo.Record { return &kgo.Record{Value: strconv.AppendInt(nil, n, 10)} }}
		_ = load.Run(going) // what is not acknowledged by then never is
	})
	f.wg.Go(func() { f.consume(going, consumer) })
	f.wg.Go(func() { f.tell(going) })
	_, err = f.until(ctx, func() bool { return len(f.consumed) >= int(f.s.Rate*f.s.Before.Seconds()) })
	return err
}

func (f *run) sending(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = n
}

func (f *run) settled(n int64, _ *kgo.Record, err error) {
	at := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.acked[n] = at
	}
}

// consume notes when each record was first received.
func (f *run) consume(ctx context.Context, cl *kgo.Client) {
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
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
}

// tell shows how many records a second are acknowledged and consumed, until ctx ends.
func (f *run) tell(ctx context.Context) {
	var acked, consumed int
	for last := time.Now(); kit.Wait(ctx, kit.TellEvery) == nil; {
		f.mu.Lock()
		a, c := len(f.acked), len(f.consumed)
		f.mu.Unlock()
		took := time.Since(last).Seconds()
		last = time.Now()
		f.b.Points(string(f.of), record.Point{Panel: ackedPanel, Y: float64(a-acked) / took}, record.Point{Panel: consumedPanel, Y: float64(c-consumed) / took})
		acked, consumed = a, c
	}
}

// stop ends producer and consumer. It may be called twice.
func (f *run) stop() {
	for _, stop := range f.stops {
		stop()
	}
	f.wg.Wait()
}

// until waits until ok, which is asked with the lock held; false when patience is over.
func (f *run) until(ctx context.Context, ok func() bool) (bool, error) {
	return kit.Until(ctx, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok()
	})
}

// fault pauses the followers where that is possible, kills the leader, and waits for
// another one.
func (f *run) fault(ctx context.Context) error {
	if f.s.Break == breakIdle {
		return nil
	}
	p, err := f.partition(ctx)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	f.leader, f.successor = p.Leader, p.Leader
	f.held = f.now()
	if f.real {
		f.show(fmt.Sprintf("pausing the followers of broker %d", p.Leader))
		f.b.Mark(string(f.of), fmt.Sprintf("followers of broker %d paused", p.Leader))
		resume, err := pauseFollowers(f.e, p)
		if err != nil {
			return err
		}
		if err = kit.Wait(ctx, f.s.Hold); err == nil {
			err = f.kill(ctx, p.Leader)
		}
		if err := errors.Join(err, resume()); err != nil {
			return err
		}
	} else if err := f.kill(ctx, p.Leader); err != nil {
		return err
	}
	f.show(fmt.Sprintf("broker %d is killed: waiting for another leader", p.Leader))
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

// pauseFollowers stops the processes of all replicas but the leader, and returns what
// lets them go on.
func pauseFollowers(e *kit.Engine, p kadm.PartitionDetail) (resume func() error, err error) {
	var paused []int32
	resume = func() (err error) {
		for _, id := range paused {
			err = errors.Join(err, e.Resume(id))
		}
		return err
	}
	for _, id := range p.Replicas {
		if id == p.Leader {
			continue
		}
		if err := e.Pause(id); err != nil {
			return nil, errors.Join(err, resume())
		}
		paused = append(paused, id)
	}
	return resume, nil
}

// kill kills the leader without warning.
func (f *run) kill(ctx context.Context, id int32) error {
	f.killed = f.now()
	if err := f.e.KillHard(ctx, id); err != nil {
		return err
	}
	f.down, f.dead = true, !f.e.Alive(ctx, id)
	f.b.Mark(string(f.of), fmt.Sprintf("broker %d killed", id))
	return nil
}

// recovery waits until records are acknowledged again and the killed broker is back
// and in sync. Where every replica is required, nothing is acknowledged before it is back.
func (f *run) recovery(ctx context.Context) error {
	every := f.of == AcksEvery && f.down
	if every {
		if err := f.degradedTime(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	enough := len(f.acked) + int(f.s.Rate*f.s.After.Seconds())
	f.mu.Unlock()
	if every {
		if err := f.revive(ctx); err != nil {
			return err
		}
	}
	f.show("waiting for acknowledgements")
	if ok, err := f.until(ctx, func() bool { return len(f.acked) >= enough }); err != nil || !ok {
		return err
	}
	if f.down {
		if err := f.revive(ctx); err != nil {
			return err
		}
	}
	f.show("waiting for all replicas to be in sync")
	ok, err := f.inSync(ctx)
	f.back, f.finished = f.now(), ok
	return err
}

// revive starts the killed broker again.
func (f *run) revive(ctx context.Context) error {
	f.restarting = f.now()
	if err := f.e.Restart(ctx, f.leader); err != nil {
		return err
	}
	f.down = false
	f.b.Mark(string(f.of), fmt.Sprintf("broker %d is back", f.leader))
	return nil
}

// degradedTime waits until a required replica has left the in-sync replicas, and asks
// with a producer that does not try again.
func (f *run) degradedTime(ctx context.Context) error {
	f.show("waiting for the killed replica to leave the in-sync replicas")
	ok, err := f.poll(ctx, func(leader int32, isr int) bool { return leader >= 0 && isr < 3 })
	if err != nil || !ok {
		return err
	}
	// Both times are noted before the first moment and after the last one that count.
	f.degraded = f.now()
	f.show("watching: every replica is required, and one is missing")
	f.probe = f.ask(ctx)
	return kit.Wait(ctx, degradedFor)
}

// ask writes one record without trying again, and returns the answer's name.
func (f *run) ask(ctx context.Context) string {
	cl, err := f.kafka.NewClient(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.ProducerLinger(0))
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, kit.Patience)
	defer cancel()
	err = cl.ProduceSync(ctx, &kgo.Record{Topic: f.topic, Value: []byte(probeValue)}).FirstErr()
	if err == nil {
		return "accepted"
	}
	return kit.ErrorName(err)
}

// sabotage breaks what --break asked for.
func (f *run) sabotage(ctx context.Context, cl *kgo.Client) error {
	var err error
	switch f.s.Break {
	case breakTrim:
		offsets := kadm.Offsets{}
		offsets.AddOffset(f.topic, 0, 10, -1)
		_, err = f.admin.DeleteRecords(ctx, offsets)
	case breakTwice:
		for n := range int64(3) {
			err = errors.Join(err, cl.ProduceSync(ctx, &kgo.Record{Topic: f.topic, Value: strconv.AppendInt(nil, n, 10)}).FirstErr())
		}
	}
	if err != nil {
		return fmt.Errorf("break: %w", err)
	}
	return nil
}

// readBack reads the whole topic.
func (f *run) readBack(ctx context.Context, cl *kgo.Client) error {
	return kit.ReadBack(ctx, f.kafka, cl, func(r *kgo.Record) {
		if string(r.Value) != probeValue {
			f.stored = append(f.stored, number(r.Value))
		}
	}, f.topic)
}

// number is a record's, or -1 where it has none: then the lab did not write it.
func number(value []byte) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

package failover

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

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
	s     *Settings
	e     *kit.Engine
	b     *lab.Bench
	topic string
	begin time.Time
	show  func(string)
	down  bool // the leader is killed and not yet started again

	mu sync.Mutex // guards acked, sent and consumed of seen
}

// observe runs one case.
func (s *Settings) observe(ctx context.Context, b *lab.Bench, e *kit.Engine, c Case, index int, show func(string)) (*seen, error) {
	f := &run{s: s, e: e, b: b, topic: fmt.Sprintf("lab-failover-%d", index), begin: time.Now(), show: show,
		seen: &seen{of: c, real: e.Real(), acked: make(map[int64]float64), consumed: make(map[int64]float64)}}
	b.Begin(c.title(), f.begin)
	for _, step := range []func(context.Context) error{f.open, f.load, f.sabotage, f.readBack} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return f.seen, ctx.Err()
}

// now is the time in seconds since the case began.
func (f *run) now() float64 { return time.Since(f.begin).Seconds() }

func (f *run) mark(format string, args ...any) {
	f.b.Mark(f.of.title(), fmt.Sprintf(format, args...))
}

// open makes the topic: one partition, so that only one broker matters.
func (f *run) open(ctx context.Context) error {
	f.show("creating a topic")
	least := details[f.of].least
	if _, err := f.e.Admin.CreateTopic(ctx, 1, 3, map[string]*string{"min.insync.replicas": &least}, f.topic); err != nil {
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
	topics, err := f.e.Admin.ListTopics(ctx, f.topic)
	if err != nil {
		return kadm.PartitionDetail{}, err
	}
	p, ok := topics[f.topic].Partitions[0]
	if !ok {
		return p, kerr.UnknownTopicOrPartition
	}
	return p, p.Err
}

// producer opens the producer of the case.
func (f *run) producer() (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(f.topic), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1 << 20),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.ProduceRequestTimeout(5 * time.Second), kgo.RequiredAcks(details[f.of].acks)}
	if f.of == AcksNone || f.of == AcksLeader {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	return f.e.Kafka.NewClient(opts...)
}

// load writes at the case's rate and reads, and meanwhile kills the leader and waits for
// recovery. It begins with that when enough is consumed. Consumed, not only acknowledged:
// then every in-sync replica has it.
func (f *run) load(ctx context.Context) (err error) {
	f.show("writing and reading")
	consumer := f.e.Kafka
	consumer.Opts = []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond)}
	stopConsumer, err := kit.Tail(ctx, consumer, f.received, f.topic)
	if err != nil {
		return err
	}
	defer stopConsumer()
	producer, err := f.producer()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	going, stop := context.WithCancel(ctx)
	defer stop()
	// A case that was cut short leaves all brokers running: the next one needs three, and
	// the producer's last records may need every replica.
	defer func() { err = errors.Join(err, f.revive(context.WithoutCancel(ctx))) }()
	wg.Go(func() {
		load := kit.Load{Client: producer, Rate: f.s.Rate, Drop: true, Sent: f.sending, Acked: f.settled,
			Record: func(n int64) *kgo.Record { return &kgo.Record{Value: strconv.AppendInt(nil, n, 10)} }}
		_ = load.Run(going) // what is not acknowledged by then never is
	})
	wg.Go(func() { f.report(going) })
	if _, err := f.until(ctx, func() bool { return len(f.consumed) >= int(f.s.Rate*f.s.Before.Seconds()) }); err != nil {
		return err
	}
	if err := f.fault(ctx); err != nil {
		return err
	}
	return f.recovery(ctx)
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

// received notes when each record was first received.
func (f *run) received(now time.Time, r *kgo.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := number(r.Value)
	if _, again := f.consumed[n]; n >= 0 && !again {
		f.consumed[n] = now.Sub(f.begin).Seconds()
	}
}

// report shows how many records a second are acknowledged and consumed, until ctx ends.
func (f *run) report(ctx context.Context) {
	var acked, consumed int
	for last := time.Now(); kit.Wait(ctx, kit.TellEvery) == nil; {
		f.mu.Lock()
		a, c := len(f.acked), len(f.consumed)
		f.mu.Unlock()
		took := time.Since(last).Seconds()
		last = time.Now()
		f.b.Points(f.of.title(), record.Point{Panel: ackedPanel, Y: float64(a-acked) / took}, record.Point{Panel: consumedPanel, Y: float64(c-consumed) / took})
		acked, consumed = a, c
	}
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
	if f.s.Break == kit.BreakIdle {
		return nil
	}
	p, err := f.partition(ctx)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	f.leader, f.successor, f.held = p.Leader, p.Leader, f.now()
	if f.real {
		err = f.cutOff(ctx, p.Replicas)
	} else {
		err = f.kill(ctx)
	}
	if err != nil {
		return err
	}
	f.show(fmt.Sprintf("broker %d is killed: waiting for another leader", f.leader))
	_, err = f.poll(ctx, func(leader int32, _ int) bool {
		if leader < 0 || leader == f.leader {
			return false
		}
		f.moved, f.successor = f.now(), leader
		f.mark("broker %d leads", leader)
		return true
	})
	return err
}

// cutOff pauses the processes of all replicas but the leader, kills it, and lets them go on.
func (f *run) cutOff(ctx context.Context, replicas []int32) (err error) {
	f.show(fmt.Sprintf("pausing the followers of broker %d", f.leader))
	f.mark("followers of broker %d paused", f.leader)
	for _, id := range replicas {
		if id == f.leader {
			continue
		}
		if err := f.e.Pause(id); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.e.Resume(id)) }()
	}
	if err := kit.Wait(ctx, f.s.Hold); err != nil {
		return err
	}
	return f.kill(ctx)
}

// kill kills the leader without warning.
func (f *run) kill(ctx context.Context) error {
	f.killed = f.now()
	if err := f.e.KillHard(ctx, f.leader); err != nil {
		return err
	}
	f.down, f.dead = true, !f.e.Alive(ctx, f.leader)
	f.mark("broker %d killed", f.leader)
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
	if err := f.revive(ctx); err != nil {
		return err
	}
	f.show("waiting for all replicas to be in sync")
	ok, err := f.inSync(ctx)
	f.back, f.finished = f.now(), ok
	if err != nil {
		return err
	}
	f.show("waiting for the consumer to go on") // it may take longer than all the rest
	_, err = f.until(ctx, func() bool { return between(f.consumed, f.moved, math.Inf(1)) > 0 })
	return err
}

// revive starts the killed broker again, where it is down.
func (f *run) revive(ctx context.Context) error {
	if !f.down {
		return nil
	}
	f.restarting = f.now()
	if err := f.e.Restart(ctx, f.leader); err != nil {
		return err
	}
	f.down = false
	f.mark("broker %d is back", f.leader)
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
	cl, err := f.e.Kafka.NewClient(kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.ProducerLinger(0))
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, kit.Patience)
	defer cancel()
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: f.topic, Value: []byte(probeValue)}).FirstErr(); err != nil {
		return kit.ErrorName(err)
	}
	return "accepted"
}

// sabotage breaks what --break asked for.
func (f *run) sabotage(ctx context.Context) (err error) {
	switch f.s.Break {
	case breakTrim:
		offsets := kadm.Offsets{}
		offsets.AddOffset(f.topic, 0, 10, -1)
		_, err = f.e.Admin.DeleteRecords(ctx, offsets)
	case breakTwice:
		for n := range int64(3) {
			err = errors.Join(err, f.e.Client.ProduceSync(ctx, &kgo.Record{Topic: f.topic, Value: strconv.AppendInt(nil, n, 10)}).FirstErr())
		}
	}
	if err != nil {
		return fmt.Errorf("break: %w", err)
	}
	return nil
}

// readBack reads the whole topic.
func (f *run) readBack(ctx context.Context) error {
	f.show("reading the topic back")
	return kit.ReadBack(ctx, f.e.Kafka, f.e.Client, func(r *kgo.Record) {
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

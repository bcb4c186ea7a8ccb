package judge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The load of the exercise keep-up.
const (
	keepUpRate    = 1000 // events per second
	keepUpHalf    = 4000 // events before the burst, and after it
	keepUpBurst   = 1500
	keepUpAuthors = 300
	// keepUpDeadline is how long after the last event all must be done.
	keepUpDeadline = 5 * time.Second
	// keepUpCommits is how long the last commit may take: clients commit every 5 s by themselves.
	keepUpCommits = 12 * time.Second
	// The flood: events of one author, which can only be done one after the other.
	floodEvents = 6000
	floodBytes  = 32 << 10
	floodTime   = 6 * time.Second // to read it all
	// strained is how late timers are, on average, on a machine that is too busy to judge speed.
	strained = 8 * time.Millisecond
)

// keepUp gives a program more work than one worker can do.
func keepUp(ctx context.Context, b *Bench) error {
	w := &worked{}
	for n := range 1 + 2*keepUpHalf + keepUpBurst {
		e := makeEvent(n, keepUpAuthor(n), operationOf(n), time.Now().UnixMicro(), noise(uint64(n), 120))
		w.input = append(w.input, e.record(b.Topic))
	}
	w.sent = make([]time.Time, len(w.input))
	program, results, err := b.begin(ctx)
	if err != nil {
		return err
	}
	if err := b.firstResult(ctx, w, results); err != nil {
		return err
	}
	busy, err := b.load(ctx, w, results)
	if err != nil {
		return err
	}
	w.output = results.all()
	w.late = max(0, int64(len(w.input)-len(w.output)))
	b.Check(w.late == 0, "The program keeps up with 1,000 events per second and a burst",
		"all done 5 s after the last event", many(w.late, "event")+" not done")
	if w.late > 0 && w.late < int64(len(w.input))*3/10 && busy > strained {
		return &Unclear{Hint: "end other programs and check again",
			Reason: fmt.Sprintf("the program was too slow by %s, but so is this machine: timers are %v late",
				many(w.late, "event"), busy.Round(time.Millisecond))}
	}
	if w.late == 0 {
		if _, err := b.Until(ctx, keepUpCommits, func(s *Sample) bool { return b.poll(ctx, w, s) && s.Lag(b.Truth) == 0 }); err != nil {
			return err
		}
	}
	f := w.find()
	if w.late == 0 {
		b.Check(f == nil, "Each event has one result, in order per key, before its offset is committed", "it is so", gotOf(f))
	}
	if f != nil {
		return f
	}
	if err := b.flood(ctx, w); err != nil {
		return err
	}
	program.Stop()
	if f := w.find(); f != nil {
		return f
	}
	b.Pass("%d events were done at 1,000 per second, with a burst of %d, in order per key", len(w.input), keepUpBurst)
	return nil
}

// keepUpAuthor is the author of an event. Every fourth event follows one of the same author: a
// program that works on them at the same time soon has the later result first.
func keepUpAuthor(n int) int {
	if n%4 == 3 {
		n--
	}
	return n * 7919 % keepUpAuthors
}

// gotOf is what a check shows of a finding.
func gotOf(f *Finding) string {
	if f != nil {
		return f.Headline
	}
	return "it is so"
}

// firstResult writes the first event and waits for its result: a program needs time to start.
func (b *Bench) firstResult(ctx context.Context, w *worked, results *tail) error {
	w.sent[0], w.input[0].Timestamp = time.Now(), time.Now()
	if err := b.put(ctx, w.input[:1]); err != nil {
		return err
	}
	joined := false
	ok, err := b.Until(ctx, startTime, func(s *Sample) bool {
		joined = joined || s.Group != ""
		return results.len() > 0
	})
	if err != nil || ok {
		return err
	}
	return b.noResult(joined)
}

// noResult explains that the first event has no result. joined says whether the program was in a group.
func (b *Bench) noResult(joined bool) error {
	if !joined {
		return b.unlessElsewhere(fmt.Sprintf("the program did not join a group of the private cluster within %v", startTime), &Finding{
			Headline: fmt.Sprintf("the program joined no consumer group within %v", startTime),
			Why:      "A program without a group has no committed offset, and Kafka gives it no partitions.",
			Hint:     "Take KAFKA_BROKER, TOPIC and GROUP from the environment, and subscribe to the topic.",
		})
	}
	return &Finding{
		Headline: fmt.Sprintf("the first event had no result after %v", startTime),
		Why:      "The program joined a group, but it does not read the first event of TOPIC, or does not write its result to OUTPUT_TOPIC.",
		Hint: "A group without committed offsets has to begin at the start of the topic (earliest). Take the name of the output from " +
			"OUTPUT_TOPIC. Write a result at once, not only in large batches.",
	}
}

// load writes the events, and waits until they are done or the deadline is over. It returns how
// late timers were on this machine.
func (b *Bench) load(ctx context.Context, w *worked, results *tail) (busy time.Duration, err error) {
	b.Mark("load", "1,000 events per second for %d s", 2*keepUpHalf/keepUpRate)
	strain := measureStrain(ctx)
	written := make(chan error, 1)
	go func() { written <- b.pourWork(ctx, w) }()
	var ended time.Time
	var failed error // weir's own write
	_, err = b.Until(ctx, time.Minute, func(s *Sample) bool {
		b.poll(ctx, w, s)
		b.Point("done", "events", float64(results.len()))
		if ended.IsZero() {
			select {
			case failed = <-written:
				ended = time.Now()
				b.Mark("written", "the last event is written")
			default:
			}
			return failed != nil
		}
		return results.len() >= len(w.input) || time.Since(ended) > keepUpDeadline
	})
	if ended.IsZero() {
		failed = <-written
	}
	return strain(), cmp.Or(err, failed)
}

// pourWork writes all events but the first: half of them, a burst, the other half.
func (b *Bench) pourWork(ctx context.Context, w *worked) error {
	write := func(from, to int, rate float64) error {
		return paced(ctx, pourTick, rate, to-from, func(f, t int) error {
			now := time.Now()
			for i := from + f; i < from+t; i++ {
				w.sent[i], w.input[i].Timestamp = now, now
			}
			return b.put(ctx, w.input[from+f:from+t])
		})
	}
	if err := write(1, 1+keepUpHalf, keepUpRate); err != nil {
		return err
	}
	b.Mark("burst", "%d events at once", keepUpBurst)
	if err := write(1+keepUpHalf, 1+keepUpHalf+keepUpBurst, 1e6); err != nil {
		return err
	}
	return write(1+keepUpHalf+keepUpBurst, len(w.input), keepUpRate)
}

// poll notes committed offsets that are new, and then the ends of the output.
func (b *Bench) poll(ctx context.Context, w *worked, s *Sample) bool {
	if n := len(w.polls); n > 0 && maps.Equal(w.polls[n-1].committed, s.Committed) {
		return true
	}
	ends, err := b.Admin.ListEndOffsets(ctx, b.Output)
	if err != nil {
		return false // the next sample asks again
	}
	p := offsets{committed: s.Committed, ends: map[int32]int64{}}
	for partition, end := range ends[b.Output] {
		if end.Err != nil {
			return false
		}
		p.ends[partition] = end.Offset
	}
	w.polls = append(w.polls, p)
	return true
}

// flood writes large events of one author, and looks how far the memory of the program grows.
func (b *Bench) flood(ctx context.Context, w *worked) error {
	before, err := b.Look(ctx)
	if err != nil {
		return err
	}
	if before.Memory == 0 {
		b.Mark("flood", "the memory of a program cannot be measured on this system")
		return nil
	}
	b.Mark("flood", "%d MiB of events of one author arrive", floodEvents*floodBytes>>20)
	written := make(chan error, 1)
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	go func() { written <- b.pourFlood(flooding) }()
	var ended time.Time
	var failed error // weir's own write
	_, err = b.Until(ctx, time.Minute, func(s *Sample) bool {
		w.grown = max(w.grown, s.Memory-before.Memory)
		if ended.IsZero() {
			select {
			case failed = <-written:
				ended = time.Now()
			default:
			}
		}
		return failed != nil || w.grown > keepUpMemory || !ended.IsZero() && time.Since(ended) > floodTime
	})
	if ended.IsZero() {
		stop()
		<-written //nolint:errcheck // it was stopped
	}
	b.Check(w.grown <= keepUpMemory, "The memory of the program is bounded",
		fmt.Sprintf("grows by at most %d MiB", keepUpMemory>>20), fmt.Sprintf("grew by %d MiB", w.grown>>20))
	return cmp.Or(err, failed)
}

// pourFlood writes the flood in pieces.
func (b *Bench) pourFlood(ctx context.Context) error {
	const piece = 50
	for n := 0; n < floodEvents; n += piece {
		var records []*kgo.Record
		for i := n; i < n+piece; i++ {
			records = append(records, makeEvent(1_000_000+i, 9999, "create", time.Now().UnixMicro(), noise(uint64(i), floodBytes)).record(b.Topic))
		}
		if err := b.put(ctx, records); err != nil {
			return err
		}
	}
	return nil
}

// measureStrain measures how late timers of 10 ms are, on average.
func measureStrain(ctx context.Context) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan time.Duration, 1)
	go func() {
		var late time.Duration
		n := time.Duration(0)
		for ; ctx.Err() == nil; n++ {
			begun := time.Now()
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
				late += time.Since(begun) - 10*time.Millisecond
			}
		}
		result <- late / max(n, 1)
	}()
	return func() time.Duration {
		cancel()
		return <-result
	}
}

package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The stream of the exercise poison: every poisonEvery-th record is bad, also the last one.
const (
	poisonEvents = 1330
	poisonEvery  = 70
	poisonFirst  = 60  // good events that are in the topic before the program starts
	poisonRate   = 400 // per second
)

// poison gives a counter bad records among good ones.
func poison(ctx context.Context, b *Bench) error {
	p := &poisoned{want: Counts{}, early: Counts{}}
	var records []*kgo.Record
	for n := range poisonEvents {
		e := makeEvent(n, n%150, operationOf(n), time.Now().UnixMicro(), noise(uint64(n), 80))
		if n%poisonEvery == poisonEvery-1 {
			bad := badValues[n/poisonEvery%len(badValues)]
			e.key, e.value = authorName(10_000+n), bad.make(string(e.value))
			records = append(records, e.record(b.Topic))
			p.bad = append(p.bad, badRecord{records[n], bad.what})
			continue
		}
		p.want[e.operation]++
		if n < poisonFirst {
			p.early[e.operation]++
		}
		records = append(records, e.record(b.Topic))
	}
	if err := b.put(ctx, records[:poisonFirst]); err != nil {
		return err
	}
	b.Mark("write", "%d good events are written", poisonFirst)
	program, dead, err := b.begin(ctx)
	if err != nil {
		return err
	}
	if err := b.firstSign(ctx); err != nil {
		return err
	}
	b.Mark("write", "%d more good events and %d bad records are written", p.want.Sum()-poisonFirst, len(p.bad))
	if err := b.pour(ctx, poisonRate, records[poisonFirst:]); err != nil {
		return err
	}
	done := func(s *Sample) bool {
		return s.Counts.Equal(p.want) && dead.len() >= len(p.bad) && s.Lag(b.Truth) == 0
	}
	last, err := b.Settle(ctx, 2*time.Minute, done)
	if f, ok := errors.AsType[*Finding](err); ok && program.Over() {
		p.ended = strings.TrimPrefix(f.Headline, "the program ")
	} else if err != nil {
		return err
	} else if last.Lag(b.Truth) > 0 && !done(last) && dead.len() < len(p.bad) {
		p.stuck = fmt.Sprintf("makes no progress: it did nothing for %.0f s", quietTime.Seconds())
	}
	program.Stop()
	return b.poisoned(ctx, p)
}

// poisoned judges what a stopped program has left.
func (b *Bench) poisoned(ctx context.Context, p *poisoned) (err error) {
	last, err := b.Look(ctx)
	if err != nil {
		return err
	}
	p.got, p.committed, p.ends = last.Counts, last.Committed, b.Truth.Ends()
	if p.output, err = b.readAll(ctx, b.Output); err != nil {
		return err
	}
	if p.keys, err = b.otherKeys(ctx); err != nil {
		return err
	}
	b.Check(p.ended == "" && p.stuck == "", "The program goes on after bad records",
		"it handles all of them", cmp.Or(p.ended+p.stuck, "it does"))
	dead, reasons := int64(len(p.output)), p.reasons()
	b.Check(dead == int64(len(p.bad)), "Bad records are in OUTPUT_TOPIC",
		many(int64(len(p.bad)), "record"), many(dead, "record"))
	if dead > 0 {
		b.Check(reasons == dead, "Each record there has a header reason", many(dead, "record"), many(reasons, "record"))
	}
	b.Check(p.got.Equal(p.want), "Good events are counted", p.want.String(), p.got.String())
	lag := last.Lag(b.Truth)
	b.Check(lag == 0, "Offsets are committed to the end", "lag 0", fmt.Sprintf("lag %d", lag))
	if f := p.find(); f != nil {
		return f
	}
	b.Pass("the program counted %d good events and put %d bad records into the dead-letter topic", p.want.Sum(), len(p.bad))
	return nil
}

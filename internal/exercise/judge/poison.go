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

// The stream of the exercise poison: every poisonEvery-th record is bad.
const (
	poisonEvents = 1300
	poisonEvery  = 70
	poisonRate   = 400 // per second
)

// poison gives a counter bad records among good ones.
func poison(ctx context.Context, b *Bench) error {
	p := &poisoned{want: Counts{}}
	var records []*kgo.Record
	var kinds []string
	for n := range poisonEvents {
		e := makeEvent(n, n%150, operationOf(n), time.Now().UnixMicro(), noise(uint64(n), 80))
		kind := e.operation
		if n%poisonEvery == poisonEvery-1 {
			bad := badValues[n/poisonEvery%len(badValues)]
			e.key, e.value = authorName(10_000+n), bad.make(string(e.value))
			kind = "(bad)"
			r := e.record(b.Topic)
			p.bad = append(p.bad, badRecord{r, bad.what})
			records = append(records, r)
		} else {
			p.want[kind]++
			records = append(records, e.record(b.Topic))
		}
		kinds = append(kinds, kind)
	}
	program, err := b.Start(nil)
	if err != nil {
		return err
	}
	dead, err := b.follow(ctx, b.Output)
	if err != nil {
		return err
	}
	defer dead.stop()
	b.Mark("write", "%d good events and %d bad records are written", p.want.Sum(), len(p.bad))
	if err := b.pour(ctx, poisonRate, records, func(i int) string { return kinds[i] }, nil); err != nil {
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
	b.Check(p.ended == "" && p.stuck == "", "The program goes on after bad records", "it handles all of them", cmp.Or(p.ended+p.stuck, "it does"))
	b.Check(len(p.output) == len(p.bad), "Bad records are in OUTPUT_TOPIC, with the reason", many(int64(len(p.bad)), "record"), many(int64(len(p.output)), "record"))
	b.Check(p.got.Equal(p.want), "Good events are counted", p.want.String(), p.got.String())
	b.Check(last.Lag(b.Truth) == 0, "Offsets are committed to the end", "lag 0", fmt.Sprintf("lag %d", last.Lag(b.Truth)))
	if f := p.find(); f != nil {
		return f
	}
	b.Pass("the program counted %d good events and put %d bad records into the dead-letter topic", p.want.Sum(), len(p.bad))
	return nil
}

package judge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// The stream of the exercise window: two minutes of event time in a few seconds.
const (
	windowEvents = 4000
	windowSpan   = 120 * time.Second
	windowRate   = 500 // per second
	windowEarly  = 400 // events that are in the topic before the program starts
	// windowQuiet is how long the program may write nothing new before it is judged.
	windowQuiet = 8 * time.Second
)

// window gives a program events out of order, some of them late, and reads its windows.
func window(ctx context.Context, b *Bench) error {
	w := &windowed{events: windowStream(time.Now()), early: windowEarly}
	for _, e := range w.events {
		w.input = append(w.input, e.record(b.Topic))
	}
	if err := b.put(ctx, w.input[:windowEarly]); err != nil {
		return err
	}
	b.Mark("write", "%d events are written", windowEarly)
	program, results, err := b.begin(ctx)
	if err != nil {
		return err
	}
	b.Mark("write", "%d more events are written, in the order of their arrival: all are of two minutes", windowEvents-windowEarly)
	if err := b.pour(ctx, windowRate, w.input[windowEarly:]); err != nil {
		return err
	}
	b.Mark("written", "the last event is written; the latest ones happened a minute before")
	if err := b.windows(ctx, w, results); err != nil {
		return err
	}
	w.silent = results.len() == 0
	program.Stop()
	if w.output, err = b.readAll(ctx, b.Output); err != nil {
		return err
	}
	right, of := w.right()
	b.Check(right == of, "The last result of each window has all its events, late ones included",
		many(int64(of), "window"), fmt.Sprintf("%d are right", right))
	written := "they are"
	if w.silent {
		written = "none is"
	}
	b.Check(!w.silent, "Windows are written before SIGTERM asks the program to end", "they are", written)
	f := w.find()
	switch {
	case f != nil && len(w.output) == 0:
		return b.nothingWritten(ctx, f)
	case f != nil:
		return f
	}
	b.Pass("all %d windows are right, although events arrived up to a minute late", of)
	return nil
}

// windows waits until all windows are right, or the program writes nothing new.
func (b *Bench) windows(ctx context.Context, w *windowed, results *tail) error {
	changed, seen, looked := time.Now(), -1, time.Time{}
	_, err := b.Until(ctx, 2*time.Minute, func(s *Sample) bool {
		if s.At.Sub(looked) < 300*time.Millisecond {
			return false
		}
		looked = s.At
		if n := results.len(); n != seen {
			changed, seen = s.At, n
		}
		w.output = results.plain()
		right, of := w.right()
		b.Point("right", "windows", float64(right))
		limit := windowQuiet
		if seen == 0 { // it may be starting
			limit = startTime
		}
		return right == of || s.At.Sub(changed) > limit
	})
	return err
}

// windowStream makes events that happened in the last minutes before now, in the order in which
// they arrive: most within two seconds, some within fifteen, and one in twenty up to a minute late.
func windowStream(now time.Time) []made {
	begin := now.Add(-windowSpan-windowBefore*time.Second).Unix() / windowSeconds * windowSeconds * 1e6
	type delivery struct {
		made
		arrives int64
	}
	var all []delivery
	for n := range windowEvents {
		at := begin + int64(n)*windowSpan.Microseconds()/windowEvents
		delay := int64(n) * 7919 % 2_000_000
		switch {
		case n%20 == 13:
			delay += 30_000_000 + int64(n)*104_729%28_000_000
		case n%7 == 3:
			delay += int64(n) * 15_485_863 % 13_000_000
		}
		all = append(all, delivery{makeEvent(n, n*31%400, operationOf(n), at, noise(uint64(n), 60)), at + delay})
	}
	slices.SortStableFunc(all, func(x, y delivery) int { return cmp.Compare(x.arrives, y.arrives) })
	out := make([]made, 0, len(all))
	for _, d := range all {
		out = append(out, d.made)
	}
	return out
}

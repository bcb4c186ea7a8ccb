package judge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/visible"
)

const (
	// crashRate is how many events per second are written while the program is killed.
	crashRate = 150
	// caughtTime is how long to wait for a change in Redis that can be stopped.
	caughtTime = 8 * time.Second
	// commitTime is how long a change waits before the program is killed: longer than the
	// interval at which clients commit by themselves, 5 s.
	commitTime = 6 * time.Second
	// progress is how many events must be counted before the next kill.
	progress = 40
	downTime = 2 * time.Second
	// revivals is how often a program is started again that ended because of Redis.
	revivals = 3
)

// crash is one thing that is done to a counter.
type crash struct {
	name string
	do   func(ctx context.Context, c *Copy) (*Copy, *Sample, error)
}

// crashes is the trial of survive, and with exact that of once.
func crashes(ctx context.Context, b *Bench, exact bool) error {
	c, err := b.counting(ctx)
	if err != nil {
		return err
	}
	all := []crash{
		{"the first kill", b.killBefore},
		{"the second kill", b.killAfter},
		{"the third kill", b.killAnywhere},
	}
	if exact {
		all = append(all, crash{"the restart of Redis", b.restartRedis})
	}
	off := Counts{} // how many more events are counted than there are
	for _, x := range all {
		var at *Sample
		if c, at, err = b.during(ctx, x, c); err != nil {
			return err
		}
		s, err := b.Settle(ctx, b.cfg.Limit, func(s *Sample) bool {
			return !s.Counts.Minus(b.Truth.Total()).Minus(off).Some(func(d int64) bool { return d < 0 })
		})
		if err != nil {
			return err
		}
		now := s.Counts.Minus(b.Truth.Total())
		if err := b.afterCrash(x.name, at, s, now.Minus(off), exact); err != nil {
			return err
		}
		off = now
	}
	b.Check(c.Stop(), "the program ends when it is asked to", "within 10 s", c.Exit().String())
	switch total := b.Truth.Total().Sum(); {
	case exact:
		b.Pass("all %d events are counted, each exactly once", total)
	case off.Sum() > 0:
		b.Pass("none of %d events is lost; counted twice, which the exercise once forbids: %d", total, off.Sum())
	default:
		b.Pass("none of %d events is lost", total)
	}
	return nil
}

// during does something to the program while events are written, and waits until it counts again.
// It returns the sample of the moment at which it was done.
func (b *Bench) during(ctx context.Context, x crash, c *Copy) (_ *Copy, at *Sample, err error) {
	stop := b.Feed(ctx, crashRate)
	defer func() {
		if e := stop(); err == nil {
			err = e
		}
	}()
	if err := b.goesOn(ctx, x.name); err != nil {
		return nil, nil, err
	}
	if c, at, err = x.do(ctx, c); err != nil {
		return nil, nil, err
	}
	return c, at, b.goesOn(ctx, x.name)
}

// goesOn waits until more events are counted.
func (b *Bench) goesOn(ctx context.Context, name string) error {
	first, err := b.Look(ctx)
	if err != nil {
		return err
	}
	ok, err := b.Until(ctx, startTime, func(s *Sample) bool { return s.Counts.Sum() >= first.Counts.Sum()+progress })
	if err != nil || ok {
		return err
	}
	return &Finding{
		Headline: fmt.Sprintf("the program counted nothing more around %s, within %v", name, startTime),
		Evidence: []exercise.Evidence{Observed("the last count that changed", b.lastChange())},
		Why:      "Events are written all the time, so a counter that works counts all the time.",
		Hint:     "Look at the output below. A program that waits for a response that never comes needs a timeout.",
	}
}

func (b *Bench) lastChange() time.Time {
	b.watching.Lock()
	defer b.watching.Unlock()
	return b.last.At
}

// killBefore kills the program while a change is on its way to Redis.
func (b *Bench) killBefore(ctx context.Context, c *Copy) (*Copy, *Sample, error) {
	c.MayEnd(true) // while Redis does not answer
	defer b.Proxy.Reset()
	caught, err := b.caught(ctx, b.Proxy.Before())
	if err == nil && caught {
		b.Mark("wait", "a change is on its way to Redis, and waits for %v", commitTime)
		err = b.Pause(ctx, commitTime)
	}
	if err != nil {
		return nil, nil, err
	}
	return b.killAndStart(ctx, c)
}

// killAfter kills the program when Redis has carried out a change, and the program does not know it.
func (b *Bench) killAfter(ctx context.Context, c *Copy) (*Copy, *Sample, error) {
	c.MayEnd(true)
	defer b.Proxy.Reset()
	caught, err := b.caught(ctx, b.Proxy.After())
	if err != nil {
		return nil, nil, err
	}
	if caught {
		b.Mark("wait", "Redis has carried out a change; its response is on the way to the program")
	}
	return b.killAndStart(ctx, c)
}

// killAnywhere kills the program at some moment.
func (b *Bench) killAnywhere(ctx context.Context, c *Copy) (*Copy, *Sample, error) {
	if err := b.Pause(ctx, time.Duration(rand.Int64N(int64(400*time.Millisecond)))); err != nil {
		return nil, nil, err
	}
	return b.killAndStart(ctx, c)
}

// caught waits until a change is stopped; false when none comes.
func (b *Bench) caught(ctx context.Context, stopped <-chan struct{}) (bool, error) {
	select {
	case <-stopped:
		return true, nil
	case <-time.After(caughtTime):
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// killAndStart kills the program, lets the group forget it, and starts it again.
func (b *Bench) killAndStart(ctx context.Context, c *Copy) (*Copy, *Sample, error) {
	c.Kill()
	b.Proxy.Reset()
	at, err := b.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err = b.revive(ctx)
	return c, at, err
}

// revive starts the program again after its end.
func (b *Bench) revive(ctx context.Context) (*Copy, error) {
	if err := b.ForgetMembers(ctx); err != nil {
		return nil, err
	}
	b.Mark("group", "the group forgets the dead member, as Kafka does when its session timeout is over")
	return b.Start(nil)
}

// restartRedis restarts Redis after it has carried out a change whose response is lost.
func (b *Bench) restartRedis(ctx context.Context, c *Copy) (*Copy, *Sample, error) {
	c.MayEnd(true)
	defer b.Proxy.Reset()
	if _, err := b.caught(ctx, b.Proxy.After()); err != nil {
		return nil, nil, err
	}
	b.Proxy.Down()
	b.Mark("redis", "Redis restarts: it cuts all connections, and accepts none for %v; the data stays", downTime)
	at, err := b.Look(ctx)
	if err == nil {
		err = b.Pause(ctx, downTime)
	}
	if err == nil {
		err = b.Redis.ScriptFlush(ctx).Err()
	}
	if err != nil {
		return nil, nil, err
	}
	b.Proxy.Reset()
	b.Mark("redis", "Redis accepts connections again")
	for range revivals {
		s, err := b.Look(ctx)
		if err != nil {
			return nil, nil, err
		}
		from := s.Counts.Sum()
		if _, err := b.Until(ctx, startTime, func(s *Sample) bool { return c.Over() || s.Counts.Sum() >= from+progress }); err != nil {
			return nil, nil, err
		}
		if !c.Over() {
			break
		}
		b.Mark("end", "the program ended with %s, and is started again, as a supervisor would", c.Exit())
		if c, err = b.revive(ctx); err != nil {
			return nil, nil, err
		}
		c.MayEnd(true)
	}
	c.MayEnd(false)
	return c, at, nil
}

// afterCrash judges what a crash has done to the counts: diff is by how much it changed their
// distance from the truth. at is from the moment of the crash.
func (b *Bench) afterCrash(name string, at, s *Sample, diff Counts, exact bool) error {
	lost, twice := int64(0), int64(0)
	for _, d := range diff {
		lost += max(0, -d)
		twice += max(0, d)
	}
	ok := b.Check(lost == 0, "no event is lost by "+name, "0 lost", fmt.Sprintf("%d lost", lost))
	if exact {
		ok = b.Check(twice == 0, "no event is counted twice because of "+name, "0 counted twice", fmt.Sprintf("%d counted twice", twice)) && ok
	} else if twice > 0 {
		b.Mark("twice", "%s counted a second time after %s", events(twice), name)
	}
	switch {
	case ok:
		return nil
	case lost > 0:
		return b.lostFinding(name, at, s, diff, lost)
	}
	return b.twiceFinding(name, at, twice)
}

// events is a number of events in words.
func events(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}

// lostFinding says that a crash lost events.
func (b *Bench) lostFinding(name string, at, s *Sample, diff Counts, lost int64) *Finding {
	var kinds []string
	for _, k := range Kinds {
		if diff[k] < 0 {
			kinds = append(kinds, fmt.Sprintf("%d of type %s", -diff[k], k))
		}
	}
	f := &Finding{
		Headline: fmt.Sprintf("%s lost %s: %s", name, events(lost), strings.Join(kinds, ", ")),
		Evidence: []exercise.Evidence{Observed(name, at.At)},
		Why:      "The restarted program did not read these events again, and the one before had not counted them.",
		Hint:     "Commit an offset only when every event below it is counted in Redis.",
	}
	below := b.Truth.Below(at.Committed)
	ahead := below.Sum() - at.Counts.Sum()
	if p, ok := b.lastMoved(at); ok && ahead > 0 {
		f.Evidence = append(f.Evidence, b.Evidence("the newest event below the committed offset; the group never reads it again", p, at.Committed[p]-1))
		f.Why = fmt.Sprintf("When the program ended, the group %s had committed offsets behind %d events, but Redis had counted %d. The restarted program starts at the committed offsets, "+
			"so it never reads what was committed and not counted. That happens when a program commits first, and when it ignores an error of Redis and commits all the same.", visible.Text(at.Group), below.Sum(), at.Counts.Sum())
		f.Hint = "Count first, commit afterwards. Automatic commits also commit events that are being counted: set enable.auto.offset.store to false and store the offset after INCR, or commit by hand. Repeat a change that Redis did not confirm."
	} else if s.Group == "" || len(at.Committed) == 0 {
		f.Why = "The group has no committed offset, so the restarted program did not start where the killed one had been."
		f.Hint = "Commit offsets to the group, after the events are counted."
	}
	return f
}

// twiceFinding says that events were counted twice because of a crash.
func (b *Bench) twiceFinding(name string, at *Sample, twice int64) *Finding {
	verb := "were"
	if twice == 1 {
		verb = "was"
	}
	f := &Finding{
		Headline: fmt.Sprintf("%s %s counted twice because of %s", events(twice), verb, name),
		Evidence: []exercise.Evidence{Observed(name, at.At)},
		Why:      "A count and an offset that are stored one after the other can be torn apart: the count is stored, the offset is not, and the event is counted again.",
		Hint: "Keep the offset of each partition in Redis, and change it in the same step as the counts: MULTI and EXEC, or a script. Start from the offset in Redis. " +
			"A step that is repeated must see that it was done.",
	}
	if p, ok := b.lastMoved(at); ok {
		e := b.Evidence("the committed offset at that moment; the program may read from here again", p, at.Committed[p])
		f.Evidence = append(f.Evidence, e)
		if ahead := at.Counts.Sum() - b.Truth.Below(at.Committed).Sum(); ahead > 0 {
			f.Why = fmt.Sprintf("At that moment Redis had counted %s at or above the committed offsets of the group %s. The restarted program starts at the committed offsets and counts them again.",
				events(ahead), visible.Text(at.Group))
		}
	}
	return f
}

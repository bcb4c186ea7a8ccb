package judge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-project/weir/internal/exercise"
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

const redisRestart = "the restart of Redis"

// crash is one thing that is done to a counter. do returns the copy that runs afterwards, and notes
// in the aftermath what was seen at the moment of the crash.
type crash struct {
	name string
	do   func(ctx context.Context, c *Copy, a *aftermath) (*Copy, error)
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
		all = append(all, crash{redisRestart, b.restartRedis})
	}
	off := Counts{} // how many more events are counted than there are
	for _, x := range all {
		a, before := &aftermath{name: x.name}, c
		if c, err = b.during(ctx, x, c, a); err != nil {
			return err
		}
		a.on = c == before
		a.now, err = b.Settle(ctx, b.cfg.Limit, func(s *Sample) bool {
			return !s.Counts.Minus(b.Truth.Total()).Minus(off).Some(func(d int64) bool { return d < 0 })
		})
		if err != nil {
			return err
		}
		now := a.now.Counts.Minus(b.Truth.Total())
		a.diff, off = now.Minus(off), now
		if err := b.afterCrash(a, exact); err != nil {
			return err
		}
	}
	if err := b.mustStop(c, "the program"); err != nil {
		return err
	}
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
func (b *Bench) during(ctx context.Context, x crash, c *Copy, a *aftermath) (after *Copy, err error) {
	err = b.feeding(ctx, crashRate, always, func() (err error) {
		if err := b.goesOn(ctx, x.name); err != nil {
			return err
		}
		if after, err = x.do(ctx, c, a); err != nil {
			return err
		}
		return b.goesOn(ctx, x.name)
	})
	return after, err
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
	f := &Finding{
		Headline: fmt.Sprintf("the program counted nothing more around %s, within %v", name, startTime),
		Evidence: []exercise.Evidence{Observed("the last count that changed", b.lastChange())},
		Why:      "Events are written all the time, so a counter that works counts all the time.",
		Hint:     "Look at the output below. A program that waits for a response that never comes needs a timeout.",
	}
	if name == redisRestart {
		f.Why = "Redis answers again and has its data, but the connections and the scripts that were loaded before are gone."
		f.Hint = "Connect again after an error. When Redis answers NOSCRIPT, send the text of the script again (EVAL). Look at the output below."
	}
	return f
}

func (b *Bench) lastChange() time.Time {
	b.watching.Lock()
	defer b.watching.Unlock()
	return b.last.At
}

// killBefore kills the program while a change is on its way to Redis.
func (b *Bench) killBefore(ctx context.Context, c *Copy, a *aftermath) (*Copy, error) {
	c.MayEnd(true) // while Redis does not answer
	caught, err := b.caught(ctx, b.Proxy.Before())
	if err == nil && caught {
		b.Mark("wait", "a change is on its way to Redis, and waits for %v", commitTime)
		_, err = b.Until(ctx, commitTime, func(s *Sample) bool {
			ahead := b.Truth.Below(s.Committed).Sum() > s.Counts.Sum()
			a.early = a.early || ahead && !b.Proxy.Left() // in this order: the client may stop waiting any time
			return false
		})
	}
	if err != nil {
		return nil, err
	}
	return b.killAndStart(ctx, c, a)
}

// killAfter kills the program when Redis has carried out a change, and the program does not know it.
func (b *Bench) killAfter(ctx context.Context, c *Copy, a *aftermath) (*Copy, error) {
	c.MayEnd(true)
	caught, err := b.caught(ctx, b.Proxy.After())
	if err != nil {
		return nil, err
	}
	if caught {
		b.Mark("wait", "Redis has carried out a change; its response is on the way to the program")
	}
	return b.killAndStart(ctx, c, a)
}

// killAnywhere kills the program at some moment.
func (b *Bench) killAnywhere(ctx context.Context, c *Copy, a *aftermath) (*Copy, error) {
	if err := b.Pause(ctx, time.Duration(rand.Int64N(int64(400*time.Millisecond)))); err != nil {
		return nil, err
	}
	return b.killAndStart(ctx, c, a)
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
func (b *Bench) killAndStart(ctx context.Context, c *Copy, a *aftermath) (_ *Copy, err error) {
	c.Kill()
	b.Proxy.Reset()
	if a.at, err = b.Look(ctx); err != nil {
		return nil, err
	}
	return b.revive(ctx)
}

// revive starts the program again after its end.
func (b *Bench) revive(ctx context.Context) (*Copy, error) {
	if err := b.ForgetMembers(ctx); err != nil {
		return nil, err
	}
	b.Mark("group", "the group forgets the dead member, as Kafka does when its session timeout is over")
	return b.Start()
}

// restartRedis restarts Redis after it has carried out a change whose response is lost.
func (b *Bench) restartRedis(ctx context.Context, c *Copy, a *aftermath) (_ *Copy, err error) {
	c.MayEnd(true)
	if _, err := b.caught(ctx, b.Proxy.After()); err != nil {
		return nil, err
	}
	b.Proxy.Down()
	b.Mark("redis", "Redis restarts: it cuts all connections, and accepts none for %v; the data stays", downTime)
	if a.at, err = b.Look(ctx); err == nil {
		err = b.Pause(ctx, downTime)
	}
	if err == nil {
		err = b.Redis.ScriptFlush(ctx).Err()
	}
	if err != nil {
		return nil, err
	}
	b.Proxy.Reset()
	b.Mark("redis", "Redis accepts connections again")
	for range revivals {
		s, err := b.Look(ctx)
		if err != nil {
			return nil, err
		}
		from := s.Counts.Sum()
		if _, err := b.Until(ctx, startTime, func(s *Sample) bool { return c.Over() || s.Counts.Sum() >= from+progress }); err != nil {
			return nil, err
		}
		if !c.Over() {
			break
		}
		b.Mark("end", "the program ended with %s, and is started again, as a supervisor would", c.Exit())
		if c, err = b.revive(ctx); err != nil {
			return nil, err
		}
		c.MayEnd(true)
	}
	c.MayEnd(false)
	return c, nil
}

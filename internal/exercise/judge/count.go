package judge

import (
	"context"
	"fmt"
	"time"
)

const (
	backlog  = 1500 // events that are in the topic before the program starts
	live     = 500  // events that are written while it runs
	liveRate = 200  // per second
)

// count is the trial of the same name: nothing is done to the program.
func count(ctx context.Context, b *Bench) error {
	c, err := b.counting(ctx)
	if err != nil {
		return err
	}
	if err := b.mustStop(c, "the program"); err != nil {
		return err
	}
	b.Pass("all %d events are counted, each once", b.Truth.Total().Sum())
	return nil
}

// counting starts a copy of the program, which must count what is there and what is written then.
func (b *Bench) counting(ctx context.Context) (*Copy, error) {
	if err := b.Write(ctx, backlog); err != nil {
		return nil, err
	}
	b.Mark("events", "%d events are in the topic %s before the program starts", backlog, b.Topic)
	started := time.Now()
	c, err := b.Start()
	if err != nil {
		return nil, err
	}
	if err := b.firstSign(ctx); err != nil {
		return nil, err
	}
	b.Mark("events", "%d more events are written, %d per second", live, liveRate)
	err = b.feeding(ctx, liveRate, live, func() error {
		_, err := b.Until(ctx, startTime, func(*Sample) bool { return b.Truth.Total().Sum() == backlog+live })
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, b.countsMustEqual(ctx, started)
}

// firstSign waits until the program has counted something or is a member of a group with partitions.
func (b *Bench) firstSign(ctx context.Context) error {
	ok, err := b.Until(ctx, startTime, func(s *Sample) bool {
		if s.Counts.Sum() > 0 {
			return true
		}
		for _, parts := range s.Members {
			if len(parts) > 0 {
				return true
			}
		}
		return false
	})
	if err != nil || ok {
		return err
	}
	return b.nothingSeen(ctx)
}

// countsMustEqual waits until the counts are those of the events, or nothing changes any more.
func (b *Bench) countsMustEqual(ctx context.Context, started time.Time) error {
	s, err := b.Settle(ctx, b.cfg.Limit, func(s *Sample) bool { return s.Counts.Equal(b.Truth.Total()) })
	if err != nil {
		return err
	}
	if b.checkCounts(s) {
		return nil
	}
	f, err := b.explainCounts(ctx, s, started)
	if err != nil {
		return err
	}
	return f
}

// checkCounts notes for each event type whether its count is right.
func (b *Bench) checkCounts(s *Sample) bool {
	want := b.Truth.Total()
	ok := true
	for _, k := range Kinds {
		ok = b.Check(s.Counts[k] == want[k], fmt.Sprintf("Redis has the count of %s", k), fmt.Sprint(want[k]), fmt.Sprint(s.Counts[k])) && ok
	}
	return ok
}

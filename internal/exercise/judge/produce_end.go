package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/simulate"
)

const (
	// tailLimit is how many events come last. Kafka accepts none of them until the program was
	// asked to end, so they are in its memory then, or it is late.
	tailLimit = 500
	// readTime is how long the program has to read the last event, and holdTime how long Kafka
	// accepts nothing when the program was asked to end.
	readTime = 3 * time.Second
	holdTime = 2 * time.Second
	// arriveTime is how long the last records may need to be seen.
	arriveTime = 5 * time.Second
)

// stopWriting asks the program to end while Kafka accepts no records, and wants all that it had read.
func (b *Bench) stopWriting(ctx context.Context, up *Upstream, c *Copy, w *written, tail []simulate.Item) error {
	held := asks && up.Tip()-streamLimit < tailLimit/2 // a program that is late has not read the last events soon enough
	lift := func() int { return 0 }
	if held {
		var err error
		if lift, err = b.Brokers.RejectRecords(b.Output); err != nil {
			return err
		}
		b.Mark("kafka", "the topic accepts no records, as when two of its replicas fail")
	}
	complete := func() bool { return !slices.ContainsFunc(tail, w.lacks) }
	quiet, stored := time.Now(), 0
	_, err := b.Until(ctx, b.cfg.Limit, func(s *Sample) bool {
		if n := w.len(); n != stored {
			stored, quiet = n, s.At
		}
		b.sampleStream(up, stored)
		switch {
		case c.Over():
			return true
		case up.Tip() < streamLimit+tailLimit:
			quiet = s.At
			return false
		case held:
			return s.At.Sub(quiet) > readTime
		}
		return complete() || s.At.Sub(quiet) > quietTime
	})
	if err != nil {
		return err
	}
	if c.Over() {
		f := c.endedFinding()
		b.tooSlow(f, up, c, w)
		return f
	}
	lifted := make(chan struct{})
	go func() {
		defer close(lifted)
		select {
		case <-time.After(holdTime):
		case <-c.Ended():
		}
		if lift() > 0 {
			b.Mark("kafka", "the topic accepts records again")
		}
	}()
	err = b.mustStop(c, "the program")
	<-lifted
	if err != nil {
		return err
	}
	if _, err := b.Until(ctx, arriveTime, func(*Sample) bool { return complete() }); err != nil {
		return err
	}
	return b.tailMissing(c, w, tail, held)
}

// tailMissing wants the last events.
func (b *Bench) tailMissing(c *Copy, w *written, tail []simulate.Item, held bool) error {
	posts := len(postsOf(tail))
	lost := slices.DeleteFunc(postsOf(tail), w.has)
	if b.Check(len(lost) == 0, "the last posts are stored when the program has ended", fmt.Sprint(posts), fmt.Sprint(posts-len(lost))) {
		return nil
	}
	f := &Finding{Headline: fmt.Sprintf("the program ended too early: %d of the last %d posts are missing in the topic %s", len(lost),
		posts, b.Output),
		Evidence: []exercise.Evidence{Observed("end of the program, with "+c.Exit().String(), c.Exit().At),
			b.missingEvidence(lost[0])},
		Why:  "The program had not written these events when SIGTERM asked it to end, and it wrote them neither then nor afterwards.",
		Hint: "Handle SIGTERM: leave the loop, call flush, and wait until it returns. flush with a time returns how many records are left."}
	if held {
		f.Why = fmt.Sprintf("Kafka accepted no records until %v after SIGTERM. The last records were in the memory of the program, where "+
			"its client sends them again, "+
			"and the program did not wait until Kafka had them, or its client does not send again what Kafka rejects (retries).", holdTime)
	}
	return f
}

package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/visible"
)

const (
	streamRate  = 250
	streamLimit = 3000
	// crashTime is how many seconds after an account event a crash still belongs to it.
	crashTime = 3
	// lateTime is how many seconds behind the stream a program is too slow.
	lateTime = 10
)

// written is what a producer has written, by the identity of the events. It serves one goroutine.
type written struct {
	*tail
	ids map[string]bool
	n   int // how many records ids has
}

// has reports whether an event is stored.
func (w *written) has(it simulate.Item) bool {
	if w.len() > w.n {
		all := w.all()
		for _, r := range all[w.n:] {
			w.ids[readPost(r.Record).id] = true
		}
		w.n = len(all)
	}
	return w.ids[it.Identity]
}

// lacks reports whether a post is not stored.
func (w *written) lacks(it simulate.Item) bool { return it.Route == event.Data && !w.has(it) }

// produce is the trial of the same name: account events come between the posts.
func produce(ctx context.Context, b *Bench) error {
	b.Output = b.Topic
	up, err := b.OpenStream(streamRate, streamLimit+tailLimit, nil)
	if err != nil {
		return err
	}
	items, err := up.Items()
	if err != nil {
		return err
	}
	c, output, err := b.begin(ctx)
	if err != nil {
		return err
	}
	c.MayEnd(true) // what it means depends on the event before
	w := &written{tail: output, ids: map[string]bool{}}
	if err := b.streamed(ctx, up, c, w, items[:streamLimit]); err != nil {
		return err
	}
	if err := b.judgeStored(ctx, w.plain(), items[:streamLimit]); err != nil {
		return err
	}
	if err := b.stopWriting(ctx, up, c, w, items[streamLimit:]); err != nil {
		return err
	}
	posts := len(postsOf(items))
	b.Pass("all %d posts are stored, keyed and in order; %d account and identity events did no harm", posts, len(items)-posts)
	return nil
}

// streamed waits until the stream has ended and everything is stored, or nothing more is.
func (b *Bench) streamed(ctx context.Context, up *Upstream, c *Copy, w *written, items []simulate.Item) error {
	ok, err := b.Until(ctx, startTime, func(*Sample) bool {
		_, begun := up.Begun()
		return begun || c.Over()
	})
	switch {
	case err != nil:
		return err
	case up.Err() != nil:
		return up.Err()
	case c.Over():
		return c.endedFinding()
	case !ok:
		return &Finding{Headline: fmt.Sprintf("the program did not connect to the stream within %v", startTime), Evidence: []exercise.Evidence{},
			Why: "The events come over the WebSocket that STREAM_URL names.", Hint: "Take the URL from STREAM_URL in the environment."}
	}
	missing := len(items)
	changed, stored := time.Now(), 0
	_, err = b.Until(ctx, b.cfg.Limit, func(s *Sample) bool {
		if n := w.len(); n != stored {
			stored, changed = n, s.At
		}
		b.sampleStream(up, stored)
		if missing == 0 || up.Tip() >= streamLimit {
			missing = slices.IndexFunc(items, w.lacks) + 1
		}
		quiet := s.At.Sub(changed)
		return c.Over() || up.Tip() >= streamLimit && (missing == 0 || quiet > quietTime)
	})
	if err == nil && c.Over() {
		return b.endedInStream(up, c, w, items)
	}
	return err
}

// sampleStream adds to the timeline what has happened and what is stored.
func (b *Bench) sampleStream(up *Upstream, stored int) {
	b.Point("sent", "events", float64(up.Tip()))
	b.Point("stored", "events", float64(stored))
}

// endedInStream says why a program ended while it read the stream.
func (b *Bench) endedInStream(up *Upstream, c *Copy, w *written, items []simulate.Item) *Finding {
	f := c.endedFinding()
	tip := min(up.Tip(), int64(len(items)))
	b.Check(false, "the program goes on until the stream ends", fmt.Sprintf("%d events", len(items)), fmt.Sprintf("%d events", tip))
	first := slices.IndexFunc(items, func(it simulate.Item) bool { return it.Route != event.Data })
	late := slices.ContainsFunc(items[first+1:], func(it simulate.Item) bool { return it.Route == event.Data && w.has(it) })
	passed := tip - int64(first) - int64(streamRate*time.Since(c.Exit().At).Seconds())
	if b.tooSlow(f, up, c, w) {
		return f
	}
	if first < 0 || tip <= int64(first) || late || passed > crashTime*streamRate {
		return f // it had survived such an event, or ended long after the first one
	}
	it := items[first]
	f.Headline = fmt.Sprintf("the program crashed at an %s event, event %d of the stream: %s", it.Kind, first,
		visible.Text(complaint(c.Output(), c.Exit())))
	f.Evidence = append([]exercise.Evidence{{What: fmt.Sprintf("event %d of the stream, of type %s, without the field commit", first, it.Kind),
		Partition: -1, Offset: -1, Key: it.Key, At: Moment(c.Exit().At)}}, f.Evidence...)
	f.Why = "The stream sends account and identity events to every subscriber, whichever collections it asked for. They have no field " +
		"commit, so reading it fails."
	f.Hint = "Look at the field `kind` first, and write only the events whose `kind` is commit."
	return f
}

// tooSlow reports whether a program that ended was far behind the stream, and says so in the finding.
func (b *Bench) tooSlow(f *Finding, up *Upstream, c *Copy, w *written) bool {
	begun, _ := up.Begun()
	perSecond, late := behind(w.all(), begun, c.Exit().At)
	if !late {
		return false
	}
	f.Why = fmt.Sprintf("The program was too slow: the stream sends %d events per second, and the program wrote %.0f per second. "+
		"A server closes the connection of a client that does not keep up.", streamRate, perSecond)
	f.Hint = "Do not wait for each record, and do not sleep: the client writes in the background."
	return true
}

// behind returns how many records a program stored per second, and whether it was far behind the
// stream and still writing when it ended.
func behind(all []arrived, begun, end time.Time) (perSecond float64, late bool) {
	if len(all) == 0 || end.Sub(all[len(all)-1].at) > crashTime*time.Second {
		return 0, false
	}
	ran, stored := end.Sub(begun).Seconds(), float64(len(all))
	return stored / ran, ran*streamRate-stored > lateTime*streamRate
}

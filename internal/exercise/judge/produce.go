package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

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

// Stored is a record that the program wrote.
type Stored struct {
	Partition int32
	Offset    int64
	Key       string
	At        time.Time
	// ID is that of the event in the value, and Author its DID; empty where the value is not an event.
	ID, Author string
}

// store collects what a producer writes.
type store struct {
	mu  sync.Mutex
	all []Stored
	ids map[string]bool
}

func (s *store) add(r *kgo.Record) {
	x := Stored{Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), At: time.Now()}
	x.ID, x.Author = identity(r.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
	s.ids[x.ID] = true
}

func (s *store) list() []Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// count returns how many records there are.
func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// has reports whether an event is stored.
func (s *store) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// identity reads an event as it is stored: simulate.Item's Identity, and its author. Both are
// empty where the value is not an event.
func identity(value []byte) (id, author string) {
	var m struct {
		DID, Kind string
		Commit    struct{ Collection, RKey, Operation, Rev string }
	}
	if json.Unmarshal(value, &m) != nil || m.DID == "" {
		return "", ""
	}
	if m.Kind != "commit" {
		return m.Kind, m.DID // may be stored, and is not looked at
	}
	c := m.Commit
	return strings.Join([]string{m.DID, c.Collection, c.RKey, c.Operation, c.Rev}, "/"), m.DID
}

// produce is the trial of the same name: account events come between the posts.
func produce(ctx context.Context, b *Bench) error {
	b.Output = b.Topic
	up, err := b.OpenStream(ctx, streamRate, streamLimit+tailLimit, nil)
	if err != nil {
		return err
	}
	written := &store{ids: map[string]bool{}}
	if err := b.Follow(ctx, b.Output, written.add); err != nil {
		return err
	}
	world, err := Posts()
	if err != nil {
		return err
	}
	c, err := b.Start(nil)
	if err != nil {
		return err
	}
	c.MayEnd(true) // what it means depends on the event before
	items := slices.Collect(world.Items(0, streamLimit+tailLimit))
	if err := b.streamed(ctx, up, c, written, items[:streamLimit]); err != nil {
		return err
	}
	if err := b.judgeStored(ctx, written.list(), items[:streamLimit]); err != nil {
		return err
	}
	if err := b.stopWriting(ctx, up, c, written, items[streamLimit:]); err != nil {
		return err
	}
	posts, others := routes(items)
	b.Pass("all %d posts are stored, keyed and in order; %d account and identity events did no harm", posts, others)
	return nil
}

// routes counts the posts and the other events.
func routes(items []simulate.Item) (posts, others int) {
	for _, it := range items {
		if it.Route == event.Data {
			posts++
		}
	}
	return posts, len(items) - posts
}

// streamed waits until the stream has ended and everything is stored, or nothing more is.
func (b *Bench) streamed(ctx context.Context, up *Upstream, c *Copy, written *store, items []simulate.Item) error {
	ok, err := b.Until(ctx, startTime, func(*Sample) bool { return up.Begun() || c.Over() || up.Err() != nil })
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
		if n := written.count(); n != stored {
			stored, changed = n, s.At
		}
		b.sampleStream(up, stored)
		if missing == 0 || up.Tip() >= streamLimit {
			missing = slices.IndexFunc(items, func(it simulate.Item) bool { return it.Route == event.Data && !written.has(it.Identity) }) + 1
		}
		quiet := s.At.Sub(changed)
		return c.Over() || up.Tip() >= streamLimit && (missing == 0 || quiet > quietTime)
	})
	if err == nil && c.Over() {
		return b.endedInStream(up, c, written, items)
	}
	return err
}

// sampleStream adds to the timeline what has happened and what is stored.
func (b *Bench) sampleStream(up *Upstream, stored int) {
	b.mu.Lock()
	due := b.now()-b.sampledStream > 0.2
	if due {
		b.sampledStream = b.now()
	}
	b.mu.Unlock()
	if due {
		b.Point("sent", "events", float64(up.Tip()))
		b.Point("stored", "events", float64(stored))
	}
}

// endedInStream says why a program ended while it read the stream.
func (b *Bench) endedInStream(up *Upstream, c *Copy, written *store, items []simulate.Item) *Finding {
	f := c.endedFinding()
	tip := min(up.Tip(), int64(len(items)))
	b.Check(false, "the program goes on until the stream ends", fmt.Sprintf("%d events", len(items)), fmt.Sprintf("%d events", tip))
	first := slices.IndexFunc(items, func(it simulate.Item) bool { return it.Route != event.Data })
	late := slices.ContainsFunc(items[first+1:], func(it simulate.Item) bool { return it.Route == event.Data && written.has(it.Identity) })
	passed := tip - int64(first) - int64(streamRate*time.Since(c.Exit().At).Seconds())
	if b.tooSlow(f, up, c, written) {
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
func (b *Bench) tooSlow(f *Finding, up *Upstream, c *Copy, written *store) bool {
	perSecond, late := behind(written.list(), up.BegunAt(), c.Exit().At)
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
func behind(all []Stored, begun, end time.Time) (perSecond float64, late bool) {
	if len(all) == 0 || end.Sub(all[len(all)-1].At) > crashTime*time.Second {
		return 0, false
	}
	ran, stored := end.Sub(begun).Seconds(), float64(len(all))
	return stored / ran, ran*streamRate-stored > lateTime*streamRate
}

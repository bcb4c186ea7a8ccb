package judge

import (
	"cmp"
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
	up, err := b.OpenStream(ctx, streamRate, streamLimit, nil)
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
	items := slices.Collect(world.Items(0, streamLimit))
	if err := b.streamed(ctx, up, c, written, items); err != nil {
		return err
	}
	if err := b.judgeStored(written.list(), items); err != nil {
		return err
	}
	b.Check(c.Stop(), "the program ends when it is asked to", "within 10 s", c.Exit().String())
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
		if missing == 0 || up.Tip() == streamLimit {
			missing = slices.IndexFunc(items, func(it simulate.Item) bool { return it.Route == event.Data && !written.has(it.Identity) }) + 1
		}
		quiet := s.At.Sub(changed)
		return c.Over() || up.Tip() == streamLimit && (missing == 0 && quiet > extraTime || quiet > quietTime)
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
	if first < 0 || tip <= int64(first) || late || passed > crashTime*streamRate {
		return f // it had survived such an event, or ended long after the first one
	}
	it := items[first]
	f.Headline = fmt.Sprintf("the program crashed at an %s event, event %d of the stream: %s", it.Kind, first, visible.Text(complaint(c.Output(), c.Exit())))
	f.Evidence = append([]exercise.Evidence{{What: fmt.Sprintf("event %d of the stream, of type %s, without the field commit", first, it.Kind),
		Partition: -1, Offset: -1, Key: it.Key, At: Moment(c.Exit().At)}}, f.Evidence...)
	f.Why = "The stream sends account and identity events to every subscriber, whichever collections it asked for. They have no field commit, so reading it fails."
	f.Hint = "Look at the field `kind` first, and write only the events whose `kind` is commit."
	return f
}

// judgeStored looks for the first thing that is wrong with what is stored.
func (b *Bench) judgeStored(all []Stored, items []simulate.Item) error {
	index := map[string]int64{}
	for _, it := range items {
		if it.Route == event.Data {
			index[it.Identity] = it.Index
		}
	}
	slices.SortFunc(all, func(x, y Stored) int {
		return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	})
	for _, judge := range []func([]Stored, []simulate.Item, map[string]int64) *Finding{b.values, b.missing, b.keys, b.order, b.doubled} {
		if f := judge(all, items, index); f != nil {
			return f
		}
	}
	return nil
}

// Evidence is a stored record as evidence.
func (s *Stored) Evidence(what, topic string) exercise.Evidence {
	return exercise.Evidence{What: what, Topic: topic, Partition: s.Partition, Offset: s.Offset, Key: visible.Text(s.Key), At: Moment(s.At)}
}

// values checks that every value is an event.
func (b *Bench) values(all []Stored, _ []simulate.Item, _ map[string]int64) *Finding {
	i := slices.IndexFunc(all, func(s Stored) bool { return s.ID == "" })
	got := "all"
	if i >= 0 {
		got = fmt.Sprintf("not partition %d, offset %d", all[i].Partition, all[i].Offset)
	}
	if b.Check(i < 0, "every value is an event of the stream", "all", got) {
		return nil
	}
	return &Finding{Headline: "a value is not the JSON of an event", Evidence: []exercise.Evidence{all[i].Evidence("the first such record", b.Output)},
		Why: "Readers of the topic expect what the stream has sent.", Hint: "Write the message of the WebSocket as it is, as the value."}
}

// missing checks that every post is stored.
func (b *Bench) missing(all []Stored, items []simulate.Item, index map[string]int64) *Finding {
	stored := map[string]bool{}
	for _, s := range all {
		stored[s.ID] = true
	}
	var lost []simulate.Item
	for _, it := range items {
		if it.Route == event.Data && !stored[it.Identity] {
			lost = append(lost, it)
		}
	}
	if b.Check(len(lost) == 0, "every post is stored", fmt.Sprint(len(index)), fmt.Sprint(len(index)-len(lost))) {
		return nil
	}
	first := lost[0]
	f := &Finding{Headline: fmt.Sprintf("%d of %d posts are missing in the topic %s", len(lost), len(index), b.Output),
		Evidence: []exercise.Evidence{{What: fmt.Sprintf("the first missing one: event %d of the stream, type %s", first.Index, first.Kind), Topic: b.Output, Partition: -1, Offset: -1, Key: first.Key}},
		Why:      "The stream sent these events, and they are not in the topic: the program dropped them, or it ended its connection, or it did not flush.",
		Hint:     "Store every event whose `kind` is commit, also updates and deletes. Look at the errors that the producer reports for each record. Flush before the end."}
	if n := int(first.Index); n > 0 && items[n-1].Route != event.Data && len(lost) > len(items)/10 {
		f.Headline = fmt.Sprintf("nothing is stored after an %s event: %d of %d posts are missing", items[n-1].Kind, len(lost), len(index))
		f.Why = "The program failed at an event that has no field commit. The stream sends account and identity events to every subscriber."
		f.Hint = "Look at the field `kind` first, and write only the events whose `kind` is commit."
	}
	return f
}

// keys checks that the key of every record is the author.
func (b *Bench) keys(all []Stored, _ []simulate.Item, index map[string]int64) *Finding {
	i := slices.IndexFunc(all, func(s Stored) bool {
		_, post := index[s.ID]
		return post && s.Key != s.Author
	})
	got := "all"
	if i >= 0 {
		got = fmt.Sprintf("%q", visible.Text(all[i].Key))
	}
	if b.Check(i < 0, "the key of every record is the DID of its author", "all", got) {
		return nil
	}
	f := &Finding{Headline: fmt.Sprintf("a record has the key %s, not its author's DID", got), Evidence: []exercise.Evidence{all[i].Evidence("the first such record, by "+all[i].Author, b.Output)},
		Why:  "The key chooses the partition, and Kafka keeps the order only within a partition. With another key, the posts of one author are in several partitions, and nobody can read them in order.",
		Hint: "Use the field did of the event as the key."}
	if all[i].Key == "" {
		f.Headline = "a record has no key"
	}
	return f
}

// order checks that the posts of each author are in the order of the stream.
func (b *Bench) order(all []Stored, _ []simulate.Item, index map[string]int64) *Finding {
	type place struct {
		index int64
		at    Stored
	}
	last := map[string]place{}
	for _, s := range all {
		i, ok := index[s.ID]
		if !ok {
			continue
		}
		before, seen := last[s.Author]
		switch {
		case seen && before.at.Partition != s.Partition:
			b.Check(false, "the posts of an author are in one partition", "one", fmt.Sprintf("%d and %d", before.at.Partition, s.Partition))
			return &Finding{Headline: fmt.Sprintf("the posts of one author are in partition %d and in partition %d", before.at.Partition, s.Partition),
				Evidence: []exercise.Evidence{before.at.Evidence("a post of the author", b.Output), s.Evidence("another post of the author", b.Output)},
				Why:      "Kafka keeps the order only within a partition.", Hint: "Let the key choose the partition; do not set the partition yourself."}
		case seen && before.index > i:
			b.Check(false, "the posts of an author are in the order of the stream", "in order", fmt.Sprintf("event %d after event %d", i, before.index))
			return &Finding{Headline: fmt.Sprintf("two posts of one author are in the wrong order: event %d stands after event %d", i, before.index),
				Evidence: []exercise.Evidence{before.at.Evidence(fmt.Sprintf("event %d of the stream", before.index), b.Output), s.Evidence(fmt.Sprintf("event %d of the stream", i), b.Output)},
				Why:      "Records that are written by several threads, or again after an error, can overtake each other.",
				Hint:     "Write from one thread, and switch enable.idempotence on."}
		}
		last[s.Author] = place{max(i, before.index), s}
	}
	b.Check(true, "the posts of an author are in one partition, in the order of the stream", "in order", "in order")
	return nil
}

// doubled checks that no post is duplicated.
func (b *Bench) doubled(all []Stored, _ []simulate.Item, index map[string]int64) *Finding {
	seen := map[string]Stored{}
	twice := 0
	var first [2]Stored
	for _, s := range all {
		if _, ok := index[s.ID]; !ok {
			continue
		}
		if before, ok := seen[s.ID]; ok {
			if twice == 0 {
				first = [2]Stored{before, s}
			}
			twice++
		}
		seen[s.ID] = s
	}
	if b.Check(twice == 0, "no post is duplicated", "0", fmt.Sprint(twice)) {
		return nil
	}
	return &Finding{Headline: fmt.Sprintf("%d posts are duplicated", twice),
		Evidence: []exercise.Evidence{first[0].Evidence("a post", b.Output), first[1].Evidence("the same post again", b.Output)},
		Why:      "The stream sent every event once. A producer that repeats a request whose response was lost writes it twice.",
		Hint:     "Call produce once for each event, and switch enable.idempotence on."}
}

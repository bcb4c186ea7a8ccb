package judge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/visible"
)

// judgeStored looks for the first thing that is wrong with what is stored.
func (b *Bench) judgeStored(ctx context.Context, all []Stored, items []simulate.Item) error {
	if len(all) == 0 {
		return b.nothingStored(ctx)
	}
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
	return exercise.Evidence{What: what, Topic: topic, Partition: s.Partition, Offset: s.Offset, Key: shortKey(s.Key), At: Moment(s.At)}
}

// shortKey is a key as a report shows it: some programs take the whole event for the key.
func shortKey(key string) string {
	if runes := []rune(visible.Text(key)); len(runes) > maxKey {
		return string(runes[:maxKey]) + "…"
	}
	return visible.Text(key)
}

// maxKey bounds what is shown of a key.
const maxKey = 60

// nothingStored says that the program wrote no record, or wrote elsewhere.
func (b *Bench) nothingStored(ctx context.Context) error {
	b.Check(false, "the program writes to OUTPUT_TOPIC", "records", "none")
	f := &Finding{Headline: fmt.Sprintf("the topic %s is empty: the program wrote no record", b.Output), Evidence: []exercise.Evidence{},
		Why: "The program connected to the stream and ran, but not one record arrived in Kafka. It does not call produce, " +
			"or waits somewhere, or has a wrong address or topic.",
		Hint: "Write each event whose `kind` is commit to OUTPUT_TOPIC, at the brokers of KAFKA_BROKER. Look at the errors that the " +
			"producer reports for each record."}
	ends, err := b.Admin.ListEndOffsets(ctx)
	if err != nil {
		return fmt.Errorf("read the ends of the topics: %w", err)
	}
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		n := int64(0)
		for _, o := range ends[topic] {
			n += max(0, o.Offset)
		}
		if n > 0 {
			f.Headline = fmt.Sprintf("the topic %s is empty; the topic %s has %d records", b.Output, visible.Text(topic), n)
			f.Why = "The program writes to a topic with another name, which Kafka created then."
			f.Hint = "Take the name of the topic from OUTPUT_TOPIC."
		}
	}
	return f
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
	return &Finding{Headline: "a value is not the JSON of an event", Evidence: []exercise.Evidence{all[i].Evidence("the first such record",
		b.Output)},
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
	kinds := kindsOf(items, func(it simulate.Item) bool { return stored[it.Identity] })
	f := &Finding{Headline: fmt.Sprintf("%d of %d posts are missing in the topic %s", len(lost), len(index), b.Output),
		Evidence: []exercise.Evidence{{What: fmt.Sprintf("the first missing one: event %d of the stream, type %s", first.Index, first.Kind),
			Topic: b.Output, Partition: -1, Offset: -1, Key: first.Key}},
		Why: "The stream sent these events, and they are not in the topic: the program dropped them, or it ended its connection, or it " +
			"did not flush.",
		Hint: "Store every event whose `kind` is commit, also updates and deletes. Look at the errors that the producer reports for " +
			"each record. Flush before the end."}
	if none := slices.DeleteFunc(slices.Clone(Kinds), func(k string) bool { return kinds[k] > 0 }); len(none) > 0 && len(none) < len(Kinds) {
		f.Headline = fmt.Sprintf("no event of type %s is stored: %d of %d posts are missing", strings.Join(none, " or "), len(lost), len(index))
		f.Why = "The program writes only some types of events. The field commit.operation has the type."
		f.Hint = "Write every event whose `kind` is commit, whatever its operation is."
	}
	if n := int(first.Index); n > 0 && items[n-1].Route != event.Data && len(lost) > len(items)/10 {
		f.Headline = fmt.Sprintf("nothing is stored after an %s event: %d of %d posts are missing", items[n-1].Kind, len(lost), len(index))
		f.Why = "The program failed at an event that has no field commit. The stream sends account and identity events to every subscriber."
		f.Hint = "Look at the field `kind` first, and write only the events whose `kind` is commit."
	}
	return f
}

// kindsOf counts the posts that some function accepts, by type.
func kindsOf(items []simulate.Item, ok func(simulate.Item) bool) Counts {
	out := Counts{}
	for _, it := range items {
		if it.Route == event.Data && ok(it) {
			out[it.Kind]++
		}
	}
	return out
}

// keys checks that the key of every record is the author.
func (b *Bench) keys(all []Stored, _ []simulate.Item, index map[string]int64) *Finding {
	i := slices.IndexFunc(all, func(s Stored) bool {
		_, post := index[s.ID]
		return post && s.Key != s.Author
	})
	got := "all"
	if i >= 0 {
		got = fmt.Sprintf("%q", shortKey(all[i].Key))
	}
	if b.Check(i < 0, "the key of every record is the DID of its author", "all", got) {
		return nil
	}
	f := &Finding{Headline: fmt.Sprintf("a record has the key %s, not its author's DID", got),
		Evidence: []exercise.Evidence{all[i].Evidence("the first such record, by "+all[i].Author, b.Output)},
		Why: "The key chooses the partition, and Kafka keeps the order only within a partition. With another key, the posts of one author " +
			"are in several partitions, and nobody can read them in order.",
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
			return &Finding{Headline: fmt.Sprintf("the posts of one author are in partition %d and in partition %d", before.at.Partition,
				s.Partition),
				Evidence: []exercise.Evidence{before.at.Evidence("a post of the author", b.Output), s.Evidence("another post of the author", b.Output)},
				Why:      "Kafka keeps the order only within a partition.", Hint: "Let the key choose the partition; do not set the partition " +
					"yourself."}
		case seen && before.index > i:
			b.Check(false, "the posts of an author are in the order of the stream", "in order", fmt.Sprintf("event %d after event %d", i,
				before.index))
			return &Finding{Headline: fmt.Sprintf("two posts of one author are in the wrong order: event %d stands after event %d", i, before.index),
				Evidence: []exercise.Evidence{before.at.Evidence(fmt.Sprintf("event %d of the stream", before.index), b.Output),
					s.Evidence(fmt.Sprintf("event %d of the stream", i), b.Output)},
				Why:  "Records that are written by several threads, or again after an error, can overtake each other.",
				Hint: "Write from one thread, and switch enable.idempotence on."}
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

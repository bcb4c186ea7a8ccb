package judge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/visible"
)

// judgeStored looks for the first thing that is wrong with what is stored.
func (b *Bench) judgeStored(ctx context.Context, output []*kgo.Record, items []simulate.Item) error {
	if len(output) == 0 {
		return b.nothingStored(ctx)
	}
	slices.SortFunc(output, func(x, y *kgo.Record) int {
		return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	})
	s := compare(postsOf(items), output)
	missing := func(s *comparison) *Finding { return b.missing(s, items) }
	if f := firstOf(s, b.values, missing, b.keys, b.order, b.duplicated); f != nil {
		return f
	}
	return nil
}

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
func (b *Bench) values(s *comparison) *Finding {
	i := slices.IndexFunc(s.posts, func(p post) bool { return p.author == "" || p.kind == "" })
	got := "all"
	if i >= 0 {
		got = fmt.Sprintf("not partition %d, offset %d", s.posts[i].Partition, s.posts[i].Offset)
	}
	if b.Check(i < 0, "every value is an event of the stream", "all", got) {
		return nil
	}
	return &Finding{Headline: "a value is not the JSON of an event",
		Evidence: []exercise.Evidence{evidenceOf("the first such record", s.posts[i].Record)},
		Why:      "Readers of the topic expect what the stream has sent.", Hint: "Write the message of the WebSocket as it is, as the value."}
}

// missingEvidence is a post that is not stored, as evidence.
func (b *Bench) missingEvidence(it simulate.Item) exercise.Evidence {
	return exercise.Evidence{What: fmt.Sprintf("the first missing one: event %d of the stream, type %s", it.Index, it.Kind),
		Topic: b.Output, Partition: -1, Offset: -1, Key: it.Key}
}

// missing checks that every post is stored.
func (b *Bench) missing(s *comparison, items []simulate.Item) *Finding {
	lost := s.lost()
	if b.Check(len(lost) == 0, "every post is stored", fmt.Sprint(len(s.truth)), fmt.Sprint(len(s.truth)-len(lost))) {
		return nil
	}
	first := lost[0]
	kinds := Counts{} // of what is stored
	for _, it := range s.truth {
		if s.first[it.Identity] != nil {
			kinds[it.Kind]++
		}
	}
	f := &Finding{Headline: fmt.Sprintf("%d of %d posts are missing in the topic %s", len(lost), len(s.truth), b.Output),
		Evidence: []exercise.Evidence{b.missingEvidence(first)},
		Why: "The stream sent these events, and they are not in the topic: the program dropped them, or it ended its connection, or it " +
			"did not flush.",
		Hint: "Store every event whose `kind` is commit, also updates and deletes. Look at the errors that the producer reports for " +
			"each record. Flush before the end."}
	if none := slices.DeleteFunc(slices.Clone(Kinds), func(k string) bool { return kinds[k] > 0 }); len(none) > 0 && len(none) < len(Kinds) {
		f.Headline = fmt.Sprintf("no event of type %s is stored: %d of %d posts are missing", strings.Join(none, " or "), len(lost), len(s.truth))
		f.Why = "The program writes only some types of events. The field commit.operation has the type."
		f.Hint = "Write every event whose `kind` is commit, whatever its operation is."
	}
	if n := int(first.Index); n > 0 && items[n-1].Route != event.Data && len(lost) > len(items)/10 {
		f.Headline = fmt.Sprintf("nothing is stored after an %s event: %d of %d posts are missing", items[n-1].Kind, len(lost), len(s.truth))
		f.Why = "The program failed at an event that has no field commit. The stream sends account and identity events to every subscriber."
		f.Hint = "Look at the field `kind` first, and write only the events whose `kind` is commit."
	}
	return f
}

// keys checks that the key of every record is the author.
func (b *Bench) keys(s *comparison) *Finding {
	i := slices.IndexFunc(s.posts, func(p post) bool { return s.expected(&p) && string(p.Key) != p.author })
	got := "all"
	if i >= 0 {
		got = fmt.Sprintf("%q", short(string(s.posts[i].Key)))
	}
	if b.Check(i < 0, "the key of every record is the DID of its author", "all", got) {
		return nil
	}
	f := &Finding{Headline: fmt.Sprintf("a record has the key %s, not its author's DID", got),
		Evidence: []exercise.Evidence{evidenceOf("the first such record, by "+s.posts[i].author, s.posts[i].Record)},
		Why: "The key chooses the partition, and Kafka keeps the order only within a partition. With another key, the posts of one author " +
			"are in several partitions, and nobody can read them in order.",
		Hint: "Use the field did of the event as the key."}
	if len(s.posts[i].Key) == 0 {
		f.Headline = "a record has no key"
	}
	return f
}

// order checks that the posts of each author are in the order of the stream.
func (b *Bench) order(s *comparison) *Finding {
	before, after := s.disordered()
	if before == nil {
		b.Check(true, "the posts of an author are in one partition, in the order of the stream", "in order", "in order")
		return nil
	}
	if before.Partition != after.Partition {
		b.Check(false, "the posts of an author are in one partition", "one", fmt.Sprintf("%d and %d", before.Partition, after.Partition))
		return &Finding{
			Headline: fmt.Sprintf("the posts of one author are in partition %d and in partition %d", before.Partition, after.Partition),
			Evidence: []exercise.Evidence{evidenceOf("a post of the author", before.Record), evidenceOf("another post of the author", after.Record)},
			Why:      "Kafka keeps the order only within a partition.",
			Hint:     "Let the key choose the partition; do not set the partition yourself.",
		}
	}
	later, earlier := s.index[before.id], s.index[after.id]
	b.Check(false, "the posts of an author are in the order of the stream", "in order", fmt.Sprintf("event %d after event %d", earlier, later))
	return &Finding{
		Headline: fmt.Sprintf("two posts of one author are in the wrong order: event %d stands after event %d", earlier, later),
		Evidence: []exercise.Evidence{evidenceOf(fmt.Sprintf("event %d of the stream", later), before.Record),
			evidenceOf(fmt.Sprintf("event %d of the stream", earlier), after.Record)},
		Why:  "Records that are written by several threads, or again after an error, can overtake each other.",
		Hint: "Write from one thread, and switch enable.idempotence on.",
	}
}

// duplicated checks that no post is duplicated.
func (b *Bench) duplicated(s *comparison) *Finding {
	again := s.again(func(int64) bool { return false })
	if b.Check(len(again) == 0, "no post is duplicated", "0", fmt.Sprint(len(again))) {
		return nil
	}
	return &Finding{Headline: fmt.Sprintf("%d posts are duplicated", len(again)),
		Evidence: []exercise.Evidence{evidenceOf("a post", s.first[again[0].id].Record), evidenceOf("the same post again", again[0].Record)},
		Why:      "The stream sent every event once. A producer that repeats a request whose response was lost writes it twice.",
		Hint:     "Call produce once for each event, and switch enable.idempotence on."}
}

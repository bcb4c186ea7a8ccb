package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/exercise"
)

// badRecord is a record that cannot be counted.
type badRecord struct {
	*kgo.Record
	what string // such as "is empty"
}

// String names the record in a sentence.
func (b badRecord) String() string {
	return fmt.Sprintf("the record at offset %d of partition %d, whose value %s", b.Offset, b.Partition, b.what)
}

// badValues are the values that cannot be counted, made of a good one.
var badValues = []struct {
	what string
	make func(good string) []byte
}{
	{"is not JSON", func(string) []byte { return []byte("<event>not JSON</event>") }},
	{"is empty", func(string) []byte { return []byte{} }},
	{"is null", func(string) []byte { return nil }},
	{"is cut in the middle", func(good string) []byte { return []byte(good[:len(good)/2]) }},
	{"is binary", func(string) []byte { return []byte{0xff, 0xfe, 0x00, 0x01, 0x80, 'w', 0xc3} }},
	{"is a list and not an object", func(string) []byte { return []byte(`[1, 2, 3]`) }},
	{"is a number and not an object", func(string) []byte { return []byte(`42`) }},
	{"has no commit", func(good string) []byte { return []byte(strings.Replace(good, `"commit":{`, `"other":{`, 1)) }},
	{"has no operation", func(good string) []byte {
		before, after, _ := strings.Cut(good, `"operation":"`)
		_, after, _ = strings.Cut(after, `",`)
		return []byte(before + after)
	}},
}

// poisoned is what was seen of a program that got bad records.
type poisoned struct {
	bad       []badRecord
	output    []*kgo.Record
	want, got Counts
	early     Counts          // of want, those that were in the topic before the program started
	keys      []string        // keys in Redis that are no event types
	ends      map[int32]int64 // of the input
	committed map[int32]int64
	// ended says how the program ended before it was asked to, and stuck that it stopped
	// making progress; both are empty where neither happened.
	ended, stuck string
}

// sameRecord names a record in two topics.
func sameRecord(r *kgo.Record) string {
	return fmt.Sprintf("%q %t %q", r.Key, r.Value == nil, r.Value)
}

// hasReason reports whether a dead letter says what was wrong.
func hasReason(r *kgo.Record) bool {
	return slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "reason" && len(h.Value) > 0 })
}

// reasons is how many dead letters say what was wrong.
func (p *poisoned) reasons() (n int64) {
	for _, r := range p.output {
		if hasReason(r) {
			n++
		}
	}
	return n
}

// find returns the first thing that is wrong, nil for nothing.
func (p *poisoned) find() *Finding {
	byName := map[string][]*kgo.Record{}
	for _, r := range p.output {
		byName[sameRecord(r)] = append(byName[sameRecord(r)], r)
	}
	var missing []badRecord
	for _, b := range p.bad {
		if len(byName[sameRecord(b.Record)]) == 0 {
			missing = append(missing, b)
		}
	}
	if p.ended != "" || p.stuck != "" {
		return p.halted(missing)
	}
	if f := p.others(); f != nil {
		return f
	}
	if p.fromTheEnd() {
		return beganAtEnd(p.early.Sum(), "good events")
	}
	if len(missing) > 0 {
		return p.lacks(missing)
	}
	if f := p.written(byName); f != nil {
		return f
	}
	for _, operation := range Kinds {
		if p.got[operation] != p.want[operation] {
			return &Finding{
				Headline: fmt.Sprintf("Redis has %d for %q; the topic has %d good events of that type", p.got[operation], operation, p.want[operation]),
				Why:      "The bad records are in the dead-letter topic, but the good ones are not all counted exactly once.",
				Hint:     "Only the bad record may be skipped, not the rest of its batch, and no record may be handled twice.",
			}
		}
	}
	return p.uncommitted()
}

// fromTheEnd reports whether the counts are those of a program that began at the end of the topic:
// the early events are not counted, and at most those of a quarter of a second after them.
func (p *poisoned) fromTheEnd() bool {
	less := p.want.Minus(p.early).Minus(p.got)
	return p.early.Sum() > 0 && !less.Some(func(n int64) bool { return n < 0 }) && less.Sum() <= poisonRate/4
}

// lacks explains that bad records are not in the dead-letter topic.
func (p *poisoned) lacks(missing []badRecord) *Finding {
	f := &Finding{
		Headline: fmt.Sprintf("OUTPUT_TOPIC lacks %s: the first is %s", many(int64(len(missing)), "bad record"), missing[0]),
		Evidence: []exercise.Evidence{evidenceOf("the first bad record that is missing", missing[0].Record)},
		Why: "The program neither stopped at the record nor wrote it to the dead-letter topic, so the record is lost. " +
			"Nobody can repair it or find out where it came from.",
		Hint: "Write every value that is not an event to OUTPUT_TOPIC, with the same key and value and a header called reason. " +
			"Null and empty values, and JSON without an operation, are bad records, too.",
	}
	if len(p.keys) > 0 {
		f.Why = fmt.Sprintf("The program counted bad records as if they were good: Redis has %s. "+
			"Only create, update and delete are operations.", strings.Join(p.keys, ", "))
	}
	return f
}

// halted explains a program that stopped at a bad record.
func (p *poisoned) halted(missing []badRecord) *Finding {
	f := &Finding{Headline: "the program " + cmp.Or(p.ended, p.stuck),
		Why:  "A record that cannot be read stays in the topic. A program that stops at it stops at the same record after each restart.",
		Hint: "Catch the error of one record, write that record to OUTPUT_TOPIC with the reason, and go on with the next one."}
	for _, b := range missing { // the first of a partition is where it can have stopped
		if b.Offset >= p.committed[b.Partition] {
			f.Headline = fmt.Sprintf("the program %s. It did not get past %s", cmp.Or(p.ended, p.stuck), b)
			f.Evidence = []exercise.Evidence{evidenceOf("the first bad record that was not handled", b.Record)}
			break
		}
	}
	if len(missing) == 0 {
		f.Why = "All bad records are in the dead-letter topic, so something else ended it: see what it printed last."
		f.Hint = "Keep running until the program is asked to stop."
	}
	return f
}

// others finds records in the dead-letter topic that are no bad records.
func (p *poisoned) others() *Finding {
	known := map[string]bool{}
	keys, values := map[string]badRecord{}, map[string]badRecord{}
	for _, b := range p.bad {
		known[sameRecord(b.Record)] = true
		keys[string(b.Key)], values[string(b.Value)] = b, b
	}
	for _, r := range p.output {
		if known[sameRecord(r)] {
			continue
		}
		if b, ok := keys[string(r.Key)]; ok {
			return &Finding{
				Headline: fmt.Sprintf("the value of a record in OUTPUT_TOPIC differs from the bad record's: it is for %s", b),
				Evidence: []exercise.Evidence{evidenceOf("the bad record", b.Record), evidenceOf("the record in OUTPUT_TOPIC", r)},
				Why:      "Whoever repairs a dead letter needs the original bytes.",
				Hint:     "Write the value as it was read, without decoding it, and put the reason into a header.",
			}
		}
		if b, ok := values[string(r.Value)]; ok {
			return &Finding{
				Headline: fmt.Sprintf("a record in OUTPUT_TOPIC does not have the key of its bad record: %s", where(r)),
				Evidence: []exercise.Evidence{evidenceOf("the record in OUTPUT_TOPIC", r), evidenceOf("a bad record with this value", b.Record)},
				Why:      "The key says whose record it is. Without it, nobody finds the author, and the order of the key is lost.",
				Hint:     "Write the key of the bad record, too.",
			}
		}
		return &Finding{
			Headline: fmt.Sprintf("OUTPUT_TOPIC has a record that is not one of the bad records: %s", where(r)),
			Evidence: []exercise.Evidence{evidenceOf("the record in OUTPUT_TOPIC", r)},
			Why:      "It is a good event, or something that the program made itself.",
			Hint:     "Write only bad records to OUTPUT_TOPIC, each with its key and its value as they were read.",
		}
	}
	return nil
}

// written checks how the bad records were written.
func (p *poisoned) written(byName map[string][]*kgo.Record) *Finding {
	for _, b := range p.bad {
		all := byName[sameRecord(b.Record)]
		switch {
		case !hasReason(all[0]):
			return &Finding{
				Headline: fmt.Sprintf("a dead letter has no header called reason, or an empty one: it is for %s", b),
				Evidence: []exercise.Evidence{evidenceOf("the record in OUTPUT_TOPIC", all[0])},
				Why:      "Without the reason, whoever looks at the dead letter has to find the error again.",
				Hint:     "Add a header called reason with the text of the error.",
			}
		case len(all) > 1:
			return &Finding{
				Headline: fmt.Sprintf("OUTPUT_TOPIC has a bad record %d times: it is %s", len(all), b),
				Evidence: []exercise.Evidence{evidenceOf("the first one", all[0]), evidenceOf("the second one", all[1])},
				Why:      "The program read the record again, although nothing interrupted it.",
				Hint:     "Commit after a bad record, too, and do not read its batch again.",
			}
		}
	}
	return nil
}

// uncommitted finds a partition whose offsets were not committed to the end.
func (p *poisoned) uncommitted() *Finding {
	partition, ok := uncommitted(p.committed, p.ends)
	if !ok {
		return nil
	}
	committed := p.committed[partition]
	f := &Finding{
		Headline: fmt.Sprintf("the group committed offset %d of partition %d, which ends at %d", committed, partition, p.ends[partition]),
		Why:      "After a restart the program counts the rest again, and writes its bad records again.",
		Hint:     "Commit the offset after each record or batch, also when the last record is a bad one.",
	}
	for _, b := range p.bad {
		if b.Partition == partition && b.Offset == committed {
			f.Evidence = append(f.Evidence, evidenceOf("the record at the committed offset is a bad one", b.Record))
		}
	}
	return f
}

package judge

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dead makes a record of the dead-letter topic.
func dead(partition int32, offset int64, key, value, reason string) *kgo.Record {
	r := at("dead", partition, offset, key, value)
	r.Headers = []kgo.RecordHeader{{Key: "reason", Value: []byte(reason)}}
	return r
}

// rightPoisoned is what a right program leaves: of ten good events and three bad records.
func rightPoisoned() *poisoned {
	null, nullOut := at("in", 0, 1, "ann", ""), dead(2, 0, "ann", "", "null value")
	null.Value, nullOut.Value = nil, nil
	return &poisoned{
		bad: []badRecord{{null, "is null"}, {at("in", 1, 3, "bob", ""), "is empty"}, {at("in", 1, 4, "cay", "x"), "is not JSON"}},
		output: []*kgo.Record{nullOut, dead(2, 1, "bob", "", "empty value"),
			dead(3, 0, "cay", "x", "not JSON")},
		want: Counts{"create": 7, "update": 2, "delete": 1}, got: Counts{"create": 7, "update": 2, "delete": 1},
		early: Counts{"create": 2, "update": 1},
		ends:  map[int32]int64{0: 8, 1: 5}, committed: map[int32]int64{0: 8, 1: 5},
	}
}

func TestPoisonFinds(t *testing.T) {
	t.Parallel()
	const firstBad = "the record at offset 1 of partition 0, whose value is null"
	for name, c := range map[string]struct {
		change func(p *poisoned)
		want   said
	}{
		"a right program": {func(*poisoned) {}, said{}},
		"a null record is skipped": {func(p *poisoned) { p.output = p.output[1:] }, said{
			"OUTPUT_TOPIC lacks 1 bad record: the first is " + firstBad, "the record is lost", "Null and empty values", []string{"in 0/1"}}},
		"bad records are counted as good": {func(p *poisoned) { p.output, p.keys = p.output[:1], []string{"unknown = 2"} }, said{
			"OUTPUT_TOPIC lacks 2 bad records: the first is the record at offset 3 of partition 1, whose value is empty",
			"Redis has unknown = 2", "JSON without an operation", []string{"in 1/3"}}},
		"null becomes empty": {func(p *poisoned) { p.output[0].Value = []byte{} }, said{
			"the value of a record in OUTPUT_TOPIC differs from the bad record's: it is for " + firstBad,
			"original bytes", "as it was read", []string{"in 0/1", "dead 2/0"}}},
		"empty becomes null": {func(p *poisoned) { p.output[1].Value = nil }, said{
			"the value of a record in OUTPUT_TOPIC differs from the bad record's: " +
				"it is for the record at offset 3 of partition 1, whose value is empty", "original bytes", "", []string{"in 1/3", "dead 2/1"}}},
		"the value is decoded": {func(p *poisoned) { p.output[2].Value = []byte("'x'") }, said{
			"the value of a record in OUTPUT_TOPIC differs from the bad record's: " +
				"it is for the record at offset 4 of partition 1, whose value is not JSON", "", "without decoding", []string{"in 1/4", "dead 3/0"}}},
		"the key is missing": {func(p *poisoned) { p.output[2].Key = nil }, said{
			"a record in OUTPUT_TOPIC does not have the key of its bad record: offset 0 of partition 3",
			"whose record it is", "Write the key", []string{"dead 3/0", "in 1/4"}}},
		"a good event is there": {func(p *poisoned) { p.output = append(p.output, dead(3, 1, "dan", "{}", "no")) }, said{
			"OUTPUT_TOPIC has a record that is not one of the bad records: offset 1 of partition 3",
			"a good event", "only bad records", []string{"dead 3/1"}}},
		"no header": {func(p *poisoned) { p.output[1].Headers = nil }, said{
			"a dead letter has no header called reason, or an empty one: it is for the record at offset 3 of partition 1, whose value is empty",
			"find the error again", "header called reason", []string{"dead 2/1"}}},
		"an empty reason": {func(p *poisoned) { p.output[0].Headers[0].Value = nil }, said{
			"a dead letter has no header called reason, or an empty one: it is for " + firstBad, "", "the text of the error", []string{"dead 2/0"}}},
		"another header": {func(p *poisoned) { p.output[0].Headers[0].Key = "error" }, said{
			"a dead letter has no header called reason, or an empty one: it is for " + firstBad, "", "", []string{"dead 2/0"}}},
		"a bad record twice": {func(p *poisoned) { p.output = append(p.output, dead(3, 1, "cay", "x", "not JSON")) }, said{
			"OUTPUT_TOPIC has a bad record 2 times: it is the record at offset 4 of partition 1, whose value is not JSON",
			"read the record again", "Commit after a bad record", []string{"dead 3/0", "dead 3/1"}}},
		"a good event is not counted": {func(p *poisoned) { p.got["create"] = 6 }, said{
			`Redis has 6 for "create"; the topic has 7 good events of that type`, "not all counted", "Only the bad record may be skipped", nil}},
		"nothing is counted": {func(p *poisoned) { p.want, p.got = Counts{"create": 200, "update": 1}, Counts{} }, said{
			`Redis has 0 for "create"; the topic has 200 good events of that type`, "not all counted", "", nil}},
		"it begins at the end": {func(p *poisoned) { p.got, p.output = Counts{"create": 5, "update": 1, "delete": 1}, p.output[1:] }, said{
			"the program counted none of the 3 good events that were in the topic before it started",
			"auto.offset.reset", "earliest", nil}},
		"it ends at a bad record": {func(p *poisoned) {
			p.ended, p.output, p.committed = "ended by itself after 1.0 s, with exit code 1: no", nil, map[int32]int64{0: 1, 1: 0}
		}, said{"the program ended by itself after 1.0 s, with exit code 1: no. It did not get past " + firstBad,
			"stops at the same record after each restart", "Catch the error", []string{"in 0/1"}}},
		"it ends at a later bad record": {func(p *poisoned) {
			p.ended, p.output, p.committed = "ended", nil, map[int32]int64{0: 2, 1: 4}
		}, said{"the program ended. It did not get past the record at offset 4 of partition 1, whose value is not JSON",
			"", "", []string{"in 1/4"}}},
		"it ends for another reason": {func(p *poisoned) { p.ended = "ended" }, said{
			"the program ended", "something else ended it", "until the program is asked to stop", nil}},
		"it stops at a bad record": {func(p *poisoned) {
			p.stuck, p.output, p.committed = "makes no progress", p.output[1:], map[int32]int64{0: 1, 1: 5}
		}, said{"the program makes no progress. It did not get past " + firstBad, "", "", []string{"in 0/1"}}},
		"the last offset is not committed": {func(p *poisoned) { p.committed[1] = 4 }, said{
			"the group committed offset 4 of partition 1, which ends at 5", "counts the rest again", "also when the last record is a bad one",
			[]string{"in 1/4"}}},
		"no offset is committed": {func(p *poisoned) { p.committed = nil }, said{
			"the group committed offset 0 of partition 0, which ends at 8", "", "", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := rightPoisoned()
			c.change(p)
			mustFind(t, p.find(), c.want)
		})
	}
}

// The stream of the exercise has what its text promises.
func TestPoisonStream(t *testing.T) {
	t.Parallel()
	if poisonFirst >= poisonEvery {
		t.Error("a bad record is in the topic before the program starts, and can end it before a sign of it is seen")
	}
	if poisonEvents%poisonEvery != 0 {
		t.Error("the last record is a good one, so a program may forget to commit after a bad one")
	}
	if poisonEvents/poisonEvery < len(badValues) {
		t.Errorf("only %d of %d kinds of bad records are written", poisonEvents/poisonEvery, len(badValues))
	}
}

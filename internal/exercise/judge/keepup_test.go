package judge

import (
	"errors"
	"testing"
	"time"
)

// rightWorked is what a right program leaves: of three events of two authors in partition 0, and two of one
// author in partition 1. Each result arrives 20 ms after its event.
func rightWorked() *worked {
	w := &worked{}
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, e := range []struct {
		partition int32
		offset    int64
		key       string
	}{{0, 0, "ann"}, {0, 1, "bob"}, {0, 2, "ann"}, {1, 0, "cay"}, {1, 1, "cay"}} {
		sent := begun.Add(time.Duration(i) * time.Millisecond)
		value := "event " + string('a'+rune(i))
		w.input, w.sent = append(w.input, at("in", e.partition, e.offset, e.key, value)), append(w.sent, sent)
		w.output = append(w.output, arrived{at("out", e.partition, e.offset, e.key, value), sent.Add(20 * time.Millisecond)})
	}
	w.polls = []offsets{
		{map[int32]int64{0: 1}, map[int32]int64{0: 1}},
		{map[int32]int64{0: 3, 1: 2}, map[int32]int64{0: 3, 1: 2}},
	}
	return w
}

func TestKeepUpFinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *worked)
		want   said
	}{
		"a right program":     {func(*worked) {}, said{}},
		"memory at the limit": {func(w *worked) { w.grown = 128 << 20 }, said{}},
		"results of different keys change places": {func(w *worked) {
			w.output[0], w.output[1] = w.output[1], w.output[0]
			w.output[0].Offset, w.output[1].Offset = 0, 1
			w.polls = w.polls[1:]
		}, said{}},
		"the value is changed": {func(w *worked) { w.output[1].Value = []byte("'event b'") }, said{
			"OUTPUT_TOPIC has a value that no event has: offset 1 of partition 0", "byte for byte", "without decoding", []string{"out 0/1"}}},
		"the key is missing": {func(w *worked) { w.output[1].Key = nil }, said{
			`a record in OUTPUT_TOPIC has the key ""; its event has "bob"`, "same key", "the key of its event", []string{"in 0/1", "out 0/1"}}},
		"two results of an event": {func(w *worked) {
			again := w.output[2]
			again.Record = at("out", 0, 3, "ann", "event c")
			w.output = append(w.output, again)
		}, said{"the event at offset 2 of partition 0 is in OUTPUT_TOPIC twice", "worked on the event twice", "one worker only",
			[]string{"out 0/2", "out 0/3"}}},
		"no work": {func(w *worked) { w.output[3].at = w.sent[3].Add(9 * time.Millisecond) }, said{
			"the program did not work 10 ms on the event at offset 0 of partition 1: its result was there after 9.0 ms",
			"10 ms of work", "a sleep of 10 ms", []string{"in 1/0", "out 1/0"}}},
		"two partitions for a key": {func(w *worked) { w.output[2].Partition, w.output[2].Offset = 1, 2 }, said{
			"the results of ann are in two partitions, 0 and 1", "only within a partition", "by the key", []string{"out 1/2"}}},
		"the order of a key is lost": {func(w *worked) {
			w.output[0], w.output[2] = w.output[2], w.output[0]
			w.output[0].Offset, w.output[2].Offset = 0, 2
		}, said{"the order of ann is lost: the result of its later event comes first", "Two workers had events of the same author",
			"one job for each key", []string{"in 0/0", "in 0/2", "out 0/0"}}},
		"two events in a row change places": {func(w *worked) {
			w.output[3], w.output[4] = w.output[4], w.output[3]
			w.output[3].Offset, w.output[4].Offset = 0, 1
		}, said{"the order of cay is lost: the result of its later event comes first", "", "by the key", []string{"in 1/0", "in 1/1", "out 1/0"}}},
		"an offset is committed before the result": {func(w *worked) { w.polls[0].ends[0] = 0 }, said{
			"the group committed offset 1 of partition 0 before the event at offset 0 was done", "the event is lost", "Turn automatic commits off",
			[]string{"in 0/0", "out 0/0"}}},
		"an offset is committed without a result": {func(w *worked) { w.output, w.late = w.output[:3], 2 }, said{
			"the group committed offset 2 of partition 1 before the event at offset 0 was done", "the event is lost", "", []string{"in 1/0"}}},
		"it is too slow": {func(w *worked) { w.output, w.polls, w.late = w.output[:1], w.polls[:1], 4 }, said{
			"the program does not keep up: 5 s after the last event, 4 events of 5 were not done", "This program did 1 in all", "20 workers", nil}},
		"nothing is committed": {func(w *worked) { w.polls = nil }, said{
			"the group committed offset 0 of partition 0; all events before offset 3 were done 12 s ago or earlier",
			"does all of that work again", "Commit after each batch", nil}},
		"the last batch is not committed": {func(w *worked) { delete(w.polls[1].committed, 1) }, said{
			"the group committed offset 0 of partition 1; all events before offset 2 were done 12 s ago or earlier", "", "", nil}},
		"memory without a bound": {func(w *worked) { w.grown = 129 << 20 }, said{
			"the memory of the program grew by 129 MiB while 187 MiB of events of one author arrived", "keeps what it has read",
			"a queue with a limit", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rightWorked()
			c.change(w)
			mustFind(t, w.find(), c.want)
		})
	}
}

// Without a result of the first event, a program that was in the group is wrong. One that was not may
// use the default ports, when this check does not have them.
func TestKeepUpNoResult(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		defaults, joined bool
		headline         string
		unclear          bool
	}{
		{true, true, "the first event had no result after 45s", false},
		{false, true, "the first event had no result after 45s", false},
		{true, false, "the program joined no consumer group within 45s", false},
		{false, false, "the program did not join a group of the private cluster within 45s", true},
	} {
		err := (&Bench{defaults: c.defaults}).noResult(c.joined)
		u, unclear := errors.AsType[*Unclear](err)
		if err.Error() != c.headline || unclear != c.unclear {
			t.Errorf("with the default ports %t, in a group %t: %q, inconclusive %t; want %q, %t",
				c.defaults, c.joined, err, unclear, c.headline, c.unclear)
		}
		if unclear && u.Hint == "" {
			t.Error("an inconclusive check has no hint")
		}
	}
}

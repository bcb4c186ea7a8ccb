package judge

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// windowBegin is 2026-01-01 00:00:00 UTC.
const windowBegin = 1_767_225_600

// rightWindowed is what a right program leaves of six events. The fourth is late: it happened in the first
// window, and arrives after an event of the second one.
func rightWindowed() *windowed {
	w := &windowed{early: 1}
	for i, e := range []struct {
		second    int64
		operation string
	}{{0, "create"}, {9, "create"}, {10, "update"}, {4, "delete"}, {19, "create"}, {20, "create"}} {
		w.events = append(w.events, makeEvent(i, i, e.operation, (windowBegin+e.second)*1e6, ""))
		w.input = append(w.input, at("in", int32(i%2), int64(i), fmt.Sprint("author ", i), ""))
	}
	w.output = []*kgo.Record{
		result(0, 0, 0, `"create": 2`), result(0, 1, 0, `"create": 2, "delete": 1`),
		result(1, 0, 10, `"update": 1, "create": 1, "delete": 0`), result(1, 1, 20, `"create": 1`),
	}
	return w
}

// result makes a record of the output, for the window that starts some seconds after the beginning.
func result(partition int32, offset, second int64, counts string) *kgo.Record {
	start := windowBegin + second
	return at("out", partition, offset, fmt.Sprint(start), fmt.Sprintf(`{"start": %d, "counts": {%s}}`, start, counts))
}

func TestWindowFinds(t *testing.T) {
	t.Parallel()
	const notResult = "the record at offset 0 of partition 1 of OUTPUT_TOPIC is not a result: "
	for name, c := range map[string]struct {
		change func(w *windowed)
		want   said
		right  int // of three windows
	}{
		"a right program":         {func(*windowed) {}, said{}, 3},
		"an empty window as well": {func(w *windowed) { w.output = append(w.output, result(2, 0, 50, `"create": 0`)) }, said{}, 3},
		"nothing is written": {func(w *windowed) { w.output = nil }, said{
			"OUTPUT_TOPIC has no window", "wrote no result", "once a second", nil}, 0},
		"windows of its own clock": {func(w *windowed) { w.output = []*kgo.Record{result(0, 0, 300, `"create": 6`)} }, said{
			"the window with the key 1767225900 (2026-01-01 00:05:00) has 6 events, but nothing happened then",
			"processing time", "1,000,000", []string{"out 0/0"}}, 0},
		"it writes only at the end": {func(w *windowed) { w.silent = true }, said{
			"the program wrote no window until it was asked to end", "a crash loses them all", "once a second", nil}, 3},
		"it begins at the end": {func(w *windowed) {
			w.output = []*kgo.Record{result(0, 0, 0, `"delete": 1`), result(1, 0, 10, `"create": 1`), result(1, 1, 20, `"create": 1`)}
		}, said{"the program counted none of the 1 events that were in the topic before it started", "auto.offset.reset", "earliest", nil}, 1},
		"windows that are rounded": {func(w *windowed) { w.output = append(w.output, result(0, 2, 30, `"create": 1`)) }, said{
			"the window with the key 1767225630 (2026-01-01 00:00:30) has 1 event, but nothing happened then",
			"in the windows from 1767225600 to 1767225620", "floor", []string{"out 0/2"}}, 3},
		"windows before the events": {func(w *windowed) { w.output = append(w.output, result(0, 2, -10, `"create": 1`)) }, said{
			"the window with the key 1767225590 (2025-12-31 23:59:50) has 1 event, but nothing happened then",
			"in the windows from 1767225600 to 1767225620", "1,000,000", []string{"out 0/2"}}, 3},
		"windows of milliseconds": {func(w *windowed) {
			w.output = []*kgo.Record{at("out", 0, 0, "1767225600000", `{"start": 1767225600000, "counts": {"create": 1}}`)}
		}, said{"the window with the key 1767225600000 (57971-02-25 00:00:00) has 1 event, but nothing happened then",
			"in the windows from 1767225600 to 1767225620", "microseconds", []string{"out 0/0"}}, 0},
		"late events are dropped": {func(w *windowed) { w.output = append(w.output[:1], w.output[2:]...) }, said{
			"the window 00:00:00 UTC has 2 events; 3 happened in it", "closes a window as soon as a later one begins",
			"add late events", []string{"out 0/0", "in 1/3"}}, 2},
		"more than the late events are missing": {func(w *windowed) { w.output[1] = result(0, 1, 0, `"create": 1`) }, said{
			"the window 00:00:00 UTC has 1 event; 3 happened in it", "later window are missing. Partitions are read",
			"add late events", []string{"out 0/1", "in 1/3"}}, 2},
		"only what is new": {func(w *windowed) { w.output[1] = result(0, 1, 0, `"delete": 1`) }, said{
			"the last record of the window 00:00:00 UTC has only a part of its events", "The 2 records of this window are right only",
			"write the whole of them again", []string{"out 0/1"}}, 2},
		"an event twice": {func(w *windowed) { w.output[3] = result(1, 1, 20, `"create": 2`) }, said{
			"the window 00:00:20 UTC has 2 events; 1 happened in it", "more than once",
			"once, in the window of its time_us", []string{"out 1/1"}}, 2},
		"another operation": {func(w *windowed) { w.output[3] = result(1, 1, 20, `"app.bsky.feed.post": 1`) }, said{
			"the window 00:00:20 UTC has the right number of events, but the wrong types", "commit.operation", "operation of the commit",
			[]string{"out 1/1"}}, 2},
		"the last window is not written": {func(w *windowed) { w.output = w.output[:3] }, said{
			"OUTPUT_TOPIC has no result for the window 00:00:20 UTC, in which 1 event happened", "Events are missing",
			"before the program ends", nil}, 2},
		"the last events are not written": {func(w *windowed) { w.output[2] = result(1, 0, 10, `"update": 1`) }, said{
			"the window 00:00:10 UTC has 1 event; 2 happened in it", "before they were counted",
			"whenever its counts have changed", []string{"out 1/0"}}, 2},
		"no key": {func(w *windowed) { w.output[2].Key = nil }, said{
			notResult + "its key is not a number", "by its key", "Unix seconds", []string{"out 1/0"}}, 0},
		"the key is the number of the window": {func(w *windowed) { w.output[2].Key = []byte("176722561") }, said{
			notResult + "its key 176722561 is not a multiple of 10", "", "* 10", []string{"out 1/0"}}, 0},
		"another value": {func(w *windowed) { w.output[2].Value = []byte(`{"update": 1, "create": 1}`) }, said{
			notResult + `its value is not {"start": ..., "counts": {...}}`, "", "Write JSON", []string{"out 1/0"}}, 0},
		"another start": {func(w *windowed) { w.output[2].Key = []byte("1767225620") }, said{
			notResult + "its key is 1767225620 and its start 1767225610", "", "Both are the start", []string{"out 1/0"}}, 0},
		"a window in two partitions": {func(w *windowed) { w.output[2] = result(1, 0, 0, `"create": 2, "delete": 1`) }, said{
			notResult + "other records with the key 1767225600 are in partition 0", "", "choose the partition", []string{"out 1/0"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rightWindowed()
			c.change(w)
			mustFind(t, w.find(), c.want)
			if right, of := w.right(); right != c.right || of != 3 {
				t.Errorf("%d of %d windows are right, want %d of 3", right, of, c.right)
			}
		})
	}
}

package judge

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/exercise"
)

// windowSeconds is the size of a window.
const windowSeconds = 10

// A program runs at least windowBefore after the events, and at most windowToday, in seconds.
const (
	windowBefore = 2 * 60
	windowToday  = 24 * 60 * 60
)

// windowResult is the value of a record of the output.
type windowResult struct {
	Start  int64  `json:"start"`
	Counts Counts `json:"counts"` // by operation, which a wrong program chooses itself
}

// windowed is what was seen of a program that counts windows.
type windowed struct {
	events []made        // in the order in which they were written
	input  []*kgo.Record // the same
	output []*kgo.Record // in the order of each partition
	early  int           // how many events were in the topic before the program started
	silent bool          // the program wrote nothing until it was asked to end
}

// startOf is the window of an event.
func startOf(timeUS int64) int64 { return timeUS / 1e6 / windowSeconds * windowSeconds }

// utc shows the start of a window.
func utc(start int64) string { return time.Unix(start, 0).UTC().Format(time.TimeOnly) + " UTC" }

// truth is what the windows must have, and what they have without the events that arrived
// after an event of a later window in the same partition.
func (w *windowed) truth() (all, punctual map[int64]Counts, late map[int64]*kgo.Record) {
	all, punctual, late = map[int64]Counts{}, map[int64]Counts{}, map[int64]*kgo.Record{}
	newest := int64(0)
	for i, e := range w.events {
		start := startOf(e.timeUS)
		for _, m := range []map[int64]Counts{all, punctual} {
			if m[start] == nil {
				m[start] = Counts{}
			}
		}
		all[start][e.operation]++
		newest = max(newest, start)
		if start == newest {
			punctual[start][e.operation]++
		} else if late[start] == nil {
			late[start] = w.input[i]
		}
	}
	return all, punctual, late
}

// results reads the output: the last record of each window, and the first one that is wrong.
func (w *windowed) results() (map[int64]*kgo.Record, map[int64]windowResult, *Finding) {
	last, results := map[int64]*kgo.Record{}, map[int64]windowResult{}
	for _, r := range w.output {
		start, err := strconv.ParseInt(string(r.Key), 10, 64)
		if err != nil {
			return nil, nil, misread(r, "its key is not a number", "The key is the start of the window in Unix seconds, as decimal digits.")
		}
		if start%windowSeconds != 0 {
			return nil, nil, misread(r, fmt.Sprintf("its key %d is not a multiple of 10", start), "A window begins at floor(seconds / 10) * 10.")
		}
		var result windowResult
		if err := json.Unmarshal(r.Value, &result); err != nil || result.Counts == nil {
			return nil, nil, misread(r, `its value is not {"start": ..., "counts": {...}}`,
				`Write JSON such as {"start": 1767225600, "counts": {"create": 12}}.`)
		}
		if result.Start != start {
			return nil, nil, misread(r, fmt.Sprintf("its key is %d and its start %d", start, result.Start), "Both are the start of the window.")
		}
		if before := last[start]; before != nil && before.Partition != r.Partition {
			return nil, nil, misread(r, fmt.Sprintf("other records with the key %d are in partition %d", start, before.Partition),
				"Only in one partition the last record is known. Do not choose the partition yourself: the client chooses it by the key.")
		}
		last[start], results[start] = r, result
	}
	return last, results, nil
}

// misread explains a record of the output that has the wrong form.
func misread(r *kgo.Record, what, hint string) *Finding {
	return &Finding{
		Headline: fmt.Sprintf("the record at offset %d of partition %d of OUTPUT_TOPIC is not a result: %s", r.Offset, r.Partition, what),
		Evidence: []exercise.Evidence{evidenceOf("the record", r)},
		Why:      "Programs that read the results find a window by its key, and take the last record of each.", Hint: hint,
	}
}

// right reports how many windows are right, of how many.
func (w *windowed) right() (right, of int) {
	all, _, _ := w.truth()
	_, results, _ := w.results()
	for start, want := range all {
		if sameCounts(results[start].Counts, want) {
			right++
		}
	}
	return right, len(all)
}

// sameCounts compares counts; an operation that is absent is 0.
func sameCounts(a, b Counts) bool {
	for _, m := range []Counts{a, b} {
		for operation := range m {
			if a[operation] != b[operation] {
				return false
			}
		}
	}
	return true
}

// find returns the first thing that is wrong, nil for nothing.
func (w *windowed) find() *Finding {
	last, results, f := w.results()
	if f != nil {
		return f
	}
	if len(results) == 0 {
		return &Finding{Headline: "OUTPUT_TOPIC has no window", Why: "The program wrote no result, although all events were there for seconds.",
			Hint: "Write each window that has changed about once a second, and wait until the client has written it (flush)."}
	}
	if w.silent {
		return &Finding{Headline: "the program wrote no window until it was asked to end",
			Why:  "A stream has no end. Until the program is stopped, nobody sees a result, and a crash loses them all.",
			Hint: "Write each window that has changed about once a second."}
	}
	all, punctual, late := w.truth()
	for _, start := range slices.Sorted(maps.Keys(results)) {
		if all[start] == nil && results[start].Counts.Sum() > 0 {
			return w.strange(start, last[start])
		}
	}
	for _, start := range slices.Sorted(maps.Keys(all)) {
		if got, want := results[start].Counts, all[start]; !sameCounts(got, want) {
			if f := w.parts(start, want, last[start]); f != nil {
				return f
			}
			if w.fromTheEnd(results) {
				return beganAtEnd(int64(w.early), "events")
			}
			return miscounted(start, got, want, punctual[start], last[start], late[start])
		}
	}
	return nil
}

// fromTheEnd reports whether the results are those of a program that began at the end of the topic: they
// have none of the early events, and all of the second half.
func (w *windowed) fromTheEnd(results map[int64]windowResult) bool {
	if w.early == 0 {
		return false
	}
	most, _, _ := (&windowed{events: w.events[w.early:], input: w.input[w.early:]}).truth()
	half := len(w.events) / 2
	least, _, _ := (&windowed{events: w.events[half:], input: w.input[half:]}).truth()
	covers := func(more, less Counts) bool {
		for operation, n := range less {
			if more[operation] < n {
				return false
			}
		}
		return true
	}
	for start, result := range results {
		if !covers(most[start], result.Counts) {
			return false
		}
	}
	for start, counts := range least {
		if !covers(results[start].Counts, counts) {
			return false
		}
	}
	return true
}

// parts explains a window whose records are right only together; nil where they are not.
func (w *windowed) parts(start int64, want Counts, last *kgo.Record) *Finding {
	sum, records := Counts{}, 0
	for _, r := range w.output {
		if result := resultOf(r); string(r.Key) == strconv.FormatInt(start, 10) {
			records++
			for operation, n := range result.Counts {
				sum[operation] += n
			}
		}
	}
	if records < 2 || !sameCounts(sum, want) {
		return nil
	}
	return &Finding{
		Headline: fmt.Sprintf("the last record of the window %s has only a part of its events", utc(start)),
		Evidence: []exercise.Evidence{evidenceOf("the last result of the window", last)},
		Why: fmt.Sprintf("The program writes only what is new since its last record of a window. The %d records of this window are right "+
			"only when they are added. But a reader takes the last one, and a compacted topic keeps only that.", records),
		Hint: "Keep the counts of each window after you have written them, and write the whole of them again.",
	}
}

// strange explains a window in which nothing happened.
func (w *windowed) strange(start int64, r *kgo.Record) *Finding {
	f := &Finding{
		Headline: fmt.Sprintf("the window with the key %d (%s) has %s, but nothing happened then",
			start, time.Unix(start, 0).UTC().Format(time.DateTime), many(resultOf(r).Counts.Sum(), "event")),
		Evidence: []exercise.Evidence{evidenceOf("the result", r)},
		Hint:     "Take time_us of the value, which is in microseconds: floor(time_us / 1,000,000 / 10) * 10.",
	}
	oldest, newest := int64(math.MaxInt64), int64(0)
	for _, e := range w.events {
		oldest, newest = min(oldest, startOf(e.timeUS)), max(newest, startOf(e.timeUS))
	}
	f.Why = fmt.Sprintf("The window is not that of the events' time_us: they happened in the windows from %d to %d.", oldest, newest)
	if start > newest+windowBefore/2 && start < newest+windowToday {
		f.Why = "The program uses the time at which it reads an event (processing time), and not the time at which the event " +
			"happened (event time). Then the counts depend on when the program runs: after a restart, old events count as new."
	}
	return f
}

func resultOf(r *kgo.Record) (result windowResult) {
	_ = json.Unmarshal(r.Value, &result) // results has checked it
	return result
}

// miscounted explains a window whose counts are wrong.
func miscounted(start int64, got, want, punctual Counts, r, late *kgo.Record) *Finding {
	f := &Finding{Headline: fmt.Sprintf("the window %s has %s; %d happened in it", utc(start), many(got.Sum(), "event"), want.Sum())}
	if r == nil {
		f.Headline = fmt.Sprintf("OUTPUT_TOPIC has no result for the window %s, in which %s happened", utc(start), many(want.Sum(), "event"))
	} else {
		f.Evidence = append(f.Evidence, evidenceOf("the last result of the window", r))
	}
	switch {
	case got.Sum() > want.Sum():
		f.Why = "Events are counted more than once, or in the wrong window."
		f.Hint = "Count each event once, in the window of its time_us."
	case got.Sum() == want.Sum():
		f.Headline = fmt.Sprintf("the window %s has the right number of events, but the wrong types", utc(start))
		f.Why, f.Hint = "The counts go by commit.operation: create, update and delete.", "Use the operation of the commit as the name."
	case late != nil && r != nil:
		f.Evidence = append(f.Evidence, evidenceOf("the first event of this window that arrived after an event of a later window", late))
		f.Why = "Events that arrive after those of a later window are missing. "
		if sameCounts(got, punctual) {
			f.Why += "The program closes a window as soon as a later one begins. "
		}
		f.Why += "Partitions are read at different speeds and events arrive late, so a newer event does not mean that a window is complete."
		f.Hint = "Keep the counts of each window, add late events to them, and write the window again: the last record of a window counts."
	default:
		f.Why = "Events are missing, or the last result was written before they were counted."
		f.Hint = "Read from the beginning of the topic, and write a window again whenever its counts have changed, also before the program ends."
	}
	return f
}

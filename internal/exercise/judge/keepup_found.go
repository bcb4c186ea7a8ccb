package judge

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/exercise"
)

// The work of the exercise keep-up.
const (
	keepUpWork   = 10 * time.Millisecond // for each event
	keepUpMemory = 128 << 20             // bytes that the resident memory may grow by in the flood
)

// offsets is what was committed and written at one moment, by partition. The ends of the
// output were asked for after the committed offsets.
type offsets struct {
	committed, ends map[int32]int64
}

// worked is what was seen of a program that works 10 ms for each event.
type worked struct {
	input  []*kgo.Record // in the order in which they were written
	sent   []time.Time   // when each was written, before the broker had it
	output []arrived     // in the order of each partition
	polls  []offsets
	late   int64 // how many events were not done at the deadline
	grown  int64 // bytes of resident memory in the flood
}

// position of an event in a partition.
type position struct {
	partition int32
	offset    int64
}

// find returns the first thing that is wrong, nil for nothing.
func (w *worked) find() *Finding {
	index := make(map[string]int, len(w.input)) // by value
	for i, r := range w.input {
		index[string(r.Value)] = i
	}
	if f := w.records(index); f != nil {
		return f
	}
	if f := w.early(index); f != nil {
		return f
	}
	if w.late > 0 {
		done := int64(len(w.input)) - w.late
		return &Finding{
			Headline: fmt.Sprintf("the program does not keep up: %.0f s after the last event, %s of %d were not done",
				keepUpDeadline.Seconds(), many(w.late, "event"), len(w.input)),
			Why: fmt.Sprintf("1,000 events arrive each second, and each takes 10 ms: that is 10 seconds of work a second. "+
				"One event after the other is 100 a second, one for each partition is 600. This program did %d in all, and the lag only grows.", done),
			Hint: "Work on many events at a time, with 20 workers or more. Give all events of a key to the same worker, so that their order stays.",
		}
	}
	if f := w.uncommitted(); f != nil {
		return f
	}
	if w.grown > keepUpMemory {
		return &Finding{
			Headline: fmt.Sprintf("the memory of the program grew by %d MiB while 187 MiB of events of one author arrived", w.grown>>20),
			Why: "Events of one key can only be done one after the other. The program goes on reading meanwhile, and keeps what it has read " +
				"in memory. With enough backlog it ends for lack of memory.",
			Hint: "Bound what is read and not done: poll the next records only when there is room, or use a queue with a limit. " +
				"The rest waits in Kafka. Also limit what the client reads ahead: queued.max.messages.kbytes in Python, kgo.FetchMaxBytes in Go.",
		}
	}
	return nil
}

// records checks each record of the output: its value, its key, its order and its time.
func (w *worked) records(index map[string]int) *Finding {
	first := make([]*arrived, len(w.input))
	last := map[string]int{}        // by key: the latest event
	partition := map[string]int32{} // by key
	for i := range w.output {
		r := &w.output[i]
		n, ok := index[string(r.Value)]
		if !ok {
			return &Finding{
				Headline: fmt.Sprintf("OUTPUT_TOPIC has a value that no event has: offset %d of partition %d", r.Offset, r.Partition),
				Evidence: []exercise.Evidence{evidenceOf("the record in OUTPUT_TOPIC", r.Record)},
				Why:      "The value has to be that of the event, byte for byte.", Hint: "Write the value as it was read, without decoding it.",
			}
		}
		in, key := w.input[n], string(r.Key)
		switch before, known := last[key], partition[key]; {
		case key != string(in.Key):
			return &Finding{
				Headline: fmt.Sprintf("a record in OUTPUT_TOPIC has the key %q; its event has %q", short(key), in.Key),
				Evidence: []exercise.Evidence{evidenceOf("the event", in), evidenceOf("the record in OUTPUT_TOPIC", r.Record)},
				Why:      "The order of an author's events is kept only when they have the same key, and so the same partition.",
				Hint:     "Write each record with the key of its event.",
			}
		case first[n] != nil:
			return &Finding{
				Headline: fmt.Sprintf("the event at offset %d of partition %d is in OUTPUT_TOPIC twice", in.Offset, in.Partition),
				Evidence: []exercise.Evidence{evidenceOf("the first record", first[n].Record), evidenceOf("the second record", r.Record)},
				Why:      "Nothing interrupted the program, so it worked on the event twice.", Hint: "Give each event to one worker only.",
			}
		case r.at.Sub(w.sent[n]) < keepUpWork:
			return &Finding{
				Headline: fmt.Sprintf("the program did not work 10 ms on the event at offset %d of partition %d: its result was there after %.1f ms",
					in.Offset, in.Partition, r.at.Sub(w.sent[n]).Seconds()*1000),
				Evidence: []exercise.Evidence{evidenceOf("the event", in), evidenceOf("its result", r.Record)},
				Why:      "Each event takes 10 ms of work.", Hint: "Call work (a sleep of 10 ms) for each event before its result is written.",
			}
		case before > 0 && known != r.Partition:
			return &Finding{
				Headline: fmt.Sprintf("the results of %s are in two partitions, %d and %d", key, known, r.Partition),
				Evidence: []exercise.Evidence{evidenceOf("the result in the other partition", r.Record)},
				Why:      "Kafka keeps the order only within a partition.",
				Hint:     "Do not choose the partition yourself: the client chooses it by the key.",
			}
		case before > n+1:
			return w.disordered(n, before-1, first)
		}
		first[n], last[key], partition[key] = r, n+1, r.Partition
	}
	return nil
}

// disordered explains two results of a key in the wrong order.
func (w *worked) disordered(n, later int, first []*arrived) *Finding {
	return &Finding{
		Headline: fmt.Sprintf("the order of %s is lost: the result of its later event comes first", w.input[n].Key),
		Evidence: []exercise.Evidence{
			evidenceOf("the earlier event", w.input[n]), evidenceOf("the later event", w.input[later]),
			evidenceOf("the result of the later event, which comes first", first[later].Record)},
		Why: "Two workers had events of the same author at the same time, and the one with the later event was faster.",
		Hint: "Choose the worker by the key, for instance hash(key) modulo the number of workers: then all events of a key wait in one queue. " +
			"If you work on batches, make one job for each key, and wait for all jobs before the next batch.",
	}
}

// early finds an offset that was committed before the work was done.
func (w *worked) early(index map[string]int) *Finding {
	done := map[position]*arrived{} // by position in the input
	for i := range w.output {
		in := w.input[index[string(w.output[i].Value)]]
		done[position{in.Partition, in.Offset}] = &w.output[i]
	}
	checked := map[int32]int64{}
	for _, poll := range w.polls {
		for _, partition := range slices.Sorted(maps.Keys(poll.committed)) {
			committed := poll.committed[partition]
			for offset := checked[partition]; offset < committed; offset++ {
				r := done[position{partition, offset}]
				if r != nil && r.Offset < poll.ends[r.Partition] {
					continue
				}
				f := &Finding{
					Headline: fmt.Sprintf("the group committed offset %d of partition %d before the event at offset %d was done",
						committed, partition, offset),
					Why: "When the program is killed at that moment, the next one begins at the committed offset, and the event is lost. " +
						"Automatic commits do this: they commit what was read, not what was done.",
					Hint: "Turn automatic commits off. Commit an offset only when every earlier event of the partition is done, " +
						"and its result is written (flush).",
				}
				for _, in := range w.input {
					if in.Partition == partition && in.Offset == offset {
						f.Evidence = append(f.Evidence, evidenceOf("the event", in))
					}
				}
				if r != nil {
					f.Evidence = append(f.Evidence, evidenceOf("its result, written after the commit", r.Record))
				}
				return f
			}
			checked[partition] = max(checked[partition], committed)
		}
	}
	return nil
}

// uncommitted finds a group that did not commit what was done.
func (w *worked) uncommitted() *Finding {
	ends := map[int32]int64{}
	for _, r := range w.input {
		ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
	}
	last := offsets{}
	if len(w.polls) > 0 {
		last = w.polls[len(w.polls)-1]
	}
	partition, ok := uncommitted(last.committed, ends)
	if !ok {
		return nil
	}
	return &Finding{
		Headline: fmt.Sprintf("the group committed offset %d of partition %d; all events before offset %d were done %.0f s ago or earlier",
			last.committed[partition], partition, ends[partition], keepUpCommits.Seconds()),
		Why:  "After a restart the program does all of that work again.",
		Hint: "Commit after each batch, when its results are written.",
	}
}

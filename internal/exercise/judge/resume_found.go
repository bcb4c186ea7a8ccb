package judge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/simulate"
)

// resumeOverlap is how many events before a cut may be duplicated: a quarter of a second.
const resumeOverlap = resumeRate / 4

// resumed is what was seen of a program that reads a stream which cuts connections.
type resumed struct {
	truth    []simulate.Item // what must be stored, in order
	output   []*kgo.Record   // in the order of each partition
	requests []streamRequest
	cuts     map[string]int64 // how often each fault happened
	ended    string           // how the program ended before it was asked to, empty for not
}

// postID is the identity of a commit as a value has it, and its author; empty for another event.
func postID(value []byte) (id, did, kind string) {
	var m struct {
		DID    string `json:"did"`
		Kind   string `json:"kind"`
		Commit struct{ Collection, RKey, Operation, Rev string }
	}
	if json.Unmarshal(value, &m) != nil {
		return "", "", ""
	}
	if m.Kind != "commit" {
		return "", m.DID, m.Kind
	}
	return strings.Join([]string{m.DID, m.Commit.Collection, m.Commit.RKey, m.Commit.Operation, m.Commit.Rev}, "/"), m.DID, m.Kind
}

// tolerated reports whether the stream repeats an event after a cut, for a program that asks for
// everything since the last event.
func tolerated(index int64) bool {
	for _, cut := range resumeCuts {
		if index <= cut && index >= cut-resumeOverlap {
			return true
		}
	}
	return false
}

// sums counts the lost events, and those that are duplicated without need.
func (r *resumed) sums() (lost, again int64) {
	stored := map[string]int64{}
	for _, record := range r.output {
		id, _, _ := postID(record.Value)
		stored[id]++
	}
	for _, it := range r.truth {
		switch n := stored[it.Identity]; {
		case n == 0:
			lost++
		case n > 1 && !tolerated(it.Index):
			again += n - 1
		}
	}
	return lost, again
}

// find returns the first thing that is wrong, nil for nothing.
func (r *resumed) find() *Finding {
	if len(r.requests) == 0 {
		return &Finding{Headline: "the program did not connect to the stream", Why: "Nothing asked for STREAM_URL.",
			Hint: "Connect a WebSocket to the address in the environment variable STREAM_URL."}
	}
	if r.ended != "" {
		return r.halted()
	}
	if f := r.wrongRecord(); f != nil {
		return f
	}
	if f := r.lost(); f != nil {
		return f
	}
	if f := r.again(); f != nil {
		return f
	}
	return r.disordered()
}

// halted explains a program that ended.
func (r *resumed) halted() *Finding {
	f := &Finding{Headline: "the program " + r.ended, Why: "A program that reads a stream goes on until it is asked to stop.",
		Hint: "Look at the output below for the reason."}
	if r.cuts[simulate.FaultCut]+r.cuts[simulate.FaultClose]+r.cuts[simulate.FaultRestart] > 0 {
		f.Headline = "the program ended when the connection to the stream did: it " + r.ended
		f.Why = "Connections end: servers restart, networks fail. The stream goes on meanwhile, and the program misses it."
		f.Hint = "Catch the error of the connection. Connect again after a moment, with ?cursor= and the time_us of the last event."
	}
	return f
}

// wrongRecord finds a record that is not a post of the stream, or has another key.
func (r *resumed) wrongRecord() *Finding {
	known := make(map[string]bool, len(r.truth))
	for _, it := range r.truth {
		known[it.Identity] = true
	}
	for _, record := range r.output {
		id, did, kind := postID(record.Value)
		evidence := []exercise.Evidence{evidenceOf("the record", record)}
		switch {
		case kind != "" && kind != "commit":
			return &Finding{Headline: fmt.Sprintf("the topic has an event that is not a commit (%s): offset %d of partition %d", short(kind), record.Offset, record.Partition),
				Evidence: evidence, Why: "The topic is for commits. Other events have no commit, and programs that read the topic fail at them.",
				Hint: "Write commits only: look at the first level of the JSON."}
		case !known[id]:
			return &Finding{Headline: fmt.Sprintf("the topic has a value that the stream did not send: offset %d of partition %d", record.Offset, record.Partition),
				Evidence: evidence, Why: "The value has to be the JSON of the event.", Hint: "Write what the stream sent, unchanged."}
		case string(record.Key) != did:
			return &Finding{Headline: fmt.Sprintf("a record has the key %q; its author is %s", short(string(record.Key)), short(did)),
				Evidence: evidence, Why: "The order of an author's events is kept only when they have the same key.", Hint: "Use the did of the event as the key."}
		}
	}
	return nil
}

// lost finds events that are not stored.
func (r *resumed) lost() *Finding {
	stored := map[string]*kgo.Record{}
	for _, record := range r.output {
		id, _, _ := postID(record.Value)
		stored[id] = record
	}
	var first *simulate.Item
	var before *kgo.Record
	lost := int64(0)
	for i := range r.truth {
		it := &r.truth[i]
		if record := stored[it.Identity]; record != nil {
			if first == nil {
				before = record
			}
			continue
		}
		if lost++; first == nil {
			first = it
		}
	}
	if first == nil {
		return nil
	}
	f := &Finding{Headline: fmt.Sprintf("%s of %d are lost; the first is event %d of the stream, of %s", many(lost, "event"), len(r.truth), first.Index, first.Key),
		Why:  "The program did not store everything that the stream sent.",
		Hint: "Write every commit, and flush the producer before the program ends."}
	if before != nil {
		f.Evidence = append(f.Evidence, evidenceOf("the last event that is stored before it", before))
	}
	if len(r.output) == 0 {
		f.Headline = "the topic has no event"
		return f
	}
	cut := int64(-1)
	for _, c := range resumeCuts {
		if c <= first.Index {
			cut = c
		}
	}
	if cut < 0 {
		return f
	}
	f.Headline = fmt.Sprintf("%s of %d are lost; the first is event %d of the stream, after the connection ended at event %d", many(lost, "event"), len(r.truth), first.Index, cut)
	f.Why = "What happened while the program was not connected is missing."
	f.Hint = "Keep the time_us of the last event, and connect again with ?cursor= and that number: the stream repeats that event and goes on from there. " +
		"Several events have the same time_us, so do not add 1 to it."
	for i, q := range r.requests {
		if i > 0 && i < 8 {
			f.Evidence = append(f.Evidence, Observed(fmt.Sprintf("connection %d asked for %s", i+1, cursorName(q.cursor)), q.at))
		}
	}
	return f
}

func cursorName(cursor string) string {
	if cursor == "" {
		return "no cursor, so it begins at the newest event"
	}
	return "cursor " + short(cursor)
}

// again finds events that are duplicated although the stream did not repeat them after a cut.
func (r *resumed) again() *Finding {
	index := map[string]int64{}
	for _, it := range r.truth {
		index[it.Identity] = it.Index
	}
	first := map[string]*kgo.Record{}
	_, again := r.sums()
	for _, record := range r.output {
		id, _, _ := postID(record.Value)
		if first[id] == nil {
			first[id] = record
			continue
		}
		if tolerated(index[id]) {
			continue
		}
		return &Finding{
			Headline: fmt.Sprintf("%s duplicated; the first is event %d of the stream", were(again), index[id]),
			Evidence: []exercise.Evidence{evidenceOf("the first copy", first[id]), evidenceOf("the second copy", record)},
			Why: "Streams repeat events: this one sends some of them again on the same connection, and everything since the cursor after a cut. " +
				"Every program that counts the topic now counts them twice.",
			Hint: "Remember the events of the last minutes by did, collection, rkey, operation and rev, and write an event only if it is new.",
		}
	}
	return nil
}

func were(n int64) string {
	if n == 1 {
		return "1 event is"
	}
	return fmt.Sprintf("%d events are", n)
}

// disordered finds two events of an author in the wrong order.
func (r *resumed) disordered() *Finding {
	index := map[string]int64{}
	for _, it := range r.truth {
		index[it.Identity] = it.Index
	}
	seen := map[string]bool{}
	last := map[string]*kgo.Record{} // by author
	for _, record := range r.output {
		id, did, _ := postID(record.Value)
		if seen[id] {
			continue
		}
		seen[id] = true
		if before := last[did]; before != nil {
			other, _, _ := postID(before.Value)
			if before.Partition != record.Partition || index[other] > index[id] {
				return &Finding{Headline: "the order of " + did + " is lost",
					Evidence: []exercise.Evidence{evidenceOf("this event is stored first", before), evidenceOf("this one is stored after it, or in another partition", record)},
					Why:      "Kafka keeps the order in which records are written to a partition.",
					Hint:     "Write events in the order of the stream, from one producer, and let the client choose the partition by the key."}
			}
		}
		last[did] = record
	}
	return nil
}

package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
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
		f.Hint = "Catch the error of the connection. Connect again after a moment, with the cursor, and again while the server refuses."
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
			return &Finding{Headline: fmt.Sprintf("the topic has an event that is not a commit (%s): %s", short(kind), where(record)),
				Evidence: evidence, Why: "The topic is for commits. Other events have no commit, and programs that read the topic fail at them.",
				Hint: "Write an event only when its field `kind` is commit."}
		case !known[id]:
			return &Finding{Headline: "the topic has a value that the stream did not send: " + where(record),
				Evidence: evidence, Why: "The value has to be the JSON of the event.", Hint: "Write what the stream sent, unchanged."}
		case string(record.Key) != did:
			return &Finding{Headline: fmt.Sprintf("a record has the key %q; its author is %s", short(string(record.Key)), short(did)),
				Evidence: evidence, Why: "The order of an author's events is kept only when they have the same key.",
				Hint: "Use the did of the event as the key."}
		}
	}
	return nil
}

// where is the place of a record in a sentence.
func where(r *kgo.Record) string {
	return fmt.Sprintf("offset %d of partition %d", r.Offset, r.Partition)
}

// lost finds events that are not stored.
func (r *resumed) lost() *Finding {
	stored := map[string]*kgo.Record{}
	for _, record := range r.output {
		if id, _, _ := postID(record.Value); stored[id] == nil {
			stored[id] = record
		}
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
	f := &Finding{
		Headline: fmt.Sprintf("%s of %d are lost; the first is event %d of the stream, of %s",
			many(lost, "event"), len(r.truth), first.Index, first.Key),
		Why: "The connection had not ended: the program received this event and did not store it.",
		Hint: "Write every commit. Two events are the same only when did, collection, rkey, rev and operation are equal: " +
			"an event can have the time_us of the one before, or an earlier one. Flush the producer before the program ends.",
	}
	if before != nil {
		f.Evidence = append(f.Evidence, evidenceOf("the last event that is stored before it", before))
	}
	i := slices.IndexFunc(resumeCuts, func(cut int64) bool { return cut-resumeOverlap <= first.Index && first.Index <= cut+resumeOverlap })
	if i < 0 {
		return f
	}
	f.Headline = fmt.Sprintf("%s of %d are lost; the first is event %d of the stream, and a connection ended at event %d",
		many(lost, "event"), len(r.truth), first.Index, resumeCuts[i])
	f.Why = "What happened while the program was not connected is missing."
	f.Hint = "Keep the largest time_us, and connect again with ?cursor= and that number minus 2,000,000. " +
		"Recognize the events that come again, and do not write them twice."
	if before != nil {
		r.askedFor(f, before)
	}
	return f
}

// askedFor adds to a finding what the program asked for when it connected after the last stored event.
func (r *resumed) askedFor(f *Finding, before *kgo.Record) {
	var last struct {
		TimeUS int64 `json:"time_us"`
	}
	if json.Unmarshal(before.Value, &last) != nil {
		return
	}
	i := slices.IndexFunc(r.requests, func(q streamRequest) bool { return q.at.UnixMicro() > last.TimeUS })
	if i < 1 {
		return
	}
	cursor := r.requests[i].cursor
	if cursor == "" {
		f.Evidence = append(f.Evidence, Observed(fmt.Sprintf("connection %d asked for no cursor", i+1), r.requests[i].at))
		f.Why = "Without a cursor the server begins at the newest event. What happened while the program was not connected is missing."
		return
	}
	f.Evidence = append(f.Evidence, Observed(fmt.Sprintf("connection %d asked for cursor %s", i+1, short(cursor)), r.requests[i].at))
	if asked, err := strconv.ParseInt(cursor, 10, 64); err == nil && asked > last.TimeUS {
		f.Why = fmt.Sprintf("The server sends the events from the cursor on. Connection %d asked for %d, which is later than the last stored "+
			"event: its time_us is %d. So the server did not send the lost event.", i+1, asked, last.TimeUS)
	}
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
			Why: "Streams repeat events: this one sends some of them again on the same connection, and everything since the cursor " +
				"after a cut. Every program that counts the topic now counts them twice.",
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
					Evidence: []exercise.Evidence{evidenceOf("this event is stored first", before),
						evidenceOf("this one is stored after it, or in another partition", record)},
					Why:  "Kafka keeps the order in which records are written to a partition.",
					Hint: "Write events in the order of the stream, from one producer, and let the client choose the partition by the key."}
			}
		}
		last[did] = record
	}
	return nil
}

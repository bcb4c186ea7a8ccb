package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

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
	s := compare(r.truth, r.output)
	return int64(len(s.lost())), int64(len(s.again(tolerated)))
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
	return firstOf(compare(r.truth, r.output), wrongPost, r.lost, again, disordered)
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

// wrongPost finds a record that is not a post of the stream, or has another key.
func wrongPost(s *comparison) *Finding {
	for i := range s.posts {
		p := &s.posts[i]
		evidence := []exercise.Evidence{evidenceOf("the record", p.Record)}
		switch {
		case p.kind != "" && p.kind != "commit":
			return &Finding{Headline: fmt.Sprintf("the topic has an event that is not a commit (%s): %s", short(p.kind), where(p.Record)),
				Evidence: evidence, Why: "The topic is for commits. Other events have no commit, and programs that read the topic fail at them.",
				Hint: "Write an event only when its field `kind` is commit."}
		case !s.expected(p):
			return &Finding{Headline: "the topic has a value that the stream did not send: " + where(p.Record),
				Evidence: evidence, Why: "The value has to be the JSON of the event.", Hint: "Write what the stream sent, unchanged."}
		case string(p.Key) != p.author:
			return &Finding{Headline: fmt.Sprintf("a record has the key %q; its author is %s", short(string(p.Key)), short(p.author)),
				Evidence: evidence, Why: "The order of an author's events is kept only when they have the same key.",
				Hint: "Use the did of the event as the key."}
		}
	}
	return nil
}

// lost finds events that are not stored.
func (r *resumed) lost(s *comparison) *Finding {
	all := s.lost()
	if len(all) == 0 {
		return nil
	}
	first, lost := all[0], int64(len(all))
	var before *post // the last one that is stored before it
	for _, it := range s.truth {
		if it.Identity == first.Identity {
			break
		}
		before = s.first[it.Identity]
	}
	f := &Finding{
		Headline: fmt.Sprintf("%s of %d are lost; the first is event %d of the stream, of %s",
			many(lost, "event"), len(r.truth), first.Index, first.Key),
		Why: "The connection had not ended: the program received this event and did not store it.",
		Hint: "Write every commit. Two events are the same only when did, collection, rkey, rev and operation are equal: " +
			"an event can have the time_us of the one before, or an earlier one. Flush the producer before the program ends.",
	}
	if before != nil {
		f.Evidence = append(f.Evidence, evidenceOf("the last event that is stored before it", before.Record))
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
		r.askedFor(f, before.Record)
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
func again(s *comparison) *Finding {
	all := s.again(tolerated)
	if len(all) == 0 {
		return nil
	}
	second, verb := all[0], "are"
	if len(all) == 1 {
		verb = "is"
	}
	return &Finding{
		Headline: fmt.Sprintf("%s %s duplicated; the first is event %d of the stream", many(int64(len(all)), "event"), verb, s.index[second.id]),
		Evidence: []exercise.Evidence{evidenceOf("the first copy", s.first[second.id].Record), evidenceOf("the second copy", second.Record)},
		Why: "Streams repeat events: this one sends some of them again on the same connection, and everything since the cursor " +
			"after a cut. Every program that counts the topic now counts them twice.",
		Hint: "Remember the events of the last minutes by did, collection, rkey, operation and rev, and write an event only if it is new.",
	}
}

// disordered finds two events of an author in the wrong order.
func disordered(s *comparison) *Finding {
	before, after := s.disordered()
	if before == nil {
		return nil
	}
	return &Finding{Headline: "the order of " + after.author + " is lost",
		Evidence: []exercise.Evidence{evidenceOf("this event is stored first", before.Record),
			evidenceOf("this one is stored after it, or in another partition", after.Record)},
		Why:  "Kafka keeps the order in which records are written to a partition.",
		Hint: "Write events in the order of the stream, from one producer, and let the client choose the partition by the key."}
}

package judge

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/simulate"
)

var streamBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// momentOf is when an event of the stream happened: one each 2 ms.
func momentOf(index int64) time.Time {
	return streamBegin.Add(time.Duration(index) * 2 * time.Millisecond)
}

// stored makes the record of an event of the stream. Its offset is its index.
func stored(index int64, author string) *kgo.Record {
	return at("posts", 0, index, author, fmt.Sprintf(`{"did": %q, "time_us": %d, "kind": "commit", "commit":
		{"operation": "create", "collection": "post", "rkey": "k%d", "rev": "r1"}}`, author, momentOf(index).UnixMicro(), index))
}

// rightResumed is what a right program leaves of eight events. The connection ended after event 349, which
// is stored twice: an exception allows that.
func rightResumed() *resumed {
	r := &resumed{cuts: map[string]int64{simulate.FaultCut: 1}, requests: []streamRequest{
		{streamBegin, ""}, {momentOf(350).Add(time.Millisecond), fmt.Sprint(momentOf(349).UnixMicro() - 2_000_000)}}}
	for i, index := range []int64{2, 100, 224, 348, 349, 350, 351, 600} {
		author := []string{"ann", "bob"}[i%2]
		r.truth = append(r.truth, simulate.Item{Index: index, Key: author, Identity: fmt.Sprintf("%s/post/k%d/create/r1", author, index)})
		r.output = append(r.output, stored(index, author))
	}
	r.output = append(r.output, at("posts", 0, 700, "ann", string(r.output[4].Value)))
	return r
}

// without leaves out the first stored events from an index to another one.
func (r *resumed) without(from, to int64) {
	var left []*kgo.Record
	for _, record := range r.output {
		if record.Offset < from || record.Offset > to {
			left = append(left, record)
		}
	}
	r.output = left
}

func TestResumeFinds(t *testing.T) {
	t.Parallel()
	cursor := func(at time.Time) string { return fmt.Sprint(at.UnixMicro()) }
	for name, c := range map[string]struct {
		change      func(r *resumed)
		want        said
		lost, again int64
	}{
		"a right program": {func(*resumed) {}, said{}, 0, 0},
		"no connection": {func(r *resumed) { *r = resumed{} }, said{
			"the program did not connect to the stream", "STREAM_URL", "STREAM_URL", nil}, 0, 0},
		"an event before the overlap is duplicated": {func(r *resumed) {
			r.output = append(r.output, at("posts", 0, 701, "ann", string(r.output[2].Value)))
		}, said{"1 event is duplicated; the first is event 224 of the stream", "Streams repeat events", "only if it is new",
			[]string{"posts 0/224", "posts 0/701"}}, 0, 1},
		"an event after the cut is duplicated": {func(r *resumed) {
			again := at("posts", 0, 701, "ann", string(r.output[6].Value))
			r.output = append(r.output, again, again, at("posts", 0, 702, "bob", string(r.output[1].Value)))
		}, said{"3 events are duplicated; the first is event 351 of the stream", "", "", []string{"posts 0/351", "posts 0/701"}}, 0, 3},
		"an event is lost while the connection is there": {func(r *resumed) { r.without(100, 100) }, said{
			"1 event of 8 are lost; the first is event 100 of the stream, of bob", "received this event and did not store it",
			"time_us of the one before", []string{"posts 0/2"}}, 1, 0},
		"the last event is lost": {func(r *resumed) { r.without(600, 600) }, said{
			"1 event of 8 are lost; the first is event 600 of the stream, of bob", "did not store it", "Flush the producer",
			[]string{"posts 0/351"}}, 1, 0},
		"it asks for no cursor": {func(r *resumed) { r.without(350, 351); r.requests[1].cursor = "" }, said{
			"2 events of 8 are lost; the first is event 350 of the stream, and a connection ended at event 350",
			"begins at the newest event", "minus 2,000,000", []string{"posts 0/349", "connection 2 asked for no cursor"}}, 2, 0},
		"it begins at its own time": {func(r *resumed) { r.without(350, 351); r.requests[1].cursor = cursor(momentOf(500)) }, said{
			"2 events of 8 are lost; the first is event 350 of the stream, and a connection ended at event 350",
			"Connection 2 asked for 1767225601000000, which is later than the last stored event: its time_us is 1767225600698000.",
			"minus 2,000,000", []string{"posts 0/349", "connection 2 asked for cursor 1767225601000000"}}, 2, 0},
		"an event before the cut is lost": {func(r *resumed) {
			r.without(348, 348)
			r.requests[1] = streamRequest{momentOf(340), cursor(momentOf(348).Add(time.Microsecond))}
		}, said{"1 event of 8 are lost; the first is event 348 of the stream, and a connection ended at event 350",
			"is later than the last stored event: its time_us is 1767225600448000.", "", []string{"posts 0/224",
				"connection 2 asked for cursor 1767225600696001"}}, 1, 0},
		"it asks for enough and loses the event": {func(r *resumed) { r.without(350, 350) }, said{
			"1 event of 8 are lost; the first is event 350 of the stream, and a connection ended at event 350",
			"while the program was not connected", "largest time_us",
			[]string{"posts 0/349", "connection 2 asked for cursor 1767225598698000"}}, 1, 0},
		"it ends at a cut": {func(r *resumed) { r.ended = "ended by itself" }, said{
			"the program ended when the connection to the stream did: it ended by itself", "servers restart",
			"while the server refuses", nil}, 0, 0},
		"it ends before a cut": {func(r *resumed) { r.ended, r.cuts = "ended by itself", nil }, said{
			"the program ended by itself", "until it is asked to stop", "Look at the output", nil}, 0, 0},
		"an account event": {func(r *resumed) {
			r.output = append(r.output, at("posts", 1, 0, "ann", `{"did": "ann", "time_us": 1, "kind": "account"}`))
		}, said{"the topic has an event that is not a commit (account): offset 0 of partition 1", "have no commit", "`kind` is commit",
			[]string{"posts 1/0"}}, 0, 0},
		"another value": {func(r *resumed) { r.output[1].Value = []byte("bob") }, said{
			"the topic has a value that the stream did not send: offset 100 of partition 0", "the JSON of the event", "unchanged",
			[]string{"posts 0/100"}}, 1, 0},
		"another key": {func(r *resumed) { r.output[1].Key = []byte("k100") }, said{
			`a record has the key "k100"; its author is bob`, "the same key", "did of the event", []string{"posts 0/100"}}, 0, 0},
		"the order of an author": {func(r *resumed) { r.output[1], r.output[3] = r.output[3], r.output[1] }, said{
			"the order of bob is lost", "the order in which records are written", "order of the stream",
			[]string{"posts 0/348", "posts 0/100"}}, 0, 0},
		"an author in two partitions": {func(r *resumed) { r.output[7].Partition = 1 }, said{
			"the order of bob is lost", "", "by the key", []string{"posts 0/350", "posts 1/600"}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rightResumed()
			c.change(r)
			mustFind(t, r.find(), c.want)
			if lost, again := r.sums(); lost != c.lost || again != c.again {
				t.Errorf("%d lost and %d duplicated, want %d and %d", lost, again, c.lost, c.again)
			}
		})
	}
}

// A program that wrote nothing is wrong where there is a trace of it in the private cluster, or where it
// had the default ports. Otherwise it can be a right one that used another cluster.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	b, err := open(t.Context(), Config{Exercise: "resume", FreePorts: true, Progress: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	judged := func(headline string, inconclusive bool) {
		t.Helper()
		err := b.nothingWritten(t.Context(), &Finding{Headline: "OUTPUT_TOPIC has no event"})
		if _, unclear := errors.AsType[*Unclear](err); unclear != inconclusive || err.Error() != headline {
			t.Errorf("%q, inconclusive %t; want %q, %t", err, unclear, headline, inconclusive)
		}
	}
	judged("nothing of the program was seen in the private cluster", true)
	b.defaults = true
	judged("OUTPUT_TOPIC has no event", false)
	b.defaults = false
	committed := kadm.Offsets{}
	committed.Add(kadm.Offset{Topic: b.Topic, Partition: 0, At: 0, LeaderEpoch: -1})
	if err := b.Admin.CommitAllOffsets(t.Context(), "learners", committed); err != nil {
		t.Fatal(err)
	}
	judged("OUTPUT_TOPIC has no event", false)
}

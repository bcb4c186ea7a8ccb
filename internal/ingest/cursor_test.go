package ingest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

// lose damages the cursor of a source that has stored 500 events; old is its cursor
// record from when it had stored 200.
type lose struct {
	name string
	do   func(w *world, old []byte)
	want string
	// exact: the cursor topic still holds the right cursor.
	exact bool
}

var losses = []lose{
	{"tombstone", func(w *world, _ []byte) { w.putCursor(nil) }, "has no cursor of bluesky", true},
	{"topic deleted", func(w *world, _ []byte) { w.emptyCursors() }, "has no cursor of bluesky", false},
	{"older", func(w *world, old []byte) { w.putCursor(old) }, "older than the topic", true},
	{"log cut back", func(w *world, old []byte) {
		w.emptyCursors()
		w.putCursor(old)
	}, "older than the topic", false},
}

// emptyCursors deletes the cursor topic; it is created again at the next start.
func (w *world) emptyCursors() {
	w.t.Helper()
	cl := w.client()
	defer cl.Close()
	if _, err := kadm.NewClient(cl).DeleteTopic(w.t.Context(), kafka.TopicCursors); err != nil {
		w.t.Fatal(err)
	}
	if err := kafka.EnsureTopics(w.t.Context(), cl, kafka.Topics()...); err != nil {
		w.t.Fatal(err)
	}
}

// putCursor writes a record over the source's cursor.
func (w *world) putCursor(value []byte) {
	w.t.Helper()
	cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	rec := &kgo.Record{Topic: kafka.TopicCursors, Key: []byte("bluesky"), Value: value}
	if err := cl.ProduceSync(w.t.Context(), rec).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// cursor returns the value of the source's cursor record.
func (w *world) cursor() []byte {
	w.t.Helper()
	rec, found, err := kafka.ReadCursor(w.t.Context(), w.cfg, "bluesky")
	if err != nil || !found {
		w.t.Fatalf("cursor: found %v, %v", found, err)
	}
	value, err := rec.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

// store ingests up to event n of the source.
func (w *world) store(n int) *script {
	w.t.Helper()
	src := &script{n: n, size: 7, margin: 50, host: "h:1"}
	w.run(w.ingester(src)).drain(w.t, n)
	return src
}

// TestLostCursorStopsTheSource damages the cursor while nothing runs. The next
// ingester would store what upstream sends again a second time.
func TestLostCursorStopsTheSource(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.store(200)
				old := w.cursor()
				w.store(500)
				before := w.ends()
				tt.do(w, old)

				src := &script{n: 600, size: 7, margin: 500, host: "h:1"}
				r := w.run(w.ingester(src))
				err := r.end(t)
				var ce *kafka.CursorError
				if !errors.As(err, &ce) || !strings.Contains(ce.Cause, tt.want) {
					t.Fatalf("ended with %v, want a CursorError that says %q", err, tt.want)
				}
				t.Log(err)
				if src.streams != 0 {
					t.Error("the source was connected")
				}
				if after := w.ends(); after != before {
					t.Errorf("the topics' ends were %s and are %s", before, after)
				}
				if r.Stats().State != ingest.StateFailed {
					t.Errorf("state %q", r.Stats().State)
				}

				plan := w.plan()
				if !strings.Contains(plan.Problem, tt.want) && !strings.Contains(plan.Problem, "the next sequence number") {
					t.Errorf("problem %q", plan.Problem)
				}
				if plan.Exact != tt.exact {
					t.Errorf("the position is that of an earlier cursor: %v, want %v", plan.Exact, tt.exact)
				}
				if err := plan.Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
				if again := w.plan(); again.Problem != "" {
					t.Errorf("the new cursor does not fit: %s", again.Problem)
				}
				w.verify(w.store(600), 600)
			})
		})
	}
}

// plan works out a new cursor.
func (w *world) plan() *ingest.CursorPlan {
	w.t.Helper()
	p, err := ingest.PlanCursor(w.t.Context(), ingest.PlanConfig{Kafka: w.cfg, Source: "bluesky", Topics: topics, Locate: locate})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// locate is the position after an event of a script.
func locate(value []byte, _ string) (event.Cursor, bool) {
	var v struct{ N int64 }
	if json.Unmarshal(value, &v) != nil {
		return event.Cursor{}, false
	}
	return event.Cursor{Seq: v.N + 1, TimeUS: epoch + (v.N+1)*1000}, true
}

// ends returns the ends of the topics that events go to, as text.
func (w *world) ends() string {
	w.t.Helper()
	cl := w.client()
	defer cl.Close()
	all, err := kafka.Bounds(w.t.Context(), cl, topics.Data, topics.Account, topics.DeadLetter)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(all) // sorted by key
}

// deleteRecords deletes every record of the topics that events go to, as retention does.
func (w *world) deleteRecords() {
	w.t.Helper()
	cl := w.client()
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(w.t.Context(), topics.Data, topics.Account, topics.DeadLetter)
	if err != nil {
		w.t.Fatal(err)
	}
	deleted, err := adm.DeleteRecords(w.t.Context(), ends.Offsets())
	if err != nil || deleted.Error() != nil {
		w.t.Fatal(err, deleted.Error())
	}
	if got := w.read(); len(got) != 0 {
		w.t.Fatalf("%d records are left", len(got))
	}
}

func TestDeletedRecordsAreNoLostCursor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(500)
		w.deleteRecords()
		w.store(550) // sends 50 again, which nobody can know any more
	})
}

// TestPlanKnowsWhatWasDeleted has the first events deleted from the topics and every
// cursor lost: how many there were is known from the numbers, and their types are not.
func TestPlanKnowsWhatWasDeleted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(200)
		numbered := map[string]int64{}
		for _, r := range w.read() {
			numbered[r.topic]++
		}
		w.deleteRecords()
		w.run(w.ingester(&script{n: 500, size: 7, host: "h:1"})).drain(t, 500)
		w.emptyCursors()
		plan := w.plan()
		left := map[string]int64{}
		for _, r := range w.read() {
			left[r.topic]++
		}
		for _, topic := range plan.Topics {
			name := topic.Topic
			if topic.Deleted != numbered[name] || topic.Records != left[name] || topic.Next != topic.Deleted+topic.Records {
				t.Errorf("%+v, want %d deleted and %d records", topic, numbered[name], left[name])
			}
			var sum int64
			for _, n := range plan.Cursor.Counts[name] {
				sum += n
			}
			if plan.Cursor.Counts[name][event.DeletedKind] != numbered[name] || sum != topic.Next {
				t.Errorf("%s: counts %v", name, plan.Cursor.Counts[name])
			}
		}
	})
}

// TestPlanIgnoresOddTimes has single events with times that are far away.
func TestPlanIgnoresOddTimes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(500)
		w.emptyCursors()
		plan, err := ingest.PlanCursor(t.Context(), ingest.PlanConfig{Kafka: w.cfg, Source: "bluesky", Topics: topics,
			Locate: func(value []byte, host string) (event.Cursor, bool) {
				at, ok := locate(value, host)
				if at.Seq%10 == 0 {
					at.TimeUS += time.Hour.Microseconds()
				}
				return at, ok
			}})
		if err != nil {
			t.Fatal(err)
		}
		if at := plan.Cursor.Cursor; at.Seq < 400 || at.TimeUS != epoch+at.Seq*1000 {
			t.Errorf("position %+v", at)
		}
	})
}

// TestPlanLeavesAGoodCursorAlone plans while an ingester runs.
func TestPlanLeavesAGoodCursorAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if p := w.plan(); p.Problem != "" {
			t.Errorf("nothing was ever stored, and the plan says %q", p.Problem)
		}
		src := &script{n: 500, size: 7, pause: 10 * time.Millisecond}
		r := w.run(w.ingester(src))
		for range 20 {
			if p := w.plan(); p.Problem != "" {
				t.Errorf("the ingester's cursor fits, and the plan says %q", p.Problem)
			}
		}
		r.drain(t, 500)
		w.verify(src, 500)
	})
}

// TestApplyStopsAnIngester applies a plan while an ingester runs that has stored events
// since it was made.
func TestApplyStopsAnIngester(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(200)
		w.putCursor(nil)
		plan := w.plan()
		if err := plan.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		src := &script{n: 1000, size: 7, margin: 50, pause: 10 * time.Millisecond}
		r := w.run(w.ingester(src))
		until(t, "events are stored", func() bool { return r.Stats().Cursor.Seq > 250 })
		if err := plan.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
			t.Errorf("a plan that is too old ended with %v", err)
		}
		r.drain(t, 1000)
		if r.Stats().Restarts == 0 {
			t.Error("the ingester was not fenced")
		}
		w.verify(src, 1000)
	})
}

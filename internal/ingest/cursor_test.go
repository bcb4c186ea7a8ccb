package ingest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// lose damages the cursor of a source that has stored 500 events; old is its cursor
// record from when it had stored 200.
type lose struct {
	name string
	do   func(w *world, old []byte)
	want string
}

var losses = []lose{
	{"tombstone", func(w *world, _ []byte) { w.putCursor(nil) }, "has no cursor of bluesky"},
	{"topic deleted", func(w *world, _ []byte) {
		cl := w.client()
		defer cl.Close()
		if _, err := kadm.NewClient(cl).DeleteTopic(w.t.Context(), kafka.TopicCursors); err != nil {
			w.t.Fatal(err)
		}
		if err := kafka.EnsureTopics(w.t.Context(), cl, kafka.Topics()...); err != nil {
			w.t.Fatal(err)
		}
	}, "has no cursor of bluesky"},
	{"older", func(w *world, old []byte) { w.putCursor(old) }, "older than the topic"},
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
				if r.Stats().State != "failed" {
					t.Errorf("state %q", r.Stats().State)
				}
			})
		})
	}
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

// TestDeletedRecordsAreNoLostCursor has every record of the topics deleted, as
// retention does.
func TestDeletedRecordsAreNoLostCursor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store(500)
		cl := w.client()
		defer cl.Close()
		adm := kadm.NewClient(cl)
		ends, err := adm.ListEndOffsets(t.Context(), topics.Data, topics.Account, topics.DeadLetter)
		if err != nil {
			t.Fatal(err)
		}
		deleted, err := adm.DeleteRecords(t.Context(), ends.Offsets())
		if err != nil || deleted.Error() != nil {
			t.Fatal(err, deleted.Error())
		}
		if got := w.read(); len(got) != 0 {
			t.Fatalf("%d records are left", len(got))
		}
		w.store(550) // sends 50 again, which nobody can know any more
	})
}

package kafka_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// event writes a record as weir does in the transaction that is open.
func (w writer) event(partition int32, seq int) {
	w.t.Helper()
	w.produce(partition, kgo.RecordHeader{Key: "kind", Value: []byte("create")},
		kgo.RecordHeader{Key: "seq", Value: []byte(strconv.Itoa(seq))},
		kgo.RecordHeader{Key: "host", Value: []byte("h:1")}, kgo.RecordHeader{Key: "received", Value: []byte("1")})
}

func (w writer) produce(partition int32, headers ...kgo.RecordHeader) {
	w.t.Helper()
	r := &kgo.Record{Topic: kafka.TopicBluesky, Partition: partition, Value: []byte("{}"), Headers: headers}
	if err := w.cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w writer) begin() {
	w.t.Helper()
	if err := w.cl.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
}

// The sequence numbers 0 to 9 are in the topic, 9 in partition 2, and then come records
// that have none.
func TestCheckCursor(t *testing.T) {
	aborted := func(w writer, n int) {
		w.begin()
		for range n {
			w.event(2, 10)
		}
		w.end(kgo.TryAbort)
	}
	for _, tt := range []struct {
		name  string
		after func(w writer)
		next  int64
		want  string // in the error; empty for none
	}{
		{"cursor fits", func(writer) {}, 10, ""},
		{"cursor is newer", func(writer) {}, 12, ""},
		{"one record more", func(writer) {}, 9, " partition 2 has sequence number 9, but the cursor says that the next one is 9"},
		{"aborted records have higher numbers", func(w writer) { aborted(w, 3) }, 10, ""},
		{"behind more aborted records than the first look covers", func(w writer) { aborted(w, 200) }, 9, "sequence number 9"},
		{"behind many empty transactions", func(w writer) {
			for range 100 {
				aborted(w, 1)
			}
		}, 9, "sequence number 9"},
		{"behind records of another program", func(w writer) {
			w.begin()
			for range 100 {
				w.produce(2, kgo.RecordHeader{Key: "seq", Value: []byte("4711")})
			}
			w.end(kgo.TryCommit)
		}, 9, "sequence number 9"},
		{"only another program's number is higher", func(w writer) {
			w.begin()
			w.produce(2, kgo.RecordHeader{Key: "seq", Value: []byte("4711")})
			w.end(kgo.TryCommit)
		}, 10, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, cfg kafka.Config) {
				w := newWriter(t, cfg, "a")
				defer w.cl.Close()
				w.begin()
				for seq := range 10 {
					w.event(int32((seq+5)%3), seq)
				}
				w.end(kgo.TryCommit)
				tt.after(w)
				bounds, err := kafka.Bounds(t.Context(), w.cl, kafka.TopicBluesky, kafka.TopicBlueskyAccounts)
				if err != nil {
					t.Fatal(err)
				}
				rec := kafka.CursorRecord{Version: 1, Source: "bluesky", Seqs: map[string]int64{kafka.TopicBluesky: tt.next}}
				err = kafka.CheckCursor(t.Context(), cfg, rec, bounds)
				var ce *kafka.CursorError
				if (err == nil) != (tt.want == "") || err != nil && (!errors.As(err, &ce) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		})
	}
}

// Without a cursor, one record is enough, and nothing is not.
func TestCheckWithoutCursor(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		for _, want := range []string{"<nil>", "weir.cursors has no cursor of bluesky"} {
			bounds, err := kafka.Bounds(t.Context(), w.cl, kafka.TopicBluesky)
			if err != nil {
				t.Fatal(err)
			}
			err = kafka.CheckCursor(t.Context(), cfg, kafka.CursorRecord{Source: "bluesky"}, bounds)
			if !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%v, want %s", err, want)
			}
			w.begin()
			w.event(4, 0)
			w.end(kgo.TryCommit)
		}
	})
}

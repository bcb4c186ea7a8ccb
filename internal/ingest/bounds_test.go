package ingest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
)

// TestTransactionsAreBounded has a backlog, of which a transaction takes as many events, or as
// many bytes, as it may, and a batch more: the queue makes batches of up to 120 kB.
func TestTransactionsAreBounded(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for name, limit := range map[string]func(*ingest.Config){
		"events": func(c *ingest.Config) { c.MaxEvents = 150 },
		"bytes":  func(c *ingest.Config) { c.MaxBytes = 150_000 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				src := &script{n: 2000, size: 1, item: func(n int) item {
					it := lone(n)
					it.value = fmt.Sprintf(`{"n":%d,"text":%q}`, n, text)
					return it
				}}
				cfg := w.config(src)
				limit(&cfg)
				i, err := ingest.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				var before, most int64
				hook(t, func(point string) {
					if point == "ingest: accounted" {
						now := i.Stats().Cursor.Seq
						before, most = now, max(most, now-before)
					}
				})
				w.run(i).drain(t, 2000)
				if most < 140 || most > 150+120 {
					t.Errorf("the largest transaction has %d events of 1 kB, want 150 to 270", most)
				}
			})
		})
	}
}

// TestTooLargeForEachTopic has topics with small limits for account events and dead letters.
func TestTooLargeForEachTopic(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cl := w.client()
		defer cl.Close()
		limit := "20000"
		_, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}},
			topics.Account, topics.DeadLetter)
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 100_000)
		large := map[int]event.Route{13: event.Account, 17: event.Reject, 19: event.Data}
		item := func(n int) item {
			it := lone(n)
			if route, ok := large[n]; ok {
				it.route, it.kind = route, event.ReasonMalformed
				it.value = fmt.Sprintf(`{"n":%d,"text":%q}`, n, big)
			}
			return it
		}
		r := w.run(w.ingester(&script{n: 50, size: 10, item: item}))
		until(t, "all is committed, or a broker refuses it", func() bool { s := r.Stats(); return s.Cursor.Seq >= 50 || s.Restarts > 0 })
		r.stop(t)
		if s := r.Stats(); s.Restarts != 0 || s.Events != 48 || s.Rejects != 2 {
			t.Errorf("%d events, %d dead letters, %d restarts (%s)", s.Events, s.Rejects, s.Restarts, s.LastError)
		}
		want := map[string]int{}
		for n, route := range large {
			if route != event.Data {
				sum := sha256.Sum256([]byte(item(n).value))
				want[hex.EncodeToString(sum[:])] = n
			}
		}
		for _, s := range w.read() {
			if s.topic != topics.DeadLetter {
				continue
			}
			n, ok := want[header(s.rec, "sha256")]
			if !ok || !strings.HasPrefix(item(n).value, s.value) || len(s.value) < 18_000 || len(s.value) >= 20_000 {
				t.Errorf("dead letter of %d bytes: %v", len(s.value), s.rec.Headers)
			}
			delete(want, header(s.rec, "sha256"))
		}
		if len(want) != 0 {
			t.Errorf("without a dead letter: %v", want)
		}
	})
}

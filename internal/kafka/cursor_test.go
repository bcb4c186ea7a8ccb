package kafka_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// bubble runs f in a synctest bubble with a cluster that has weir's topics.
func bubble(t *testing.T, f func(t *testing.T, cfg kafka.Config)) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.Ports(9001, 9002, 9003), kfake.ListenFn(network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cfg := kafka.Config{Brokers: []string{"127.0.0.1:9001"}, Opts: []kgo.Opt{kgo.Dialer(network.DialContext)}}
		cl, err := cfg.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		err = kafka.EnsureTopics(t.Context(), cl, kafka.Topics()...)
		cl.Close()
		if err != nil {
			t.Fatal(err)
		}
		f(t, cfg)
	})
}

// writer produces to the cursor topic in transactions.
type writer struct {
	t  *testing.T
	cl *kgo.Client
}

func newWriter(t *testing.T, cfg kafka.Config, id string) writer {
	t.Helper()
	cl, err := cfg.NewClient(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return writer{t, cl}
}

func (w writer) write(partition int32, key, value string) {
	w.t.Helper()
	if err := w.cl.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	r := &kgo.Record{Topic: "weir.cursors", Partition: partition, Key: []byte(key), Value: []byte(value)}
	if value == "" {
		r.Value = nil
	}
	if err := w.cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w writer) end(commit kgo.TransactionEndTry) {
	w.t.Helper()
	if err := w.cl.EndTransaction(w.t.Context(), commit); err != nil {
		w.t.Fatal(err)
	}
}

func text(source string, seq int64) string {
	return fmt.Sprintf(`{"version":1,"source":%q,"cursor":{"seq":%d},"seqs":{}}`, source, seq)
}

func TestCursorIsTheLastCommittedOne(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		if _, found, err := kafka.ReadCursor(t.Context(), cfg, "bluesky"); err != nil || found {
			t.Fatalf("empty topic: found %v, %v", found, err)
		}
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		for i := range 3 {
			w.write(0, "bluesky", text("bluesky", int64(i)))
			w.end(kgo.TryCommit)
		}
		w.write(1, "wikipedia", text("wikipedia", 77))
		w.end(kgo.TryCommit)
		for range 2 {
			w.write(0, "bluesky", text("bluesky", 99))
			w.end(kgo.TryAbort)
		}
		for source, want := range map[string]int64{"bluesky": 2, "wikipedia": 77} {
			rec, found, err := kafka.ReadCursor(t.Context(), cfg, source)
			if err != nil || !found || rec.Cursor.Seq != want {
				t.Errorf("%s: %d found %v, %v, want %d", source, rec.Cursor.Seq, found, err, want)
			}
		}
	})
}

func TestCursorBehindManyAbortedOnes(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		w.write(0, "bluesky", text("bluesky", 5))
		w.end(kgo.TryCommit)
		for range 400 {
			w.write(0, "bluesky", text("bluesky", 99))
			w.end(kgo.TryAbort)
		}
		rec, found, err := kafka.ReadCursor(t.Context(), cfg, "bluesky")
		if err != nil || !found || rec.Cursor.Seq != 5 {
			t.Errorf("%d found %v, %v, want 5", rec.Cursor.Seq, found, err)
		}
	})
}

// TestOpenTransactionIsWaitedFor has a cursor above the last stable offset, which
// a reader that stops there does not see.
func TestOpenTransactionIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		end  kgo.TransactionEndTry
		want int64
	}{{kgo.TryCommit, 2}, {kgo.TryAbort, 1}} {
		t.Run(fmt.Sprint("commit ", tt.end), func(t *testing.T) {
			bubble(t, func(t *testing.T, cfg kafka.Config) {
				w := newWriter(t, cfg, "a")
				defer w.cl.Close()
				w.write(0, "bluesky", text("bluesky", 1))
				w.end(kgo.TryCommit)
				w.write(0, "bluesky", text("bluesky", 2))

				type result struct {
					rec   kafka.CursorRecord
					found bool
					err   error
				}
				got := make(chan result)
				go func() {
					rec, found, err := kafka.ReadCursor(t.Context(), cfg, "bluesky")
					got <- result{rec, found, err}
				}()
				select {
				case r := <-got:
					t.Fatalf("read %+v while the transaction was open", r)
				case <-time.After(30 * time.Second):
				}
				w.end(tt.end)
				if r := <-got; r.err != nil || !r.found || r.rec.Cursor.Seq != tt.want {
					t.Errorf("read %+v, want cursor %d", r, tt.want)
				}
			})
		})
	}
}

// TestStuckScanEnds has a transaction that nobody ends.
func TestStuckScanEnds(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		w.write(0, "bluesky", text("bluesky", 1))
		start := time.Now()
		_, _, err := kafka.ReadCursor(t.Context(), cfg, "bluesky")
		if err == nil || !strings.Contains(err.Error(), "a transaction may be open") {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(start); d < time.Minute || d > 2*time.Minute {
			t.Errorf("took %v, want a little over a minute", d)
		}
		w.end(kgo.TryAbort)
	})
}

func TestBadCursorStopsLoudly(t *testing.T) {
	for _, tt := range []struct{ name, key, value, want string }{
		{"not JSON", "bluesky", "hello", "is not a cursor"},
		{"truncated", "bluesky", `{"version":1,"source":"bluesky","cur`, "is not a cursor"},
		{"wrong type", "bluesky", `{"version":1,"source":"bluesky","seqs":[1]}`, "is not a cursor"},
		{"newer", "bluesky", `{"version":2,"shape":"unknown"}`, "has version 2, and this weir knows versions up to 1"},
		{"no version", "bluesky", `{}`, "has no version"},
		{"foreign key", "other", text("bluesky", 1), `has the key "other" instead of "bluesky"`},
		{"foreign source", "bluesky", text("wikipedia", 1), `belongs to source "wikipedia"`},
		{"negative", "bluesky", `{"version":1,"source":"bluesky","seqs":{"t":-4}}`, `the next number in "t" is -4`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, cfg kafka.Config) {
				w := newWriter(t, cfg, "a")
				defer w.cl.Close()
				w.write(0, "bluesky", text("bluesky", 1))
				w.end(kgo.TryCommit)
				w.write(0, tt.key, tt.value)
				w.end(kgo.TryCommit)
				_, found, err := kafka.ReadCursor(t.Context(), cfg, "bluesky")
				var ce *kafka.CursorError
				if !errors.As(err, &ce) || found {
					t.Fatalf("found %v, %v, want a CursorError", found, err)
				}
				for _, want := range []string{tt.want, "weir.cursors partition 0", ce.Out} {
					if !strings.Contains(err.Error(), want) || want == "" {
						t.Errorf("error %q lacks %q", err, want)
					}
				}
			})
		})
	}
}

func TestTombstoneMeansNoCursor(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		w.write(0, "bluesky", text("bluesky", 1))
		w.end(kgo.TryCommit)
		w.write(0, "bluesky", "")
		w.end(kgo.TryCommit)
		if _, found, err := kafka.ReadCursor(t.Context(), cfg, "bluesky"); err != nil || found {
			t.Errorf("found %v, %v, want none", found, err)
		}
	})
}

func TestCursorRoundTrip(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		want := kafka.CursorRecord{Version: 1, Source: "wikipedia", Instance: "me", WrittenUS: 17, Gaps: 3,
			Cursor: event.Cursor{Host: "h:1", Seq: 9, TimeUS: 8, Last: "id", Scope: "s", Origin: "live",
				Partitions: []event.Partition{{Topic: "eqiad", Partition: 1, TimestampMS: 5}}},
			Seqs:   map[string]int64{"wikipedia-edits": 1 << 60},
			Counts: map[string]map[string]int64{"wikipedia-edits": {"edit": 1<<53 + 1}}}
		v, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		w.write(1, "wikipedia", string(v))
		w.end(kgo.TryCommit)
		got, found, err := kafka.ReadCursor(t.Context(), cfg, "wikipedia")
		if err != nil || !found || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v found %v, %v\nwant %+v", got, found, err, want)
		}
	})
}

func TestKindsAreBounded(t *testing.T) {
	var r kafka.CursorRecord
	for i := range 5000 {
		r.Add("t", fmt.Sprint("kind ", i), 1)
	}
	r.Add("t", "kind 3", 10)
	if n := len(r.Counts["t"]); n > kafka.MaxKinds+1 {
		t.Errorf("%d names, want at most %d and %s", n, kafka.MaxKinds, event.OtherKind)
	}
	if got := r.Counts["t"]["kind 3"]; got != 11 {
		t.Errorf("kind 3 = %d, want 11", got)
	}
	if got := r.Counts["t"][event.OtherKind]; got != 4000 {
		t.Errorf("other = %d, want 4000", got)
	}
}

func TestUnknownSource(t *testing.T) {
	if _, _, err := kafka.ReadCursor(t.Context(), kafka.Config{Brokers: []string{"127.0.0.1:1"}}, "mastodon"); err == nil ||
		!strings.Contains(err.Error(), `unknown source "mastodon"`) {
		t.Errorf("error = %v", err)
	}
}

func TestScanShowsWhatIsCommitted(t *testing.T) {
	bubble(t, func(t *testing.T, cfg kafka.Config) {
		w := newWriter(t, cfg, "a")
		defer w.cl.Close()
		for i := range 20 {
			w.write(0, "k", fmt.Sprint(i))
			w.end(i%3 != 0) // every third is aborted, and the last one committed
		}
		w.write(0, "k", "aborted at the very end")
		w.end(kgo.TryAbort)
		var got []string
		var bounds map[kafka.TopicPartition]kafka.Bound
		cl, err := cfg.NewClient()
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if bounds, err = kafka.Bounds(t.Context(), cl, "weir.cursors", "absent"); err != nil {
			t.Fatal(err)
		}
		tp := kafka.TopicPartition{Topic: "weir.cursors"}
		if len(bounds) != 2 || bounds[tp].End != 42 { // each transaction is a record and a marker
			t.Fatalf("bounds = %v", bounds)
		}
		err = kafka.Scan(t.Context(), cfg, []kafka.Range{{TopicPartition: tp, From: 10, To: bounds[tp].End}}, func(r *kgo.Record) error {
			got = append(got, string(r.Value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "5 7 8 10 11 13 14 16 17 19"; strings.Join(got, " ") != want {
			t.Errorf("scanned %v, want %v", got, want)
		}
	})
}

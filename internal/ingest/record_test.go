package ingest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
)

func TestRecordsAsOthersSeeThem(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		// The position is still the server's before it while the overlap is not seen.
		src := &script{n: 100, size: 10, host: "before.example:443", sender: "jetstream.example:443", item: func(n int) item {
			it := plain(n)
			switch n {
			case 10:
				it.us = 0
			case 11:
				it.us = time.Now().Add(24 * time.Hour).UnixMicro()
			case 12:
				it.us = -5
			case 13:
				it.route, it.kind, it.value = event.Gap, event.KindGap, `{"from":1,"to":2}`
			}
			return it
		}}
		w.run(w.ingester(src)).drain(t, 100)
		now := time.Now()
		seen := map[string]stored{}
		for _, r := range w.read() {
			seen[r.value] = r
			for _, want := range []string{"kind", "seq", "host"} {
				if len(header(r.rec, want)) == 0 {
					t.Errorf("record %q has no header %s", r.value, want)
				}
			}
			if h := header(r.rec, "host"); h != "jetstream.example:443" {
				t.Errorf("record %q has the host %q", r.value, h)
			}
		}
		at := func(n int) *kgo.Record { return seen[src.at(n).value].rec }
		if ts := at(50).Timestamp.UnixMicro(); ts != epoch+50_000 {
			t.Errorf("event 50 has the timestamp %d, want the event's %d", ts, epoch+50_000)
		}
		for _, n := range []int{10, 12} {
			if d := now.Sub(at(n).Timestamp); d < 0 || d > time.Minute {
				t.Errorf("event %d without a time has the timestamp %v", n, at(n).Timestamp)
			}
		}
		if d := at(11).Timestamp.Sub(now); d < 9*time.Minute || d > 10*time.Minute {
			t.Errorf("event from tomorrow is %v ahead, want 10m", d)
		}

		reject := at(23)
		sum := sha256.Sum256([]byte(src.at(23).value))
		for k, want := range map[string]string{
			"kind": "malformed", "source": "bluesky", "size": fmt.Sprint(len(src.at(23).value)),
			"sha256": hex.EncodeToString(sum[:]), "detail": "broken",
		} {
			if got := header(reject, k); got != want {
				t.Errorf("dead letter has %s = %q, want %q", k, got, want)
			}
		}
		if reject.Partition != 0 || string(reject.Key) != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("dead letter in partition %d with key %q", reject.Partition, reject.Key)
		}
		gap := seen[`{"from":1,"to":2}`].rec
		if header(gap, "kind") != "gap" || gap.Topic != topics.DeadLetter || header(gap, "source") != "bluesky" {
			t.Errorf("gap = %v %v", gap.Topic, gap.Headers)
		}
	})
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// TestKeysGoWhereTheJavaClientSendsThem has partitions that Kafka's own
// DefaultPartitioner chose: murmur2 of these keys is in Kafka's UtilsTest.
func TestKeysGoWhereTheJavaClientSendsThem(t *testing.T) {
	hashes := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	}
	var keys []string
	for k := range hashes {
		keys = append(keys, k)
	}
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: len(keys), item: func(n int) item {
			return item{route: event.Data, kind: "create", key: keys[n], value: fmt.Sprintf(`{"n":%d}`, n), us: epoch}
		}}
		w.run(w.ingester(src)).drain(t, len(keys))
		for _, r := range w.read() {
			if want := (hashes[r.key] & 0x7fffffff) % 6; r.partition != want {
				t.Errorf("key %q is in partition %d, want %d", r.key, r.partition, want)
			}
		}
	})
}

// TestTooLargeForTheTopic has a topic with a small limit, made by somebody else.
func TestTooLargeForTheTopic(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cl := w.client()
		defer cl.Close()
		limit := "20000"
		_, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, topics.Data)
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 100_000)
		item := func(n int) item {
			it := item{route: event.Data, kind: "create", key: "k", value: fmt.Sprintf(`{"n":%d}`, n), us: epoch + int64(n)*1000}
			if n%10 == 3 {
				it.value = fmt.Sprintf(`{"n":%d,"text":%q}`, n, big)
			}
			return it
		}
		for n := 50; n <= 100; n += 50 { // the second meets half of them again
			w.run(w.ingester(&script{n: n, size: 10, margin: 25, item: item})).drain(t, n)
		}
		letters := 0
		for _, r := range w.read() {
			if r.topic != topics.DeadLetter {
				continue
			}
			letters++
			whole := item(letters*10 - 7).value
			sum := sha256.Sum256([]byte(whole))
			if r.kind != "too-large" || header(r.rec, "sha256") != hex.EncodeToString(sum[:]) || header(r.rec, "size") != fmt.Sprint(len(whole)) ||
				!strings.HasPrefix(whole, r.value) || len(r.value) != event.MaxHead || header(r.rec, "detail") == "" {
				t.Errorf("dead letter %d: kind %s, %d bytes, headers %v", letters, r.kind, len(r.value), r.rec.Headers)
			}
		}
		if letters != 10 {
			t.Errorf("%d dead letters, want 10", letters)
		}
	})
}

func TestLargestEventsPass(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 5, size: 1, item: func(n int) item {
			value := fmt.Sprintf(`{"n":%d,"text":%q}`, n, strings.Repeat("y", event.MaxValue-30))
			return item{route: event.Data, kind: "create", key: "k", value: value, us: epoch}
		}}
		cfg := w.config(src)
		cfg.QueueBytes = 1 << 20 // less than one of them
		i, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.run(i).drain(t, 5)
		w.verify(src, 5)
	})
}

// TestArrivalOfEachEvent has single events wait together for a commit: each record says when
// its own event had arrived, and the statistics count from there.
func TestArrivalOfEachEvent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		src := &script{n: 1000, size: 1, pause: time.Millisecond}
		start := time.Now()
		r := w.run(w.ingester(src))
		r.drain(t, 1000)
		of := map[string]int{}
		for n := range src.n {
			of[src.at(n).value] = n
		}
		for _, r := range w.read() {
			us, err := strconv.ParseInt(header(r.rec, "received"), 10, 64)
			if n := of[r.value]; err != nil || us < start.Add(time.Duration(n+1)*time.Millisecond).UnixMicro() ||
				n > 0 && us >= start.Add(time.Duration(n+2)*time.Millisecond+time.Second).UnixMicro() {
				t.Errorf("event %d was received at %d, its source sent it at %d", n, us, start.Add(time.Duration(n+1)*time.Millisecond).UnixMicro())
			}
		}
	})
}

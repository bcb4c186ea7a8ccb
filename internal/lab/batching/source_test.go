package batching

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// liveServer is a Jetstream that the lab does not know from inside.
func liveServer(t *testing.T, rate float64) *kit.Upstream {
	t.Helper()
	return &kit.Upstream{URLs: []string{labtest.LiveServer(t, rate)}, Collections: kit.Collections}
}

// TestLiveRecords has batching write what a live stream brought.
func TestLiveRecords(t *testing.T) {
	live := liveServer(t, 10_000)
	b := setting.New[Settings](setting.Short)
	b.Live, b.Flood, b.Producers = live, 1000, b.Producers[:2]
	r := labtest.Perform(t, Lab.With(&producing{*b}))
	if r.Verdict == record.DoesNotHold || len(r.Checks) < 10 || !strings.Contains(strings.Join(r.Notes, "\n"), "producers wrote 20000 records (live)") {
		t.Errorf("batching: %s: %s, notes %q", r.Verdict, r.Reason, r.Notes)
	}
}

// TestOwnRecords has batching write what a topic holds.
func TestOwnRecords(t *testing.T) {
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("measures for some seconds: WEIR_TEST_LAB=1 go test -run OwnRecords ./internal/lab")
	}
	b := &lab.Bench{Config: lab.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Progress: func(string) {}}}
	e, err := kit.OpenEngine(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	cfg := kafka.Config{Brokers: e.Addrs(), ClientID: "test"}
	cl, err := cfg.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(t.Context(), cl, kafka.TopicSpec{Name: "mine", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("0123456789abcdef"), 50) // compresses far better than a post
	for i := range 300 {
		r := &kgo.Record{Topic: "mine", Value: value}
		if i%2 == 0 {
			r.Key = []byte("k")
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s := setting.New[Settings](setting.Short)
	s.From, s.Flood, s.Producers = &FromTopic{Kafka: cfg, Topic: "mine"}, 1000, s.Producers[:1]
	r := labtest.Perform(t, Lab.With(&producing{*s}))
	notes := strings.Join(r.Notes, "\n")
	if r.Verdict == record.DoesNotHold || r.Source != "records of the topic mine" || !strings.Contains(notes, "wrote 300 records") || !strings.Contains(notes, "800 bytes each") || !strings.Contains(notes, "makes compression look too good") {
		t.Errorf("%s: %s, source %q, notes %q", r.Verdict, r.Reason, r.Source, notes)
	}
	for _, m := range r.Measures {
		if m.Case == "base" && m.Name == "bytes per event" && m.Value > 100 {
			t.Errorf("%v bytes of an event that is one byte sequence again and again", m.Value)
		}
	}
	s.From.Topic = "nobody-has-it"
	if _, _, err := lab.Perform(t.Context(), lab.Config{Dir: t.TempDir()}, Lab.With(s)); err == nil || !strings.Contains(err.Error(), "nobody-has-it") {
		t.Errorf("err = %v", err)
	}
}

package kit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// liveServer is a Jetstream that the lab does not know from inside.
func liveServer(t *testing.T, rate float64) *Upstream {
	t.Helper()
	return &Upstream{URLs: []string{labtest.LiveServer(t, rate)}, Collections: Collections}
}

// verdicts are the verdicts of a claim by case.
func verdicts(r *lab.Report, claim string) (out []record.Verdict) {
	for _, c := range r.Checks {
		if strings.HasPrefix(c.Claim, claim) {
			out = append(out, c.Verdict)
		}
	}
	return out
}

func TestLiveBackpressure(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate float64
		do   func(*Backpressure)
		want record.Verdict
		says string
	}{
		{"enough comes", 1300, func(*Backpressure) {}, record.Holds, ""},
		{"too little comes", 100, func(*Backpressure) {}, record.Inconclusive, "the load fills the queue"},
		{"an uncounted loss, of little", 100, func(s *Backpressure) { s.Break = BreakLose }, record.DoesNotHold, "is counted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := small(overflow.DropNewest)
			s.Live, s.Offer = liveServer(t, tt.rate), 2*time.Second
			tt.do(s)
			r := perform(t, s)
			if tt.want == record.Holds { // what is exact does not depend on the machine
				for _, c := range r.Checks {
					if c.Verdict == record.DoesNotHold && !timing[c.Claim] {
						t.Errorf("%s: %s: want %s, got %s", c.Case, c.Claim, c.Want, c.Got)
					}
				}
			} else if r.Verdict != tt.want || !strings.Contains(failed(r), tt.says) {
				t.Errorf("%s: %s\n%s", r.Verdict, r.Reason, failed(r))
			}
			if got := verdicts(r, "nothing is doubled"); fmt.Sprint(got) != "[holds]" {
				t.Errorf("what is exact is not judged: %v\n%s", got, failed(r))
			}
			if r.Source != lab.SourceLive || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "simulated:7") {
				t.Errorf("source %q, notes %q", r.Source, r.Notes)
			}
		})
	}
}

func TestLiveReplay(t *testing.T) {
	t.Parallel() // what is claimed is exact
	live := liveServer(t, 500)
	for breakage, want := range map[string]record.Verdict{"": record.Holds, BreakSkip: record.DoesNotHold} {
		s := setting.New[Replay](setting.Short)
		s.Live, s.Break = live, breakage
		if r := labtest.Perform(t, ReplayLab.With(s)); r.Verdict != want || r.Source != lab.SourceLive {
			t.Errorf("%q: %s: %s; want %s", breakage, r.Verdict, r.Reason, want)
		}
	}
}

// TestLiveRecords has batching write what a live stream brought.
func TestLiveRecords(t *testing.T) {
	live := liveServer(t, 10_000)
	b := setting.New[Batching](setting.Short)
	b.Live, b.Flood, b.Producers = live, 1000, b.Producers[:2]
	r := labtest.Perform(t, BatchingLab.With(&producing{*b}))
	if r.Verdict == record.DoesNotHold || len(r.Checks) < 10 || !strings.Contains(strings.Join(r.Notes, "\n"), "producers wrote 20000 records (live)") {
		t.Errorf("batching: %s: %s, notes %q", r.Verdict, r.Reason, r.Notes)
	}
}

// TestALiveStreamThatIsSilent says why nothing comes.
func TestALiveStreamThatIsSilent(t *testing.T) {
	u := &Upstream{URLs: []string{"ws://127.0.0.1:1/subscribe"}, Collections: Collections}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, err := u.Record(ctx, &lab.Bench{Progress: func(string) {}}, 10, time.Second); err == nil {
		t.Error("there are records of nobody")
	}
	u.URLs = []string{"http://127.0.0.1:1"}
	s := setting.New[Backpressure](setting.Short)
	if s.Live = u; s.Check() == nil {
		t.Error("a URL of something else is taken")
	}
}

// TestOwnRecords has batching write what a topic holds.
func TestOwnRecords(t *testing.T) {
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("measures for some seconds: WEIR_TEST_LAB=1 go test -run OwnRecords ./internal/lab")
	}
	b := &lab.Bench{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Progress: func(string) {}}
	e, err := OpenEngine(t.Context(), b, nil)
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
	s := setting.New[Batching](setting.Short)
	s.From, s.Flood, s.Producers = &FromTopic{Kafka: cfg, Topic: "mine"}, 1000, s.Producers[:1]
	r := labtest.Perform(t, BatchingLab.With(&producing{*s}))
	notes := strings.Join(r.Notes, "\n")
	if r.Verdict == record.DoesNotHold || r.Source != "records of the topic mine" || !strings.Contains(notes, "wrote 300 records") || !strings.Contains(notes, "800 bytes each") || !strings.Contains(notes, "flatters compression") {
		t.Errorf("%s: %s, source %q, notes %q", r.Verdict, r.Reason, r.Source, notes)
	}
	for _, m := range r.Measures {
		if m.Case == "base" && m.Name == "bytes per event" && m.Value > 100 {
			t.Errorf("%v bytes of an event that is one byte sequence again and again", m.Value)
		}
	}
	s.From.Topic = "nobody-has-it"
	if _, _, err := lab.Perform(t.Context(), lab.Config{Dir: t.TempDir()}, BatchingLab.With(s)); err == nil || !strings.Contains(err.Error(), "nobody-has-it") {
		t.Errorf("err = %v", err)
	}
}

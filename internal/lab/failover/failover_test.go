package failover

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seenFailover is a case of an engine with real brokers in which everything went as it
// should: 100 records of 10 ms, followers held at 0.1 s, the leader killed at 0.7 s.
func seenFailover(of Case, real bool) *seen {
	o := &seen{of: of, real: real, sent: 100, acked: map[int64]float64{}, consumed: map[int64]float64{}, leader: 1, successor: 2, dead: true, finished: true,
		held: 0.1, killed: 0.7, moved: 0.72, back: 0.98}
	if of == AcksEvery {
		o.degraded, o.restarting, o.probe = 0.75, 0.85, notEnoughReplicas
	}
	for n := range o.sent {
		at := float64(n) / 100
		if of == AcksEvery && at >= 0.7 && at < 0.9 || of == AcksAll && at >= 0.1 && at < 0.72 {
			at += 0.65
		}
		o.acked[n] = at
		if real && (of == AcksLeader || of == AcksNone) && n >= 60 && n < 70 {
			continue // only the dead leader had these
		}
		o.stored = append(o.stored, n)
		o.consumed[n] = at
	}
	return o
}

func judged(o *seen) *lab.Report {
	s := setting.New[Settings](setting.Short)
	s.Rate = 100
	r := &lab.Report{}
	s.measure(r, o)
	s.judge(r, o)
	r.Conclude()
	return r
}

func TestFailoverJudge(t *testing.T) {
	t.Parallel()
	for _, of := range setting.New[Settings]().Cases {
		for _, real := range []bool{false, true} {
			if r := judged(seenFailover(of, real)); r.Verdict != record.Holds {
				t.Errorf("%s, real %v: %s: %s", of, real, r.Verdict, r.Reason)
			}
		}
	}
	for _, tt := range []struct {
		name string
		of   Case
		real bool
		do   func(*seen)
		want record.Verdict
		says string
	}{
		{"an acknowledged record is gone", AcksAll, true, func(o *seen) { o.stored = o.stored[1:] }, record.DoesNotHold, "1 lost"},
		{"one is there twice", AcksAll, true, func(o *seen) { o.stored = append(o.stored, 3) }, record.DoesNotHold, "1, 0, 0"},
		{"one was never sent", AcksEvery, true, func(o *seen) { o.stored = append(o.stored, 100) }, record.DoesNotHold, "0, 1, 0"},
		{"two changed places", AcksAll, false, func(o *seen) { o.stored[7], o.stored[8] = o.stored[8], o.stored[7] }, record.DoesNotHold, "0, 0, 1"},
		{"one is gone where there is one copy", AcksLeader, false, func(o *seen) { o.stored = o.stored[1:] }, record.DoesNotHold, "1 lost"},
		{"the leader alone lost nothing", AcksLeader, true, func(o *seen) { o.stored = seenFailover(AcksAll, true).stored }, record.DoesNotHold, "at least 1"},
		{"what was replicated is lost, too", AcksNone, true, func(o *seen) { o.stored = o.stored[2:] }, record.DoesNotHold, "a consumer had read"},
		{"the followers fetched all the time", AcksLeader, true, func(o *seen) { o.held = o.killed }, record.Inconclusive, "followers do not fetch"},
		{"a replica short, and written", AcksEvery, true, func(o *seen) { o.acked[3] = 0.8 }, record.DoesNotHold, "1 acknowledged"},
		{"a replica short, and answered yes", AcksEvery, true, func(o *seen) { o.probe = "accepted" }, record.DoesNotHold, "accepted"},
		{"the replica never left", AcksEvery, true, func(o *seen) { o.degraded = 0 }, record.Inconclusive, "still 3"},
		{"nobody goes on", AcksAll, true, func(o *seen) { o.moved = 5 }, record.DoesNotHold, "0 acknowledged"},
		{"nobody died", AcksAll, true, func(o *seen) { o.dead = false }, record.Inconclusive, "gone: false"},
		{"the same broker leads", AcksAll, true, func(o *seen) { o.successor = 1 }, record.Inconclusive, "broker 1 leads"},
		{"nothing was written before", AcksAll, true, func(o *seen) { o.killed = 0 }, record.Inconclusive, "0"},
		{"it did not end", AcksAll, true, func(o *seen) { o.finished = false }, record.Inconclusive, "not in time"},
	} {
		o := seenFailover(tt.of, tt.real)
		tt.do(o)
		if r := judged(o); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestFailoverMeasures(t *testing.T) {
	t.Parallel()
	if got := pause([]float64{5, 0, 1, 3, 1.5}, 1.6); got != 2 {
		t.Errorf("the longest pause that ends after 1.6 is 2, got %v", got)
	}
	if got := pause([]float64{0, 9, 10, 10.5}, 9.5); got != 1 {
		t.Errorf("what ended before the fault does not count: want 1, got %v", got)
	}
	l := perSecond("c", "p", []float64{0, 0.05, 0.31})
	if len(l.Y) != 4 || l.Y[0] != 20 || l.Y[1] != 0 || l.Y[3] != 10 {
		t.Errorf("two in the first tenth, one in the fourth: %v", l.Y)
	}
}

func TestFailoverSettings(t *testing.T) {
	t.Parallel()
	for _, s := range []*Settings{setting.New[Settings](), setting.New[Settings](setting.Short)} {
		if err := Lab.With(s).Check(); err != nil {
			t.Error(err)
		}
	}
	for says, do := range map[string]func(*Settings){
		"--cases is empty": func(s *Settings) { s.Cases = nil },
		"named twice":      func(s *Settings) { s.Cases = []Case{AcksAll, AcksAll} },
		`"2" is unknown`:   func(s *Settings) { s.Cases = []Case{"2"} },
		"--rate":           func(s *Settings) { s.Rate = 1e9 },
		"--before":         func(s *Settings) { s.Before = 0 },
		"--after":          func(s *Settings) { s.After = 0 },
		"--hold":           func(s *Settings) { s.Hold = 0 },
		`"burn"`:           func(s *Settings) { s.Break = "burn" },
	} {
		s := setting.New[Settings]()
		do(s)
		if err := Lab.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
	body, err := json.Marshal(Lab.With(setting.New[Settings]()).Values())
	if want := `{"after_s":4,"before_s":4,"cases":["acks=0","acks=1","acks=all, min 2","acks=all, min 3"],"hold_s":2,"rate":500}`; err != nil || string(body) != want {
		t.Errorf("settings in a report are %s, %v", body, err)
	}
}

// TestFailover runs it for real: on the embedded engine always, on Apache Kafka
// where the environment says so.
func TestFailover(t *testing.T) {
	s := setting.New[Settings](setting.Short)
	if os.Getenv("WEIR_TEST_KAFKA") != "" && os.Getenv("WEIR_TEST_LAB") != "full" {
		s.Cases = []Case{AcksLeader, AcksEvery} // 20 s each; these two show the most
	}
	r := labtest.Perform(t, Lab.With(s))
	if r.Verdict == record.DoesNotHold || len(r.Checks) < 4 {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
	// A verdict must not stand under what the engine cannot show.
	real := os.Getenv("WEIR_TEST_KAFKA") == cluster.Apache
	if got := strings.Contains(r.Claim, "can lose what they reported as written"); got != real {
		t.Errorf("real brokers: %v; the verdict is about: %s", real, r.Claim)
	}
}

// TestBrokenFailover breaks it, and it must say so.
func TestBrokenFailover(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("the faults are the same on every engine")
	}
	for breakage, want := range map[string]record.Verdict{breakTrim: record.DoesNotHold, breakTwice: record.DoesNotHold, kit.BreakIdle: record.Inconclusive} {
		s := setting.New[Settings](setting.Short)
		s.Break, s.Cases = breakage, []Case{AcksAll}
		if r := labtest.Perform(t, Lab.With(s)); r.Verdict != want {
			t.Errorf("%s: %s: %s; want %s", breakage, r.Verdict, r.Reason, want)
		}
	}
}

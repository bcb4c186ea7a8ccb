package replay

import (
	"maps"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// allRight is a replay in which everything went as it should.
func allRight() *seen {
	counts := map[string]int64{"create": 90, "delete": 10}
	return &seen{truth: counts, live: maps.Clone(counts), again: maps.Clone(counts), records: 100, before: 50, during: 5, refilled: 60, refill: 0.1, finished: true}
}

func TestReplayJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*seen)
		want record.Verdict
		says string
	}{
		{"as it should be", func(*seen) {}, record.Holds, "all 3"},
		{"one less the second time", func(o *seen) { o.again["delete"]-- }, record.DoesNotHold, "delete 9"},
		{"a kind too many", func(o *seen) { o.again["edit"] = 1 }, record.DoesNotHold, "edit 1"},
		{"the live group lost one", func(o *seen) { o.live["create"]--; o.again["create"]-- }, record.DoesNotHold, "create 89"},
		{"the live group went back as well", func(o *seen) { o.shrunk = true }, record.DoesNotHold, "once less: true"},
		{"the log grew", func(o *seen) { o.records++ }, record.DoesNotHold, "101 records"},
		{"not rewound", func(o *seen) { o.after = 50 }, record.Inconclusive, "50, 50"},
		{"nothing to rewind", func(o *seen) { o.before = 0 }, record.Inconclusive, "0, 0"},
		{"nothing came meanwhile", func(o *seen) { o.during = 0 }, record.Inconclusive, "at least 1"},
		{"it did not end", func(o *seen) { o.finished = false }, record.Inconclusive, "half a minute"},
	} {
		o := allRight()
		tt.do(o)
		s, r := setting.New[Settings](setting.Short), &lab.Report{}
		s.judge(r, o)
		if r.Conclude(); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestReplaySettings(t *testing.T) {
	t.Parallel()
	for _, s := range []*Settings{setting.New[Settings](), setting.New[Settings](setting.Short)} {
		if err := Lab.With(s).Check(); err != nil {
			t.Error(err)
		}
	}
	for says, do := range map[string]func(*Settings){
		"--rate": func(s *Settings) { s.Rate = math.NaN() },
		"--time": func(s *Settings) { s.Offer = 0 },
		`"burn"`: func(s *Settings) { s.Break = "burn" },
	} {
		s := setting.New[Settings]()
		do(s)
		if err := Lab.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

// TestReplay runs it, and breaks it: then it must say so.
func TestReplay(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("of the embedded engine only")
	}
	for breakage, want := range map[string]record.Verdict{"": record.Holds, BreakSkip: record.DoesNotHold, BreakStay: record.Inconclusive} {
		s := setting.New[Settings](setting.Short)
		s.Break = breakage
		if r := labtest.Perform(t, Lab.With(s)); r.Verdict != want && r.Verdict != record.Inconclusive {
			t.Errorf("%q: %s: %s; want %s", breakage, r.Verdict, r.Reason, want)
		}
	}
}

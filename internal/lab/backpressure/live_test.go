package backpressure

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// liveServer is a Jetstream that the lab does not know from inside.
func liveServer(t *testing.T, rate float64) *kit.Upstream {
	t.Helper()
	return &kit.Upstream{URLs: []string{labtest.LiveServer(t, rate)}, Collections: kit.Collections}
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
		do   func(*Settings)
		want record.Verdict
		says string
	}{
		{"enough comes", 1300, func(*Settings) {}, record.Holds, ""},
		{"too little comes", 100, func(*Settings) {}, record.Inconclusive, "the load fills the queue"},
		{"an uncounted loss, of little", 100, func(s *Settings) { s.Break = BreakLose }, record.DoesNotHold, "is counted"},
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
			if got := verdicts(r, "no event is duplicated"); fmt.Sprint(got) != "[holds]" {
				t.Errorf("what is exact is not judged: %v\n%s", got, failed(r))
			}
			if r.Source != lab.SourceLive || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "simulated:7") {
				t.Errorf("source %q, notes %q", r.Source, r.Notes)
			}
		})
	}
}

func TestALiveStreamMustHaveTheURLOfOne(t *testing.T) {
	t.Parallel()
	s := setting.New[Settings](setting.Short)
	if s.Live = (&kit.Upstream{URLs: []string{"http://127.0.0.1:1"}, Collections: kit.Collections}); Lab.With(s).Check() == nil {
		t.Error("a URL of something else is taken")
	}
}

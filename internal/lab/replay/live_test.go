package replay

import (
	"testing"

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

func TestLiveReplay(t *testing.T) {
	t.Parallel() // what is claimed is exact
	live := liveServer(t, 500)
	for breakage, want := range map[string]record.Verdict{"": record.Holds, BreakSkip: record.DoesNotHold} {
		s := setting.New[Settings](setting.Short)
		s.Live, s.Break = live, breakage
		if r := labtest.Perform(t, Lab.With(s)); r.Verdict != want || r.Source != lab.SourceLive {
			t.Errorf("%q: %s: %s; want %s", breakage, r.Verdict, r.Reason, want)
		}
	}
}

package backpressure

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
)

func TestACaseIsNamedAfterWhatWasSet(t *testing.T) {
	for want, set := range map[string][][2]string{
		"block":                          nil,
		"block → drop-oldest":            {{"policy", "drop-oldest"}},
		"block → drop-oldest → block":    {{"policy", "drop-oldest"}, {"policy", "block"}},
		"block → … → spill → block":      {{"policy", "sample"}, {"policy", "block"}, {"policy", "spill"}, {"policy", "block"}},
		"block (workers, work changed)":  {{"workers", "3"}, {"work", "5"}, {"workers", "4"}},
		"block → sample (pause changed)": {{"pause", "paused"}, {"policy", "sample"}},
	} {
		s, o := good(overflow.Block)
		for _, c := range set {
			o.change(c[0], c[1])
		}
		r := &lab.Report{}
		s.judge(r, o)
		for _, c := range r.Checks {
			if c.Case != want {
				t.Errorf("a check is of %q, want %q", c.Case, want)
			}
		}
		for _, m := range r.Measures {
			if m.Case != want {
				t.Errorf("a measure is of %q, want %q", m.Case, want)
			}
		}
		if len(r.Checks) == 0 || len(r.Measures) == 0 {
			t.Errorf("%s: nothing was judged", want)
		}
	}
}

// TestThePolicyIsChangedByHand runs the lab and changes its policy once the queue is full.
func TestThePolicyIsChangedByHand(t *testing.T) {
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("runs for some seconds: WEIR_TEST_LAB=1 go test ./internal/lab")
	}
	full := make(chan struct{})
	seen := false
	live := lab.NewLive(func(u record.Update) {
		for _, tank := range u.Tanks {
			if tank.Name == "queue" && tank.Level >= minQueue-batchEvents && !seen {
				seen = true
				close(full)
			}
		}
	})
	set := make(chan error, 1)
	go func() {
		<-full
		set <- live.Set("policy", "drop-oldest")
	}()
	s := small(overflow.Block)
	s.Offer = 4 * time.Second
	r, _, err := lab.Perform(t.Context(), lab.Config{Dir: t.TempDir(), Live: live}, Lab.With(s))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	const want = "block → drop-oldest"
	var cases []string
	dropped := 0.0
	for _, c := range r.Checks {
		cases = append(cases, c.Case)
	}
	for _, m := range r.Measures {
		cases = append(cases, m.Case)
		if m.Name == "dropped" {
			dropped = m.Value
		}
	}
	for _, l := range r.Lines {
		cases = append(cases, l.Case)
	}
	slices.Sort(cases)
	if cases = slices.Compact(cases); !slices.Equal(cases, []string{want}) {
		t.Errorf("the cases are %q, want %q", cases, want)
	}
	if dropped == 0 || r.Verdict == record.DoesNotHold {
		t.Errorf("%v dropped; %s: %s", dropped, r.Verdict, failed(r))
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), want+": settings were changed by hand") {
		t.Errorf("notes = %q", r.Notes)
	}
}

package lab

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

// heard collects updates.
type heard struct {
	mu  sync.Mutex
	all []record.Update
}

func (h *heard) listen(u record.Update) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, u)
}

func TestWhatIsToldIsHeardAndKept(t *testing.T) {
	var h heard
	live := NewLive(h.listen)
	r, kept, err := Perform(t.Context(), Config{Dir: t.TempDir(), Live: live}, stubs.With(&stub{run: func(_ context.Context, b *Bench, r *Report) error {
		b.Begin("a", time.Now().Add(-3*time.Second))
		b.Progress("half done")
		b.Point("a", "size", 5)
		b.Points("a", record.Point{Panel: "speed", Y: 7}, record.Point{Panel: "nothing", Y: math.NaN()}, record.Point{Panel: "a colour", Y: 1})
		b.Tradeoff(record.Tradeoff{Case: "b", X: 9, Y: 9})
		b.Tradeoff(record.Tradeoff{Case: "b", X: 4, Y: 2})
		b.Point("c", "exact", 1)
		b.Mark("a", "a broker died")
		b.Tanks([]record.Tank{{Name: "queue", Level: 1, Capacity: 2, Unit: "events"}})
		r.Of("a").Measure("size", 5, "bytes")
		r.Of("a").Check("one is one", "1", "1", true)
		r.Lines = append(r.Lines, record.Line{Case: "c", Panel: "exact", X: []float64{1, 2}, Y: []float64{3, 4}})
		return nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	var p record.Picture
	for _, u := range h.all {
		p.Add(u)
	}
	if p.Case != "a" || p.Progress != "half done" || len(p.Tanks) != 1 || len(p.Measures) != 1 || len(p.Checks) != 1 || len(p.Controls) != 0 || !slices.Equal(p.Tradeoffs, []record.Tradeoff{{Case: "b", X: 4, Y: 2}}) {
		t.Errorf("heard %+v", p)
	}
	if p.End == nil || p.End.Verdict != record.Holds || p.End.Directory != kept || p.End.Error != "" {
		t.Errorf("the end is %+v", p.End)
	}
	if len(r.Marks) != 1 || r.Marks[0].Text != "a broker died" || r.Marks[0].X < 3 {
		t.Errorf("marks = %+v, want one 3 s after the case began", r.Marks)
	}
	got := map[string]record.Line{}
	for _, l := range r.Lines {
		got[l.Panel] = l
	}
	if r.Lines[1].Panel != "speed" || r.Lines[2].Panel != "a colour" {
		t.Errorf("panels are not in the order in which they were told: %+v", r.Lines)
	}
	if len(r.Lines) != 4 || got["size"].Y[0] != 5 || got["size"].X[0] < 3 || !slices.Equal(got["exact"].Y, []float64{3, 4}) {
		t.Errorf("lines = %+v", r.Lines)
	}
}

func TestAnExperimentThatFailsSaysSo(t *testing.T) {
	var h heard
	broken := errors.New("broken")
	_, _, err := Perform(t.Context(), Config{Dir: t.TempDir(), Live: NewLive(h.listen)}, stubs.With(&stub{run: func(context.Context, *Bench, *Report) error { return broken }}))
	if last := h.all[len(h.all)-1]; !errors.Is(err, broken) || last.End == nil || last.End.Error != "broken" || last.End.Verdict != "" {
		t.Errorf("err = %v, the end is %+v", err, last.End)
	}
}

func TestASettingIsChangedWhileItRuns(t *testing.T) {
	var h heard
	live := NewLive(h.listen)
	if err := live.Set("policy", "b"); !errors.Is(err, ErrNoControl) {
		t.Errorf("before it is offered: %v", err)
	}
	r, _, err := Perform(t.Context(), Config{Dir: t.TempDir(), Live: live}, stubs.With(&stub{run: func(_ context.Context, b *Bench, r *Report) error {
		var policy, work string
		b.Begin("first", time.Now())
		b.Offer(record.Control{Name: "policy", Label: "policy", Values: []string{"a", "b"}, Value: "a"}, func(v string) error { policy = v; return nil })
		b.Offer(record.Control{Name: "work", Label: "work", Min: 1, Max: 20, Unit: "ms", Value: "10"}, func(v string) error { work = v; return nil })
		b.Offer(record.Control{Name: "kill", Label: "who dies", Values: []string{"", "a"}}, func(string) error { return errors.New("it is the last") })
		for _, c := range []struct{ name, value, wrong string }{
			{"kill", "a", "it is the last"}, {"policy", "c", "choose one of a, b"}, {"work", "21", "from 1 to 20 ms"}, {"work", "NaN", "from 1 to 20 ms"}, {"other", "1", "does not offer"},
			{"policy", "a", ""}, {"policy", "b", ""}, {"work", "2.5", ""},
		} {
			if err := live.Set(c.name, c.value); (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s = %s: %v, want %q", c.name, c.value, err, c.wrong)
			}
		}
		if policy != "b" || work != "2.5" {
			t.Errorf("set are %q and %q", policy, work)
		}
		b.Became("policy", "a") // by itself: nothing is set, and "b" can be asked for again
		b.Became("nothing", "a")
		if policy != "b" {
			t.Errorf("set is %q, which nobody asked for", policy)
		}
		if err := live.Set("policy", "b"); err != nil {
			t.Error(err)
		}
		b.Withdraw()
		if err := live.Set("policy", "a"); !errors.Is(err, ErrNoControl) {
			t.Errorf("after it was withdrawn: %v", err)
		}
		return nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(h.all, func(u record.Update) bool { return u.Progress == "who dies not changed: it is the last" }) {
		t.Error("what the experiment refused was not told")
	}
	var texts []string
	for _, m := range r.Marks {
		texts = append(texts, m.Case+": "+m.Text)
	}
	if want := []string{"first: policy → b", "first: work → 2.5 ms", "first: policy → b"}; !slices.Equal(texts, want) {
		t.Errorf("marks = %q, want %q", texts, want)
	}
	var p record.Picture
	for _, u := range h.all {
		p.Add(u)
	}
	if p.Controls == nil || len(p.Controls) != 0 {
		t.Errorf("at the end are offered %+v", p.Controls)
	}
}

// TestRenamedCase: what was told under the first name is in the report under the last.
func TestRenamedCase(t *testing.T) {
	r, _, err := Perform(t.Context(), Config{Dir: t.TempDir()}, stubs.With(&stub{run: func(_ context.Context, b *Bench, _ *Report) error {
		b.Begin("other", time.Now())
		b.Point("other", "size", 7)
		b.Begin("first", time.Now())
		b.Point("first", "size", 1)
		b.Mark("first", "changed")
		b.Rename("first", "first → second")
		b.Point("first → second", "size", 2)
		return nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Lines, func(l record.Line) bool {
		return l.Case == "first → second" && l.Panel == "size" && slices.Equal(l.Y, []float64{1, 2})
	})
	if i < 0 || !slices.ContainsFunc(r.Lines, func(l record.Line) bool { return l.Case == "other" }) || slices.ContainsFunc(r.Lines, func(l record.Line) bool { return l.Case == "first" }) {
		t.Errorf("lines = %+v", r.Lines)
	}
	if len(r.Marks) != 1 || r.Marks[0].Case != "first → second" {
		t.Errorf("marks = %+v", r.Marks)
	}
}

package lab

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/lab/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub are settings of an experiment without a pipeline.
type stub struct {
	check error
	run   func(ctx context.Context, b *Bench, r *Report) error
}

func (s *stub) Check() error { return s.check }

func (s *stub) Run(ctx context.Context, b *Bench, r *Report) error { return s.run(ctx, b, r) }

var stubs = &Lab{Name: "stub", Claim: "Something is so."}

// left lists what is in a directory of labs besides the lock.
func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestAReportIsKeptAndReadBack(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, workPrefix+"old", "kafka"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, kept, err := Perform(t.Context(), Config{Dir: dir, Version: "1.2.3"}, stubs.With(&stub{run: func(_ context.Context, b *Bench, r *Report) error {
		if got := left(t, b.Dir); len(got) != 0 {
			t.Errorf("the experiment's directory holds %v", got)
		}
		r.Of("a").Check("one is one", "1", "1", true)
		r.Of("a").Measure("size", 5, "bytes")
		r.Lines = []record.Line{{Case: "a", Panel: "size", X: []float64{0, 1, 2}, Y: []float64{1, 5, 2}}, {Case: "b<&>", Panel: "size", X: []float64{0, 1}, Y: []float64{0, 1}}}
		return os.WriteFile(filepath.Join(b.Dir, "x"), []byte("x"), 0o600)
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := left(t, dir); len(got) != 1 || filepath.Join(dir, got[0]) != kept {
		t.Errorf("left are %v, want the report alone", got)
	}
	again, err := record.Read(kept)
	if err != nil || again.Verdict != record.Holds || r.Verdict != record.Holds || again.Version != "1.2.3" || len(again.Measures) != 1 || len(again.Lines) != 2 {
		t.Errorf("read back %+v, %v", again, err)
	}
	list, err := record.List(dir)
	if err != nil || len(list) != 1 || list[0].Verdict != record.Holds || list[0].Name != filepath.Base(kept) {
		t.Errorf("list = %+v, %v", list, err)
	}
	svg, err := os.Open(filepath.Join(kept, record.PlotName))
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	paths := 0
	for d := xml.NewDecoder(svg); ; {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "path" {
			paths++
		}
	}
	if paths < 2 {
		t.Errorf("the plot has %d paths, want a line for each case", paths)
	}
}

func TestNothingIsLeftOfWhatHasNoVerdict(t *testing.T) {
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	for name, run := range map[string]func(context.Context, *Bench, *Report) error{
		"an error": func(context.Context, *Bench, *Report) error { return broken },
		"stopped": func(_ context.Context, _ *Bench, r *Report) error {
			r.Of("a").Check("one is one", "1", "1", true)
			cancel()
			return nil
		},
	} {
		dir := t.TempDir()
		r, kept, err := Perform(ctx, Config{Dir: dir}, stubs.With(&stub{run: run}))
		if r != nil || kept != "" || !errors.Is(err, broken) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %q, %v", name, r, kept, err)
		}
		if got := left(t, dir); len(got) != 0 {
			t.Errorf("%s leaves %v", name, got)
		}
	}
}

func TestOnlyOneAtATime(t *testing.T) {
	dir := t.TempDir()
	outer := stubs.With(&stub{run: func(ctx context.Context, b *Bench, r *Report) error {
		_, _, err := Perform(ctx, Config{Dir: dir}, stubs.With(&stub{run: func(context.Context, *Bench, *Report) error {
			t.Error("a second one ran")
			return nil
		}}))
		busy, ok := errors.AsType[*BusyError](err)
		if !ok || !strings.Contains(busy.Error(), "stub, process") {
			t.Errorf("the second one was told %v", err)
		}
		if _, err := os.Stat(b.Dir); err != nil {
			t.Errorf("the second one removed the first one's directory: %v", err)
		}
		return nil
	}})
	for range 2 { // the lock is free again afterwards
		if _, _, err := Perform(t.Context(), Config{Dir: dir}, outer); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImpossibleSettingsTouchNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "labs")
	impossible := errors.New("impossible")
	if _, _, err := Perform(t.Context(), Config{Dir: dir}, stubs.With(&stub{check: impossible})); !errors.Is(err, impossible) {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		checks string // h, d, i: a check each
		want   record.Verdict
	}{{"", record.Inconclusive}, {"h", record.Holds}, {"hh", record.Holds}, {"hi", record.Inconclusive}, {"hd", record.DoesNotHold}, {"id", record.DoesNotHold}, {"di", record.DoesNotHold}} {
		var r Report
		for _, k := range c.checks {
			if k == 'i' {
				r.Of("case").Needs(false, "claim", "x", "y")
			} else {
				r.Of("case").Check("claim", "x", "y", k == 'h')
			}
		}
		if r.Conclude(); r.Verdict != c.want || r.Reason == "" {
			t.Errorf("%q: %s (%s), want %s", c.checks, r.Verdict, r.Reason, c.want)
		}
	}
}

// TestWhatWasOpenedEnds whatever an experiment returns: the last first, and that of a part with the part.
func TestWhatWasOpenedEnds(t *testing.T) {
	broken := errors.New("broken")
	var ended []string
	end := func(b *Bench, name string) {
		b.Cleanup(func() error { ended = append(ended, name); return nil })
	}
	_, _, err := Perform(t.Context(), Config{Dir: t.TempDir()}, stubs.With(&stub{run: func(_ context.Context, b *Bench, _ *Report) error {
		end(b, "first")
		end(b, "second")
		var dir string
		n, err := Part(b, func(b *Bench) (int, error) {
			dir = b.Dir
			end(b, "of the part")
			return 7, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)
		})
		if _, gone := os.Stat(dir); n != 7 || err != nil || dir == b.Dir || !errors.Is(gone, os.ErrNotExist) {
			t.Errorf("a part returns %d, %v; its directory %s: %v", n, err, dir, gone)
		}
		ended = append(ended, "the end")
		b.Cleanup(func() error { return broken })
		return nil
	}}))
	if want := "of the part, the end, second, first"; strings.Join(ended, ", ") != want || !errors.Is(err, broken) {
		t.Errorf("ended are %q, want %s; err = %v", ended, want, err)
	}
}

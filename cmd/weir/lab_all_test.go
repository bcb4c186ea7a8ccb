package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

func TestLabAllWorst(t *testing.T) {
	t.Parallel()
	holds, not, unclear, failed := labResult{Verdict: record.Holds}, labResult{Verdict: record.DoesNotHold}, labResult{Verdict: record.Inconclusive}, labResult{Error: "no Java"}
	for _, tt := range []struct {
		name    string
		results []labResult
		want    int
	}{
		{"all hold", []labResult{holds, holds}, cli.ExitOK},
		{"one is inconclusive", []labResult{holds, unclear}, cli.ExitUnclear},
		{"one does not hold", []labResult{unclear, not, failed, holds}, cli.ExitFailed},
		{"one could not run", []labResult{unclear, failed, holds}, cli.ExitRuntime},
	} {
		err := worstOf(tt.results)
		code := cli.ExitOK
		if c, ok := errors.AsType[*cli.Error](err); ok {
			code = c.Code
		}
		if code != tt.want || (err == nil) != (tt.want == cli.ExitOK) {
			t.Errorf("%s: exit code %d (%v), want %d", tt.name, code, err, tt.want)
		}
	}
}

// scripted are settings of an experiment that ends as it is told to.
type scripted struct {
	run func(ctx context.Context) error
}

// script returns such an experiment.
func script(name string, run func(ctx context.Context) error) *lab.Experiment {
	return (&lab.Lab{Name: name, Claim: "Something is so."}).With(&scripted{run})
}

func (s *scripted) Run(ctx context.Context, _ *lab.Bench, _ *lab.Report) error { return s.run(ctx) }

// TestLabAllBesideAnother is refused once, with the reason, and not lab by lab.
func TestLabAllBesideAnother(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	inside := script("inside", func(ctx context.Context) error {
		var out, msgs strings.Builder
		a := &app{stdout: &out, stderr: cli.NewScreen(&msgs, true, "dumb"), env: map[string]string{"WEIR_DATA": data}, output: cli.FormatTable, dataDir: data}
		err := a.performLabs(ctx, []*lab.Experiment{script("first", nil), script("second", nil)}, cluster.Embedded)
		if c, ok := errors.AsType[*cli.Error](err); !ok || c.Code != cli.ExitRuntime || !strings.Contains(err.Error(), "another lab is running (inside") || out.Len() > 0 || strings.Contains(msgs.String(), "second") {
			t.Errorf("err = %v, printed %q and %q", err, out.String(), msgs.String())
		}
		return nil
	})
	if _, _, err := lab.Perform(t.Context(), lab.Config{Dir: data + "/" + labsDir}, inside); err != nil {
		t.Fatal(err)
	}
}

// TestLabAllGoesOn lets the first experiment fail and stops in the third one.
func TestLabAllGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out, msgs strings.Builder
	data := t.TempDir()
	a := &app{stdout: &out, stderr: cli.NewScreen(&msgs, true, "dumb"), env: map[string]string{"WEIR_DATA": data}, output: cli.FormatJSON, dataDir: data}
	err := a.performLabs(ctx, []*lab.Experiment{
		script("first", func(context.Context) error { return errors.New("no brokers") }),
		script("second", func(context.Context) error { return nil }), // without a check nothing is shown
		script("third", func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }),
		script("fourth", func(context.Context) error { t.Error("it runs although it was stopped"); return nil }),
	}, cluster.Embedded)
	if c, ok := errors.AsType[*cli.Error](err); !ok || c.Code != cli.ExitUnclear || !strings.Contains(err.Error(), "stopped after 2 of 4") {
		t.Errorf("err = %v", err)
	}
	var results []labResult
	if err := json.Unmarshal([]byte(out.String()), &results); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if len(results) != 2 || !strings.Contains(results[0].Error, "no brokers") || results[1].Verdict != record.Inconclusive || results[1].Directory == "" {
		t.Errorf("results = %+v", results)
	}
	if entries, _ := os.ReadDir(data + "/" + labsDir); len(entries) != 2 { // the lock, and a report
		t.Errorf("left are %v", entries)
	}
}

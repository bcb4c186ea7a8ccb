package judge

import (
	"os"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/exercise"
)

// check runs the program of this test binary that does the words wrong.
func check(t *testing.T, name, words string) *exercise.Report {
	t.Helper()
	r, err := Run(t.Context(), Config{Exercise: name, Args: []string{os.Args[0]}, Environ: append(os.Environ(), "LEARNER=right "+words),
		Self: os.Args[0], FreePorts: true, Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustSay checks the verdict and that the headline has some words.
func mustSay(t *testing.T, r *exercise.Report, v exercise.Verdict, words ...string) {
	t.Helper()
	if r.Verdict != v {
		t.Errorf("verdict %s, want %s", r.Verdict, v)
	}
	for _, w := range words {
		if !strings.Contains(r.Headline, w) {
			t.Errorf("the headline does not say %q", w)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s\n%s\n%+v\n%+v\n%s", r.Headline, r.Why, r.Hint, r.Evidence, r.Checks, r.Output)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for words, want := range map[string][]string{
		"":              nil,
		"one-partition": {"only partition 2"},
		"latest":        {"none of the 1500 events that were in the topic before it started"},
		"kind":          {"counts the field kind", "commit = 2000"},
		"crash":         {"ended by itself", "exit code 1", "no module named kafka"},
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			r := check(t, "count", words)
			if want == nil {
				mustSay(t, r, exercise.Passed, "all 2000 events")
				return
			}
			mustSay(t, r, exercise.Wrong, want...)
		})
	}
}

package main

import (
	"archive/zip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/exercise"
)

// callsExercises looks at the exercises of a running weir.
func callsExercises(t *testing.T, get func(template, path string) any) {
	t.Helper()
	if n := len(dig(get("/exercises", "/exercises"), "exercises").([]any)); n != 9 {
		t.Errorf("%d exercises are listed", n)
	}
	if v := get("/exercises/{name}", "/exercises/count"); dig(v, "name") != "count" || dig(v, "last") != nil {
		t.Errorf("the exercise count is %v", v)
	}
	packed, _ := get("/exercises/{name}/starter.zip", "/exercises/count/starter.zip?lang=python").(string)
	z, err := zip.NewReader(strings.NewReader(packed), int64(len(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, "count/EXERCISE.md") || !slices.Contains(names, "count/main.py") {
		t.Errorf("the starter has %v", names)
	}
}

func TestExerciseListAndShow(t *testing.T) {
	env := testEnv(t)
	stdout, _, code := weir(t, env, "exercise", "list")
	if code != cli.ExitOK || strings.Count(stdout, "\n") != 10 || !strings.Contains(stdout, "keep-up") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	stdout, _, code = weir(t, env, "exercise", "show", "once")
	if code != cli.ExitOK || !strings.Contains(stdout, "OUTPUT_TOPIC") && !strings.Contains(stdout, "REDIS_URL") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	if _, stderr, code := weir(t, env, "exercise", "show", "twice"); code != cli.ExitUsage || !strings.Contains(stderr, "weir exercise list") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestExerciseStartReplacesNothing(t *testing.T) {
	env, dir := testEnv(t), filepath.Join(t.TempDir(), "mine")
	for _, lang := range exercise.Languages {
		for _, e := range exercise.List() {
			into := filepath.Join(dir, lang, e.Name)
			stdout, stderr, code := weir(t, env, "exercise", "start", e.Name, "--lang", lang, "--dir", into)
			if code != cli.ExitOK || !strings.Contains(stderr, "weir exercise check "+e.Name) {
				t.Fatalf("start %s --lang %s: exit code %d: %s", e.Name, lang, code, stderr)
			}
			main := map[string]string{"python": "main.py", "go": "main.go"}[lang]
			if !strings.Contains(stdout, main) || !exists(filepath.Join(into, main)) || lang == "go" && !exists(filepath.Join(into, "go.mod")) {
				t.Errorf("start %s --lang %s wrote\n%s", e.Name, lang, stdout)
			}
		}
	}
	own := filepath.Join(dir, "python", "count", "main.py")
	if err := os.WriteFile(own, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := weir(t, env, "exercise", "start", "count", "--dir", filepath.Dir(own))
	if b, err := os.ReadFile(own); code != cli.ExitUsage || !strings.Contains(stderr, "exists already") || err != nil || string(b) != "mine" {
		t.Errorf("exit code %d: %s; the file is now %q, %v", code, stderr, b, err)
	}
	if _, stderr, code := weir(t, env, "exercise", "start", "count", "--lang", "cobol"); code != cli.ExitUsage || !strings.Contains(stderr, "python") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestExerciseCheckUsage(t *testing.T) {
	env := testEnv(t)
	for words, want := range map[string]string{
		"count":                                  "name the program once",
		"count python3 main.py":                  "stands behind --",
		"count --dir x -- python3":               "name the program once",
		"nothing -- python3":                     "no exercise called",
		"all":                                    "directory of the submissions",
		"all " + t.TempDir():                     "no submission was found",
		"count --dir " + t.TempDir():             "no program was found",
		"count --timeout -1s -- python3":         "are limits",
		"count --free-ports -- no-such-program!": "cannot be started",
	} {
		if _, stderr, code := weir(t, env, append([]string{"exercise", "check"}, strings.Fields(words)...)...); code != cli.ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("check %s: exit code %d: %s", words, code, stderr)
		}
	}
}

// TestExerciseCheck checks this test binary, which ends at once, as a program, and as a submission.
func TestExerciseCheck(t *testing.T) {
	env := testEnv(t)
	stdout, _, code := weir(t, env, "exercise", "check", "count", "--free-ports", "-o", "json", "--", os.Args[0], "-test.run=^$")
	var r exercise.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err, stdout)
	}
	if code != cli.ExitFailed || r.Verdict != exercise.Wrong || !strings.Contains(r.Headline, "ended by itself") || r.Why == "" || r.Hint == "" {
		t.Errorf("exit code %d: %+v", code, r)
	}
	if stdout, _, _ := weir(t, env, "exercise", "list"); !strings.Contains(stdout, "wrong ") {
		t.Errorf("the list does not have the report:\n%s", stdout)
	}
	if stdout, _, _ := weir(t, env, "exercise", "show", "count"); !strings.Contains(stdout, "WRONG: the program ended by itself") {
		t.Errorf("show does not have the report:\n%s", stdout)
	}
}

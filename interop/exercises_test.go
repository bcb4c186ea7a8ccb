package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestExercises lets `weir exercise check` judge programs whose verdict is known: the reference
// programs pass, and each broken one, which is the reference with one typical mistake, is wrong
// for the stated reason. The programs of interop/clients that people write first are judged, too.
func TestExercises(t *testing.T) {
	python := os.Getenv("WEIR_TEST_EXERCISES")
	if python == "" {
		t.Skip("needs a Python that has interop/clients/requirements.txt: WEIR_TEST_EXERCISES=PYTHON go -C interop test -run Exercises .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	e := exercises{weir: filepath.Join(bin, "weir"), languages: map[string]language{
		"python": pythonPrograms{python},
		"go":     goPrograms{},
	}}
	for name := range e.languages {
		t.Run(name, func(t *testing.T) { e.judgeAll(t, name) })
		t.Run(name+" starters", func(t *testing.T) { e.startAll(t, name) })
	}
	t.Run("first programs", func(t *testing.T) { e.judgeFirst(t, python) })
}

// exercises is the built weir, and how programs of each language are made.
type exercises struct {
	weir      string
	languages map[string]language
}

// language makes the command of a program.
type language interface {
	// file is the name of the program's only file.
	file() string
	// command returns the command of the program in dir, whose file has this text.
	command(t *testing.T, dir, text string) []string
	// compile returns the command that compiles a starter in its directory.
	compile() []string
}

// mistake is a typical mistake: the edits of the reference program that make it, and a part of
// what the report has to give as the reason.
type mistake struct {
	Name  string `json:"name"`
	Edits []struct {
		Old string `json:"old"`
		New string `json:"new"`
	} `json:"edits"`
	Reason string `json:"reason"`
}

// judged is the part of a report that the test reads.
type judged struct {
	Verdict  string `json:"verdict"`
	Headline string `json:"headline"`
	Why      string `json:"why"`
	Hint     string `json:"hint"`
	Output   string `json:"output"`
}

// judgeAll judges every reference program of a language and every mistake of it.
func (e exercises) judgeAll(t *testing.T, name string) {
	t.Parallel()
	lang := e.languages[name]
	references, err := filepath.Glob(filepath.Join("exercises", name, "*", lang.file()))
	if err != nil || len(references) != 9 {
		t.Fatalf("%d reference programs in %s: %v", len(references), name, err)
	}
	for _, path := range references {
		dir := filepath.Dir(path)
		exercise := filepath.Base(dir)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		t.Run(exercise+"/reference", func(t *testing.T) {
			t.Parallel()
			got := e.check(t, exercise, lang.command(t, dir, text))
			if got.Verdict != "passed" {
				t.Errorf("the reference program does not pass: %+v", got)
			}
		})
		mistakes := readMistakes(t, filepath.Join("exercises", "broken", name, exercise+".json"))
		for _, m := range mistakes {
			t.Run(exercise+"/"+m.Name, func(t *testing.T) {
				t.Parallel()
				got := e.check(t, exercise, lang.command(t, dir, m.applied(t, text)))
				expectWrong(t, got, m.Reason)
			})
		}
	}
}

// startAll lets `weir exercise start` write every starter, which has to compile, and whose
// instructions have to be there.
func (e exercises) startAll(t *testing.T, name string) {
	t.Parallel()
	references, err := filepath.Glob(filepath.Join("exercises", name, "*", e.languages[name].file()))
	if err != nil || len(references) != 9 {
		t.Fatalf("%d reference programs in %s: %v", len(references), name, err)
	}
	for _, path := range references {
		exercise := filepath.Base(filepath.Dir(path))
		dir := filepath.Join(t.TempDir(), exercise)
		start := exec.CommandContext(t.Context(), e.weir, "exercise", "start", exercise, "--lang", name, "--dir", dir)
		if out, err := start.CombinedOutput(); err != nil {
			t.Errorf("start %s: %v\n%s", exercise, err, out)
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "EXERCISE.md"))
		if err != nil || !strings.Contains(string(text), "## What must hold") {
			t.Errorf("the starter of %s in %s has no instructions: %v", exercise, name, err)
		}
		args := e.languages[name].compile()
		compile := exec.CommandContext(t.Context(), args[0], args[1:]...)
		compile.Dir = dir
		if out, err := compile.CombinedOutput(); err != nil {
			t.Errorf("the starter of %s in %s does not compile: %v\n%s", exercise, name, err, out)
		}
	}
}

// readMistakes reads at least two mistakes.
func readMistakes(t *testing.T, path string) (mistakes []mistake) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	if err := in.Decode(&mistakes); err != nil || len(mistakes) < 2 {
		t.Fatalf("%s has %d broken programs: %v", path, len(mistakes), err)
	}
	return mistakes
}

// applied returns the text of the program with the mistake.
func (m mistake) applied(t *testing.T, text string) string {
	t.Helper()
	for _, edit := range m.Edits {
		if n := strings.Count(text, edit.Old); n != 1 {
			t.Fatalf("%q: the reference program has %q %d times, not once", m.Name, edit.Old, n)
		}
		text = strings.Replace(text, edit.Old, edit.New, 1)
	}
	return text
}

// expectWrong wants a verdict that gives the reason.
func expectWrong(t *testing.T, got judged, reason string) {
	t.Helper()
	said := got.Headline + " " + got.Why
	if got.Verdict != "wrong" || reason == "" || !strings.Contains(strings.ToLower(said), strings.ToLower(reason)) {
		t.Errorf("the report does not give %q as the reason: %+v", reason, got)
	}
}

// check runs `weir exercise check` and returns its report. A check that is inconclusive, for
// the machine is busy, is done again.
func (e exercises) check(t *testing.T, exercise string, command []string) (got judged) {
	t.Helper()
	for try := 1; ; try++ {
		code, out, complaint := e.run(t, exercise, command)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("the report of %s is %q: %v\n%s", exercise, out, err, complaint)
		}
		if want := map[string]int{"passed": 0, "wrong": 4, "inconclusive": 5}[got.Verdict]; code != want {
			t.Errorf("exit code %d for the verdict %q", code, got.Verdict)
		}
		if got.Verdict != "inconclusive" || try == 3 {
			t.Logf("%s: %s", got.Verdict, got.Headline)
			return got
		}
		t.Logf("inconclusive, once more: %s", got.Headline)
	}
}

func (e exercises) run(t *testing.T, exercise string, command []string) (code int, stdout []byte, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience) // a check waits for many things
	defer cancel()
	args := append([]string{"exercise", "check", exercise, "-o", "json", "--data", t.TempDir(), "--"}, command...)
	cmd := exec.CommandContext(ctx, e.weir, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it stops the program, too
	cmd.WaitDelay = time.Minute
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out, complaint.String()
}

// pythonPrograms are run by an interpreter.
type pythonPrograms struct{ interpreter string }

func (pythonPrograms) file() string { return "main.py" }

func (p pythonPrograms) compile() []string {
	return []string{p.interpreter, "-m", "py_compile", "main.py"}
}

func (p pythonPrograms) command(t *testing.T, _, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "main.py")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{p.interpreter, path}
}

// goPrograms are built in the directory of the reference programs, whose module has what they
// import, with the changed text in place of the file.
type goPrograms struct{}

func (goPrograms) file() string { return "main.go" }

func (goPrograms) compile() []string { return []string{"go", "vet", "."} }

func (goPrograms) command(t *testing.T, dir, text string) []string {
	t.Helper()
	tmp := t.TempDir()
	changed, overlay := filepath.Join(tmp, "main.go"), filepath.Join(tmp, "overlay.json")
	file, err := filepath.Abs(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(changed, []byte(text), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(tmp, "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-overlay", overlay, "-o", program, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	return []string{program}
}

// judgeFirst judges programs as people write them first: correct as long as nothing happens.
// docs/explanation/from-scripts.md publishes this table.
func (e exercises) judgeFirst(t *testing.T, python string) {
	t.Parallel()
	for _, first := range []struct{ program, exercise, reason string }{
		{"first_consumer.py", "count", ""},
		{"first_consumer.py", "survive", ""},
		{"first_consumer.py", "share", "did not leave its group"},
		{"first_consumer.py", "once", "counted twice because of"},
		{"first_producer.py", "produce", "not its author's DID"},
	} {
		t.Run(first.program+" "+first.exercise, func(t *testing.T) {
			t.Parallel()
			got := e.check(t, first.exercise, []string{python, "-W", "ignore", filepath.Join("clients", first.program)})
			if first.reason != "" {
				expectWrong(t, got, first.reason)
			} else if got.Verdict != "passed" {
				t.Errorf("%s does not pass: %+v", first.program, got)
			}
		})
	}
}

// TestMistakesApply keeps the broken programs in step with the reference programs; it needs nothing.
func TestMistakesApply(t *testing.T) {
	lists, err := filepath.Glob(filepath.Join("exercises", "broken", "*", "*.json"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no broken programs: %v", err)
	}
	file := map[string]string{"python": "main.py", "go": "main.go"}
	for _, list := range lists {
		name, exercise := filepath.Base(filepath.Dir(list)), strings.TrimSuffix(filepath.Base(list), ".json")
		b, err := os.ReadFile(filepath.Join("exercises", name, exercise, file[name]))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range readMistakes(t, list) {
			if m.Reason == "" || len(m.Edits) == 0 || slices.Contains(names, m.Name) {
				t.Errorf("%s: %q has no reason or no edits, or its name is there already", list, m.Name)
			}
			names = append(names, m.Name)
			m.applied(t, string(b))
		}
	}
}

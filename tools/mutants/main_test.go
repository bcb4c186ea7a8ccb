package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkout makes a module with one function, its test, and a catalogue.
func checkout(t *testing.T, catalogue string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                    "module github.com/weir-project/weir\n\ngo 1.26\n",
		"sum/sum.go":                "package sum\n\nfunc Sum(a, b int) int { return a + b }\n\nfunc unused() int { return 1 }\n",
		"sum/sum_test.go":           "package sum\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum(2, 3) != 5 {\n\t\tt.Error(\"wrong\")\n\t}\n}\n",
		"tools/mutants/example.txt": catalogue,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "sum"))
	return root
}

func mutantText(name, change, test string) string {
	return name + "\n  Something is wrong.\n  file sum/sum.go\n  " + test + "\n" + change + "\n\n"
}

const (
	wrongSum  = "- return a + b\n+ return a - b"
	unnoticed = "- return 1\n+ return 2"
)

// TestOutcomes tries one mutant of each kind, and looks at the exit code and the report.
func TestOutcomes(t *testing.T) {
	hangs := "- return a + b\n+ select {}"
	for _, tt := range []struct {
		name, change, test, outcome string
		code                        int
	}{
		{"killed", wrongSum, "test TestSum", killed, 0},
		{"killed-by-name", wrongSum, "test ./sum TestSum", killed, 0},
		{"survived", unnoticed, "test TestSum", survived, 1},
		{"hangs", hangs, "test TestSum", timeLimit, 1},
		{"does-not-compile", "- return a + b\n+ return c", "test TestSum", broken, 2},
		{"no-such-test", wrongSum, "test TestProduct", broken, 2},
		{"equivalent", unnoticed, "equivalent nothing calls it", equivalent, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := checkout(t, "# a comment\n\n"+mutantText(tt.name, tt.change, tt.test))
			var out strings.Builder
			report := filepath.Join(t.TempDir(), "report")
			code, err := run(t.Context(), []string{"-json", report, "-limit", "2s"}, &out)
			if code != tt.code || err != nil {
				t.Errorf("exit code %d, want %d, %v\n%s", code, tt.code, err, out.String())
			}
			lines, err := os.ReadFile(report)
			if err != nil || !strings.Contains(string(lines), `"outcome":"`+tt.outcome+`"`) || !strings.Contains(string(lines), `"name":"example/`+tt.name+`"`) {
				t.Errorf("want %s: %s, %v", tt.outcome, lines, err)
			}
			if text, err := os.ReadFile(filepath.Join(root, "sum", "sum.go")); err != nil || !strings.Contains(string(text), "return a + b") {
				t.Errorf("the checkout was changed: %s, %v", text, err)
			}
		})
	}
}

// TestUnchanged runs the tests of mutants on the code as it is, each once.
func TestUnchanged(t *testing.T) {
	checkout(t, mutantText("killed", wrongSum, "test TestSum")+mutantText("also-killed", unnoticed, "test TestSum")+
		mutantText("equivalent", unnoticed, "equivalent nothing calls it"))
	var out strings.Builder
	if code, err := run(t.Context(), []string{"-unchanged"}, &out); code != 0 || err != nil || !strings.Contains(out.String(), "1 of 3 mutants") {
		t.Errorf("exit code %d, %v\n%s", code, err, out.String())
	}
}

// TestCatalogueFollowsTheCode: what cannot be applied is an error, also where it is not chosen.
func TestCatalogueFollowsTheCode(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"gone":      {mutantText("a", "- return a * b\n+ return 0", "test TestSum"), "0 times"},
		"ambiguous": {mutantText("a", "- return\n+ return 0 +", "test TestSum"), "2 times"},
		"no file":   {strings.Replace(mutantText("a", wrongSum, "test TestSum"), "sum/sum.go", "sum/none.go", 1), "none.go"},
		"no test":   {mutantText("a", wrongSum, ""), "needs a name"},
		"both":      {mutantText("a", wrongSum, "test TestSum\n  equivalent no"), "needs a name"},
		"twice":     {mutantText("a", wrongSum, "test TestSum") + mutantText("a", unnoticed, "test TestSum"), "twice"},
		"run on":    {strings.TrimSuffix(mutantText("a", wrongSum, "test TestSum"), "\n") + mutantText("b", wrongSum, "test TestSum"), "no empty line"},
	} {
		t.Run(name, func(t *testing.T) {
			checkout(t, mutantText("fine", unnoticed, "equivalent nothing calls it")+tt.text)
			code, err := run(t.Context(), []string{"example/fine"}, new(strings.Builder))
			if code != 2 || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("exit code %d, %v, want %q", code, err, tt.want)
			}
		})
	}
}

// TestParts: each mutant is in one part, and the days go through all of them.
func TestParts(t *testing.T) {
	all := make([]mutant, 23)
	for i := range all {
		all[i].Name = "m" + string(rune('a'+i))
	}
	var byNumber, byDay []string
	for k := range 10 {
		for _, part := range []struct {
			text string
			into *[]string
		}{{string(rune('0'+k)) + "/10", &byNumber}, {"day/10", &byDay}} {
			some, err := choose(all, part.text, nil, time.Unix(int64(20_000+k)*24*3600, 0))
			if err != nil || len(some) < 2 || len(some) > 3 {
				t.Fatalf("part %s: %d mutants, %v", part.text, len(some), err)
			}
			for _, m := range some {
				*part.into = append(*part.into, m.Name)
			}
		}
	}
	for _, names := range [][]string{byNumber, byDay} {
		slices.Sort(names)
		if len(slices.Compact(names)) != len(all) {
			t.Errorf("the parts are %v", names)
		}
	}
	for _, wrong := range []string{"", "1", "a/10", "1/0", "-1/10", "1/x"} {
		if _, err := choose(all, wrong, nil, time.Now()); err == nil {
			t.Errorf("-part %q is accepted", wrong)
		}
	}
	if _, err := choose(all, "0/1", []string{"other"}, time.Now()); err == nil {
		t.Error("a name that no mutant has is accepted")
	}
}

package exercise

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEveryExerciseIsWhole checks that every exercise has instructions and starters.
func TestEveryExerciseIsWhole(t *testing.T) {
	for _, e := range List() {
		if text := Text(e.Name); len(text) < 500 || !strings.HasPrefix(text, "# ") {
			t.Errorf("the instructions of %s are %q", e.Name, text[:min(60, len(text))])
		}
		if len(e.Summary) > 120 || e.Minutes < 5 {
			t.Errorf("%s: %q takes %d minutes", e.Name, e.Summary, e.Minutes)
		}
		for _, lang := range Languages {
			starter, err := Starter(e.Name, lang)
			if err != nil {
				t.Error(err)
				continue
			}
			names := map[string]bool{}
			for _, f := range starter {
				if names[f.Name] || strings.HasSuffix(f.Name, ".txt") && f.Name != "requirements.txt" || len(f.Data) == 0 {
					t.Errorf("%s in %s: file %s", e.Name, lang, f.Name)
				}
				names[f.Name] = true
			}
			if !names["EXERCISE.md"] || !names["main.py"] && !names["main.go"] || names["main.go"] != names["go.mod"] {
				t.Errorf("%s in %s has %v", e.Name, lang, names)
			}
		}
	}
}

func TestStartersThatDoNotExist(t *testing.T) {
	for name, lang := range map[string]string{"twice": "go", "count": "cobol", "../once": "python"} {
		if _, err := Starter(name, lang); err == nil {
			t.Errorf("there is a starter of %q in %q", name, lang)
		}
	}
}

func TestZip(t *testing.T) {
	b, err := Zip("count", []File{{"main.py", []byte("print()")}, {"lib/x.py", []byte("1")}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(z.File) != 2 || z.File[0].Name != "count/main.py" || z.File[1].Name != "count/lib/x.py" {
		t.Errorf("the archive has %v", z.File)
	}
}

func TestKeptReports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Dir)
	if r, err := Kept(dir, "once"); r != nil || err != nil {
		t.Errorf("before the first check: %v, %v", r, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, v := range []Verdict{Wrong, Passed} {
		if err := Keep(dir, &Report{Exercise: "once", Verdict: v, Started: at, Headline: "h", Timeline: Timeline{Series: []Series{{Name: "n", Points: [][2]float64{{1, 2}}}}}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Kept(dir, "once")
	if err != nil || r.Verdict != Passed || !r.Started.Equal(at) || r.Timeline.Series[0].Points[0] != [2]float64{1, 2} {
		t.Errorf("%+v, %v", r, err)
	}
	if l := LastOf(dir, "once"); l == nil || l.Verdict != Passed || l.Headline != "h" {
		t.Errorf("last is %+v", l)
	}
	if err := os.WriteFile(filepath.Join(dir, "once.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Kept(dir, "once"); err == nil || !strings.Contains(err.Error(), "damaged") || LastOf(dir, "once") != nil {
		t.Errorf("a damaged report: %v", err)
	}
	if _, err := Kept(dir, "../once"); err == nil {
		t.Error("a name that leads out of the directory is read")
	}
}

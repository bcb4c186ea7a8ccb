package record

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCompare(t *testing.T) {
	a := &Report{Lab: "l", Verdict: Holds, Settings: map[string]any{"n": 1.0, "m": 2.0}, Measures: []Measure{{"c", "x", 1, "s"}, {"c", "y", 2, "s"}}}
	b := &Report{Lab: "l", Verdict: DoesNotHold, Settings: map[string]any{"n": 3.0, "m": 2.0}, Measures: []Measure{{"c", "y", 4, "s"}, {"d", "z", 5, "s"}}}
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Differences) != 3 || *c.Differences[0].A != 1 || c.Differences[0].B != nil || *c.Differences[1].A != 2 || *c.Differences[1].B != 4 ||
		c.Differences[2].A != nil || *c.Differences[2].B != 5 {
		t.Errorf("differences = %+v", c.Differences)
	}
	if len(c.Settings) != 1 || c.Settings[0] != "n: 1, 3" {
		t.Errorf("settings = %q", c.Settings)
	}
	if onlyA, onlyB := c.Alone(); len(onlyA) != 0 || len(onlyB) != 1 || onlyB[0] != "d" {
		t.Errorf("alone are %q and %q", onlyA, onlyB)
	}
	a.Engine, b.Engine = "embedded", "apache"
	b.Settings = map[string]any{"n": 1.0, "m": 1073741824.0, "to": map[string]any{"urls": []any{"ws://x"}}}
	c, err = Compare(a, b)
	if want := []string{"engine: embedded, apache", "m: 2, 1073741824", `to: -, {"urls":["ws://x"]}`}; err != nil || !slices.Equal(c.Settings, want) {
		t.Errorf("settings = %q, want %q (%v)", c.Settings, want, err)
	}
	b.Settings = map[string]any{"n": 1.0, "m": 2.0, "to": strings.Split(strings.Repeat("é,", 500), ",")}
	if c, err = Compare(a, b); err != nil || len(c.Settings) != 2 || len(c.Settings[1]) > 200 || !strings.HasSuffix(c.Settings[1], "…") || !utf8.ValidString(c.Settings[1]) {
		t.Errorf("settings = %q (%v)", c.Settings, err)
	}
	b.Lab = "other"
	if _, err := Compare(a, b); err == nil {
		t.Error("reports of two labs are compared")
	}
}

func TestReadRefusesWhatIsNoReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(path, []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Dir(path), path + "-not"} {
		if _, err := Read(p); err == nil {
			t.Errorf("%s is read", p)
		}
	}
}

func TestALineIsThinnedEvenly(t *testing.T) {
	var p Picture
	const n = 100_000
	for i := range n {
		p.Add(Update{Points: []Point{{"a", "size", float64(i), float64(i)}}})
	}
	x := p.Lines[0].X
	if len(x) > LinePoints || len(x) < LinePoints/2 || x[0] != 0 || x[len(x)-1] < n*0.99 {
		t.Fatalf("%d points from %v to %v", len(x), x[0], x[len(x)-1])
	}
	for i := 2; i < len(x); i++ {
		if x[i]-x[i-1] != x[1]-x[0] {
			t.Fatalf("steps of %v and %v", x[1]-x[0], x[i]-x[i-1])
		}
	}
	for i := range 1000 {
		p.Add(Update{Mark: &Mark{"a", 1, "x"}, Points: []Point{{strings.Repeat("b", i), "size", 1, 1}}})
	}
	if len(p.Lines) > maxLines || len(p.Marks) > maxMarks {
		t.Errorf("%d lines, %d marks", len(p.Lines), len(p.Marks))
	}
}

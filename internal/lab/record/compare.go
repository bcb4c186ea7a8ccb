package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Difference is one figure of two reports.
type Difference struct {
	Case string `json:"case"`
	Name string `json:"name"`
	Unit string `json:"unit"`
	// A and B are nil where a report does not have the figure.
	A *float64 `json:"a"`
	B *float64 `json:"b"`
}

// Comparison is two reports of one lab side by side.
type Comparison struct {
	Lab         string       `json:"lab"`
	Verdicts    [2]Verdict   `json:"verdicts"`
	Differences []Difference `json:"differences"`
	// Settings lists what differs in how they were made (settings, engine, source and
	// version), as "name: a, b".
	Settings []string `json:"settings,omitempty"`
}

// Compare holds two reports of the same lab against each other, in the order of a.
func Compare(a, b *Report) (*Comparison, error) {
	if a.Lab != b.Lab {
		return nil, fmt.Errorf("a report of %s and one of %s have nothing to compare", a.Lab, b.Lab)
	}
	c := &Comparison{Lab: a.Lab, Verdicts: [2]Verdict{a.Verdict, b.Verdict}}
	for i, r := range []*Report{a, b} {
		for _, m := range r.Measures {
			n := slices.IndexFunc(c.Differences, func(d Difference) bool { return d.Case == m.Case && d.Name == m.Name })
			if n < 0 {
				n = len(c.Differences)
				c.Differences = append(c.Differences, Difference{Case: m.Case, Name: m.Name, Unit: m.Unit})
			}
			if i == 0 {
				c.Differences[n].A = &m.Value
			} else {
				c.Differences[n].B = &m.Value
			}
		}
	}
	for _, x := range [][3]string{{"engine", a.Engine, b.Engine}, {"source", a.Source, b.Source}, {"version", a.Version, b.Version}} {
		if x[1] != x[2] {
			c.Settings = append(c.Settings, fmt.Sprintf("%s: %s, %s", x[0], x[1], x[2]))
		}
	}
	x, _ := a.Settings.(map[string]any) // nil where there are none: every setting of the other differs
	y, _ := b.Settings.(map[string]any)
	all := map[string]any{}
	maps.Copy(all, x)
	maps.Copy(all, y)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if !reflect.DeepEqual(x[k], y[k]) {
			c.Settings = append(c.Settings, fmt.Sprintf("%s: %s, %s", k, settingText(x[k]), settingText(y[k])))
		}
	}
	return c, nil
}

// settingLength is how much of a setting is shown, in bytes: the report has all of it.
const settingLength = 160

// settingText writes a setting as JSON does, but for texts, and for one that is not there.
func settingText(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case string:
		return x
	}
	b, err := json.Marshal(v)
	if err != nil { // it was read from JSON
		return fmt.Sprint(v)
	}
	if len(b) > settingLength {
		return strings.ToValidUTF8(string(b[:settingLength]), "") + "…"
	}
	return string(b)
}

// Alone returns the cases that only one report has.
func (c *Comparison) Alone() (onlyA, onlyB []string) {
	var a, b []string // cases of each
	for _, d := range c.Differences {
		if d.A != nil && !slices.Contains(a, d.Case) {
			a = append(a, d.Case)
		}
		if d.B != nil && !slices.Contains(b, d.Case) {
			b = append(b, d.Case)
		}
	}
	not := func(x, y []string) []string {
		return slices.DeleteFunc(slices.Clone(x), func(of string) bool { return slices.Contains(y, of) })
	}
	return not(a, b), not(b, a)
}

// Kept is a report that is kept.
type Kept struct {
	Name    string    `json:"name"` // of its directory
	Lab     string    `json:"lab"`
	Started time.Time `json:"started"`
	Verdict Verdict   `json:"verdict"`
	// Err says why it cannot be read; empty where it can.
	Err string `json:"error,omitempty"`
}

// List returns the reports in a directory of labs, oldest first; none where there
// is no directory.
func List(dir string) ([]Kept, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list reports: %w", err)
	}
	var out []Kept
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		k := Kept{Name: e.Name()}
		if r, err := Read(filepath.Join(dir, e.Name())); err != nil {
			k.Err = err.Error()
		} else {
			k.Lab, k.Started, k.Verdict = r.Lab, r.Started, r.Verdict
		}
		out = append(out, k)
	}
	slices.SortStableFunc(out, func(a, b Kept) int { return a.Started.Compare(b.Started) })
	return out, nil
}

package exercise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

// Dir is the directory of the kept reports, below the data directory.
const Dir = "exercises"

// Verdict is how a check of a program ended.
type Verdict string

// The verdicts.
const (
	Passed       Verdict = "passed"
	Wrong        Verdict = "wrong"
	Inconclusive Verdict = "inconclusive"
)

// Report is the result of one check of a program.
type Report struct {
	Exercise string    `json:"exercise"`
	Verdict  Verdict   `json:"verdict"`
	Command  string    `json:"command"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	// Headline is the result in one sentence: of a wrong program the first thing that is wrong.
	Headline string     `json:"headline"`
	Evidence []Evidence `json:"evidence"`
	// Why says how a program comes to do that, and Hint what to look at. Both are empty when it passed.
	Why      string   `json:"why"`
	Hint     string   `json:"hint"`
	Checks   []Check  `json:"checks"`
	Timeline Timeline `json:"timeline"`
	// Output is what the program printed last.
	Output string `json:"output"`
}

// Evidence is one thing that was observed.
type Evidence struct {
	What string `json:"what"`
	// Topic is empty where the rest is of no record; Partition and Offset are -1 where they are unknown.
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       string `json:"key"`
	// At is the time in RFC 3339; empty where it is unknown.
	At string `json:"at"`
}

// Check is one thing that must hold.
type Check struct {
	Claim string `json:"claim"`
	Want  string `json:"want"`
	Got   string `json:"got"`
	OK    bool   `json:"ok"`
}

// Timeline is the course of a check. Times are in seconds since its start.
type Timeline struct {
	Seconds float64  `json:"seconds"`
	Series  []Series `json:"series"`
	Marks   []Mark   `json:"marks"`
}

// Series is a number over time.
type Series struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Points are pairs of a time and a value.
	Points [][2]float64 `json:"points"`
}

// Mark is something that happened at one moment.
type Mark struct {
	T float64 `json:"t"`
	// What is one or two words, Detail a sentence.
	What   string `json:"what"`
	Detail string `json:"detail"`
}

// Last is what a list shows of the last check of an exercise.
type Last struct {
	Verdict  Verdict   `json:"verdict"`
	At       time.Time `json:"at"`
	Headline string    `json:"headline"`
}

// Listed is an exercise in a list.
type Listed struct {
	Info
	Last *Last `json:"last"` // null where it was never checked
}

// Listing returns all exercises with what the directory of reports has of them.
func Listing(dir string) []Listed {
	rows := make([]Listed, 0, len(list))
	for _, e := range list {
		rows = append(rows, Listed{e, LastOf(dir, e.Name)})
	}
	return rows
}

// maxReport bounds the size of a report's file in bytes.
const maxReport = 8 << 20

// Keep writes a report into the directory of reports. It replaces the last one of the exercise.
func Keep(dir string, r *Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, r.Exercise+".json"), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return nil
}

// Kept returns the last report of an exercise in the directory of reports, nil where there is
// none. An empty dir has none.
func Kept(dir, name string) (*Report, error) {
	if _, err := Find(name); err != nil || dir == "" {
		return nil, err
	}
	path := filepath.Join(dir, name+".json")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", name, err)
	}
	if info.Size() > maxReport {
		return nil, fmt.Errorf("read the report of %s: %s is larger than %d MiB; delete it and check again", name, path, maxReport>>20)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", name, err)
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read the report of %s: %s is damaged (%w); delete it and check again", name, path, err)
	}
	return r, nil
}

// LastOf returns what a list shows of the last report, nil where there is none or where it cannot be read.
func LastOf(dir, name string) *Last {
	r, err := Kept(dir, name)
	if err != nil || r == nil {
		return nil
	}
	return &Last{Verdict: r.Verdict, At: r.Started, Headline: r.Headline}
}

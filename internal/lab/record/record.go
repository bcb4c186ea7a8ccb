// Package record has the types that an experiment reports while it runs and saves at its
// end: points, marks, tanks, checks and the report. It also compares two reports. It does not
// depend on Kafka and runs nothing, so that the web UI can show experiments of another process.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Verdict is what an experiment says of its claim.
type Verdict string

// The verdicts.
const (
	Holds        Verdict = "holds"
	DoesNotHold  Verdict = "does not hold"
	Inconclusive Verdict = "inconclusive"
)

// Check is one part of a claim, held against a measurement.
type Check struct {
	// Case is the setting that was measured, such as a policy.
	Case    string  `json:"case"`
	Claim   string  `json:"claim"`
	Want    string  `json:"want"`
	Got     string  `json:"got"`
	Verdict Verdict `json:"verdict"`
}

// Measure is one figure of one case.
type Measure struct {
	Case  string  `json:"case"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is events, s, ms, bytes, or events/s.
	Unit string `json:"unit"`
}

// Line is a figure over time.
type Line struct {
	Case string `json:"case"`
	// Panel is the diagram that it belongs to: a title with the unit.
	Panel string `json:"panel"`
	// X is in seconds since the case began.
	X []float64 `json:"x"`
	Y []float64 `json:"y"`
}

// Tradeoff is where a setting lies between two costs.
type Tradeoff struct {
	Case string `json:"case"`
	// X and Y are what it costs, less being better: of the panel's two axes.
	X float64 `json:"x"`
	Y float64 `json:"y"`
	// Front says that no other setting is better at one and no worse at the other.
	Front bool `json:"front"`
	// Chosen says that it is the one that the report recommends.
	Chosen bool `json:"chosen,omitempty"`
}

// Chart is figures that are not over time: lines on logarithmic axes, or stacked bars.
type Chart struct {
	Title string `json:"title"`
	// X and Y name the axes, with their units.
	X string `json:"x,omitempty"`
	Y string `json:"y"`
	// Bars are the names of stacked bars. Where there are none, the series are lines.
	Bars   []string `json:"bars,omitempty"`
	Series []Series `json:"series"`
}

// Series is a line of a chart, or one part of each of its bars.
type Series struct {
	Name string `json:"name"`
	// Group is a number: lines of one group have the same colour and differ by their dashes.
	Group int       `json:"group,omitempty"`
	X     []float64 `json:"x,omitempty"` // of a line's points
	Y     []float64 `json:"y"`
}

// Report is all that an experiment found out. It is what report.json holds.
type Report struct {
	Lab    string `json:"lab"`
	Engine string `json:"engine"` // of the brokers
	// Source is where events came from: live, simulated, or what there was instead.
	Source  string    `json:"source"`
	Version string    `json:"version"` // weir's
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	// Claim is in words, Settings what the experiment ran with.
	Claim    string  `json:"claim"`
	Settings any     `json:"settings"`
	Verdict  Verdict `json:"verdict"`
	// Reason is the verdict's, in one sentence.
	Reason   string    `json:"reason"`
	Checks   []Check   `json:"checks"`
	Measures []Measure `json:"measures"`
	// Notes say what follows from it, in words.
	Notes []string `json:"notes,omitempty"`
	Lines []Line   `json:"lines,omitempty"`
	Marks []Mark   `json:"marks,omitempty"`
	// Tradeoffs are settings between two costs; where there are any, they are the plot.
	Tradeoffs []Tradeoff `json:"tradeoffs,omitempty"`
	// Charts are drawn above the lines.
	Charts []Chart `json:"charts,omitempty"`
}

// Names in a report's directory.
const (
	ReportName = "report.json"
	PlotName   = "plot.svg"
)

// maxReport bounds in bytes a report that is read back.
const maxReport = 64 << 20

// Read returns the report in a directory, or of a report.json.
func Read(path string) (*Report, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, ReportName)
		info, err = os.Stat(path)
	}
	var body []byte
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no report %s", path)
	case err == nil && info.Size() > maxReport:
		return nil, fmt.Errorf("read report: %s has %d bytes, more than any report", path, info.Size())
	case err == nil:
		body, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil || r.Lab == "" {
		return nil, fmt.Errorf("read report: %s is not a report of a lab", path)
	}
	return &r, nil
}

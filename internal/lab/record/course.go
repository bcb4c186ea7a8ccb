package record

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is kept of a running experiment: whoever opens a page in the middle
// is sent all of it.
const (
	// LinePoints is how many points a line has at most; beyond that every other one
	// is dropped, again and again.
	LinePoints = 400
	maxLines   = 128
	maxMarks   = 200
)

// Mark is something that happened, on the axis of time: "broker 2 killed".
type Mark struct {
	Case string `json:"case"`
	// X is in seconds since the case began.
	X    float64 `json:"x"`
	Text string  `json:"text"`
}

// Point is one figure at one moment.
type Point struct {
	Case string `json:"case"`
	// Panel is the diagram that it belongs to: a title with the unit.
	Panel string `json:"panel"`
	// X is in seconds since the case began.
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Tank is a stage of a pipeline in which something waits.
type Tank struct {
	// Name is the stage's: socket, queue, producer, broker, consumer, redis.
	Name string `json:"name"`
	// Level is how much waits there, Capacity how much can; 0 means that nobody
	// bounds it. Both are in Unit: events, or bytes.
	Level    float64 `json:"level"`
	Capacity float64 `json:"capacity"`
	Unit     string  `json:"unit"`
	// Bytes and MaxBytes are the same in bytes, where that is bounded, too; else 0.
	Bytes    float64 `json:"bytes,omitempty"`
	MaxBytes float64 `json:"max_bytes,omitempty"`
	// In and Out are events per second, over the last second or so.
	In  float64 `json:"in"`
	Out float64 `json:"out"`
	// Lost is how many events have ended here, counted.
	Lost int64 `json:"lost"`
	// Note says in words what is special now: "the reader waits".
	Note string `json:"note,omitempty"`
}

// Control is a setting that can be changed while an experiment runs.
type Control struct {
	Name  string `json:"name"`  // as Set takes it
	Label string `json:"label"` // for people
	// Values are all that are allowed; without any, it is a number.
	Values []string `json:"values,omitempty"`
	// Min and Max bound a number, Unit is its unit.
	Min  float64 `json:"min,omitempty"`
	Max  float64 `json:"max,omitempty"`
	Unit string  `json:"unit,omitempty"`
	// Value is the present one.
	Value string `json:"value"`
}

// Allows returns an error that says what is wrong with a value.
func (c *Control) Allows(value string) error {
	n, err := strconv.ParseFloat(value, 64)
	switch {
	case slices.Contains(c.Values, value) || len(c.Values) == 0 && err == nil && n >= c.Min && n <= c.Max:
		return nil
	case len(c.Values) > 0:
		return fmt.Errorf("%s cannot be %q: choose one of %s", c.Name, value, strings.Join(c.Values, ", "))
	}
	return fmt.Errorf("%s cannot be %q: give a number from %v to %v %s", c.Name, value, c.Min, c.Max, c.Unit)
}

// End is how an experiment ended: with a verdict and the report's directory, or with
// an error.
type End struct {
	Verdict   Verdict `json:"verdict,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Directory string  `json:"directory,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// Update is what a running experiment reports at one moment. Fields without news are left
// out.
type Update struct {
	// At is in seconds since the experiment began.
	At float64 `json:"at"`
	// Begin is the name of a case that begins.
	Begin string `json:"begin,omitempty"`
	// Rename gives a case another name, from its first point on.
	Rename *Rename `json:"rename,omitempty"`
	// Source is where events come from, as in Report.
	Source string `json:"source,omitempty"`
	// Progress is one line of what is going on.
	Progress string   `json:"progress,omitempty"`
	Points   []Point  `json:"points,omitempty"`
	Mark     *Mark    `json:"mark,omitempty"`
	Measure  *Measure `json:"measure,omitempty"`
	Check    *Check   `json:"check,omitempty"`
	// Tradeoff is where a setting lies by now.
	Tradeoff *Tradeoff `json:"tradeoff,omitempty"`
	// Tanks are all stages, in the order of the flow.
	Tanks []Tank `json:"tanks,omitempty"`
	// Controls are all that are offered from now on, which may be none.
	Controls []Control `json:"controls,omitzero"`
	End      *End      `json:"end,omitempty"`
}

// Rename says what a case is called from now on: its settings were changed while it ran.
type Rename struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Picture is the state after all updates so far, in bounded memory. Its zero value is the
// state before the first update. It is not safe for concurrent use.
type Picture struct {
	At       float64   `json:"at"`
	Case     string    `json:"case"` // that runs
	Source   string    `json:"source"`
	Progress string    `json:"progress"`
	Lines    []Line    `json:"lines"`
	Marks    []Mark    `json:"marks"`
	Measures []Measure `json:"measures"`
	Checks   []Check   `json:"checks"`
	Tanks    []Tank    `json:"tanks"`
	Controls []Control `json:"controls"`
	// Tradeoffs are one for each setting: where it was last.
	Tradeoffs []Tradeoff `json:"tradeoffs"`
	End       *End       `json:"end"`

	thin []thinning // of Lines
}

// thinning is which points of a line are kept: every step-th.
type thinning struct{ step, seen int }

// Add takes an update in.
func (p *Picture) Add(u Update) {
	p.At = u.At
	p.Case, p.Source, p.Progress = cmp.Or(u.Begin, p.Case), cmp.Or(u.Source, p.Source), cmp.Or(u.Progress, p.Progress)
	p.End = cmp.Or(u.End, p.End)
	if u.Rename != nil {
		p.rename(*u.Rename)
	}
	for _, x := range u.Points {
		p.point(x)
	}
	if u.Mark != nil && len(p.Marks) < maxMarks {
		p.Marks = append(p.Marks, *u.Mark)
	}
	if u.Measure != nil {
		p.Measures = append(p.Measures, *u.Measure)
	}
	if u.Check != nil {
		p.Checks = append(p.Checks, *u.Check)
	}
	if u.Tradeoff != nil {
		p.tradeoff(*u.Tradeoff)
	}
	if u.Tanks != nil {
		p.Tanks = u.Tanks
	}
	if u.Controls != nil {
		p.Controls = u.Controls
	}
}

// rename gives a running case another name. It has neither measures nor checks yet.
func (p *Picture) rename(r Rename) {
	if p.Case == r.From {
		p.Case = r.To
	}
	for i := range p.Lines {
		if p.Lines[i].Case == r.From {
			p.Lines[i].Case = r.To
		}
	}
	for i := range p.Marks {
		if p.Marks[i].Case == r.From {
			p.Marks[i].Case = r.To
		}
	}
}

// Merge returns the lines, in which those that an experiment has made at its end, when
// it knew more, take the place of what was shown while it ran.
func (p *Picture) Merge(made []Line) []Line {
	shown := slices.DeleteFunc(slices.Clone(p.Lines), func(l Line) bool {
		return slices.ContainsFunc(made, func(m Line) bool { return m.Case == l.Case && m.Panel == l.Panel })
	})
	return append(shown, made...)
}

func (p *Picture) tradeoff(t Tradeoff) {
	if i := slices.IndexFunc(p.Tradeoffs, func(x Tradeoff) bool { return x.Case == t.Case }); i >= 0 {
		p.Tradeoffs[i] = t
	} else if len(p.Tradeoffs) < maxLines {
		p.Tradeoffs = append(p.Tradeoffs, t)
	}
}

func (p *Picture) point(x Point) {
	i := slices.IndexFunc(p.Lines, func(l Line) bool { return l.Case == x.Case && l.Panel == x.Panel })
	if i < 0 {
		if len(p.Lines) == maxLines {
			return
		}
		i = len(p.Lines)
		p.Lines, p.thin = append(p.Lines, Line{Case: x.Case, Panel: x.Panel}), append(p.thin, thinning{step: 1})
	}
	l, t := &p.Lines[i], &p.thin[i]
	if t.seen++; (t.seen-1)%t.step != 0 {
		return
	}
	if len(l.X) == LinePoints {
		for j := range LinePoints / 2 {
			l.X[j], l.Y[j] = l.X[2*j], l.Y[2*j]
		}
		l.X, l.Y = l.X[:LinePoints/2], l.Y[:LinePoints/2]
		t.step *= 2
	}
	l.X, l.Y = append(l.X, x.X), append(l.Y, x.Y)
}

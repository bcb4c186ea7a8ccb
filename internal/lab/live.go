package lab

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept of a running experiment: whoever opens a page in the middle
// is sent all of it.
const (
	// linePoints is how many points a line has at most; beyond that every other one
	// is dropped, again and again.
	linePoints = 400
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

// allows says what is wrong with a value; nil is fine.
func (c *Control) allows(value string) error {
	if len(c.Values) > 0 {
		if !slices.Contains(c.Values, value) {
			return fmt.Errorf("%s cannot be %q: choose one of %s", c.Name, value, strings.Join(c.Values, ", "))
		}
		return nil
	}
	if n, err := strconv.ParseFloat(value, 64); err != nil || !(n >= c.Min && n <= c.Max) {
		return fmt.Errorf("%s cannot be %q: give a number from %v to %v %s", c.Name, value, c.Min, c.Max, c.Unit)
	}
	return nil
}

// End is how an experiment ended: with a verdict and the report's directory, or with
// an error.
type End struct {
	Verdict   Verdict `json:"verdict,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Directory string  `json:"directory,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// Update is what a running experiment tells at one moment. Only the members that
// have news are there.
type Update struct {
	// At is in seconds since the experiment began.
	At float64 `json:"at"`
	// Begin is the name of a case that begins.
	Begin string `json:"begin,omitempty"`
	// Progress is one line of what is going on.
	Progress string   `json:"progress,omitempty"`
	Points   []Point  `json:"points,omitempty"`
	Mark     *Mark    `json:"mark,omitempty"`
	Measure  *Measure `json:"measure,omitempty"`
	Check    *Check   `json:"check,omitempty"`
	// Tanks are all stages, in the order of the flow.
	Tanks []Tank `json:"tanks,omitempty"`
	// Controls are all that are offered from now on, which may be none.
	Controls []Control `json:"controls,omitzero"`
	End      *End      `json:"end,omitempty"`
}

// Picture is all that updates have told, with bounded memory. Its zero value is one
// that has been told nothing. It is not safe for concurrent use.
type Picture struct {
	At       float64   `json:"at"`
	Case     string    `json:"case"` // that runs
	Progress string    `json:"progress"`
	Lines    []Line    `json:"lines"`
	Marks    []Mark    `json:"marks"`
	Measures []Measure `json:"measures"`
	Checks   []Check   `json:"checks"`
	Tanks    []Tank    `json:"tanks"`
	Controls []Control `json:"controls"`
	End      *End      `json:"end"`

	thin []thinning // of Lines
}

// thinning is which points of a line are kept: every step-th.
type thinning struct{ step, seen int }

// Add takes an update in.
func (p *Picture) Add(u Update) {
	p.At = u.At
	if u.Begin != "" {
		p.Case = u.Begin
	}
	if u.Progress != "" {
		p.Progress = u.Progress
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
	if u.Tanks != nil {
		p.Tanks = u.Tanks
	}
	if u.Controls != nil {
		p.Controls = u.Controls
	}
	if u.End != nil {
		p.End = u.End
	}
}

// merge returns the lines, in which those that an experiment has made at its end, when
// it knew more, take the place of what was shown while it ran.
func (p *Picture) merge(made []Line) []Line {
	var out []Line
	for _, l := range p.Lines {
		if !slices.ContainsFunc(made, func(m Line) bool { return m.Case == l.Case && m.Panel == l.Panel }) {
			out = append(out, l)
		}
	}
	return append(out, made...)
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
	if len(l.X) == linePoints {
		for j := range linePoints / 2 {
			l.X[j], l.Y[j] = l.X[2*j], l.Y[2*j]
		}
		l.X, l.Y = l.X[:linePoints/2], l.Y[:linePoints/2]
		t.step *= 2
	}
	l.X, l.Y = append(l.X, x.X), append(l.Y, x.Y)
}

// Live is the connection to a running experiment: what it tells comes out of it, and
// what it offers to be changed is changed through it. It serves one Perform. A nil
// Live is one that nobody listens to. It is safe for concurrent use.
type Live struct {
	mu      sync.Mutex // guards the rest, and makes updates come one at a time
	listen  func(Update)
	picture Picture
	start   time.Time
	begun   map[string]time.Time // of each case
	offered []offer
}

type offer struct {
	Control
	set func(value string) error
}

// NewLive returns a Live that calls listen with each update, in their order, one at a
// time. listen may be nil; it must be quick, and must not call Set.
func NewLive(listen func(Update)) *Live {
	if listen == nil {
		listen = func(Update) {}
	}
	return &Live{listen: listen, start: time.Now(), begun: map[string]time.Time{}}
}

// tell takes an update in and passes it on. The lock is held.
func (l *Live) tell(u Update) {
	u.At = time.Since(l.start).Seconds()
	l.picture.Add(u)
	l.listen(u)
}

// x is how many seconds have passed since a case began. The lock is held.
func (l *Live) x(of string) float64 {
	start, ok := l.begun[of]
	if !ok {
		start = l.start
	}
	return time.Since(start).Seconds()
}

// ErrNoControl says that an experiment does not offer what was to be set, or not now.
var ErrNoControl = errors.New("the running lab does not offer that setting now")

// Set changes a setting that the experiment offers now. It returns ErrNoControl where
// it does not, or says which values are allowed. A change is a mark on the chart.
func (l *Live) Set(name, value string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.offered, func(o offer) bool { return o.Name == name })
	if i < 0 {
		return fmt.Errorf("%s: %w", name, ErrNoControl)
	}
	o := &l.offered[i]
	if err := o.allows(value); err != nil {
		return err
	}
	if o.Value == value {
		return nil
	}
	if err := o.set(value); err != nil {
		return err
	}
	o.Value = value
	text := fmt.Sprintf("%s → %s", o.Label, value)
	if o.Unit != "" {
		text += " " + o.Unit
	}
	of := l.picture.Case
	l.tell(Update{Mark: &Mark{of, max(0, l.x(of)), text}, Controls: l.controls()})
	return nil
}

// controls lists what is offered; never nil. The lock is held.
func (l *Live) controls() []Control {
	out := make([]Control, len(l.offered))
	for i, o := range l.offered {
		out[i] = o.Control
	}
	return out
}

// finish tells the end.
func (l *Live) finish(r *Report, dir string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &End{Directory: dir}
	if err != nil {
		e.Error = err.Error()
	} else {
		e.Verdict, e.Reason = r.Verdict, r.Reason
	}
	l.offered = nil
	l.tell(Update{End: e, Controls: []Control{}})
}

// Begin tells that a case of the experiment begins. Its points and marks are placed in
// seconds since at, which may lie ahead: points before it are left out.
func (b *Bench) Begin(of string, at time.Time) {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	b.live.begun[of] = at
	b.live.tell(Update{Begin: of})
}

// Point adds a figure of a case, as it is now, to a line of a panel: to what is shown
// while the experiment runs, and to the report. A panel is a title with the unit. A
// line keeps a few hundred points evenly over its time, so that any number may be added;
// ten a second are plenty.
func (b *Bench) Point(of, panel string, y float64) {
	b.Points(of, map[string]float64{panel: y})
}

// Points is Point for several lines of one case at one moment, by panel.
func (b *Bench) Points(of string, y map[string]float64) {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	x := b.live.x(of)
	if x < 0 {
		return
	}
	points := make([]Point, 0, len(y))
	for panel, v := range y {
		if !math.IsNaN(v) && !math.IsInf(v, 0) { // JSON has neither
			points = append(points, Point{of, panel, x, v})
		}
	}
	slices.SortFunc(points, func(p, q Point) int { return strings.Compare(p.Panel, q.Panel) })
	b.live.tell(Update{Points: points})
}

// PointAt is Point at a place of the axis that is no time since the case began: the
// number of a round, or of workers.
func (b *Bench) PointAt(of, panel string, x, y float64) {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	b.live.tell(Update{Points: []Point{{of, panel, x, y}}})
}

// Mark tells that something happens to a case now, as "broker 2 killed": a line across
// its charts and plots.
func (b *Bench) Mark(of, text string) {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	b.live.tell(Update{Mark: &Mark{of, max(0, b.live.x(of)), text}})
}

// Tanks shows all stages of a pipeline as they are now. It is not part of the report.
func (b *Bench) Tanks(tanks []Tank) {
	b.live.mu.Lock()
	defer b.live.mu.Unlock()
	b.live.tell(Update{Tanks: tanks})
}

// Offer lets a setting be changed from now until withdraw is called. set is called with
// allowed values only, one at a time, from any goroutine; it must be quick, and must
// not use the Bench. A setting that was changed by hand is a mark on the chart; what an
// experiment claims must then be about what was really set.
func (b *Bench) Offer(c Control, set func(value string) error) (withdraw func()) {
	l := b.live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offered = append(slices.DeleteFunc(l.offered, func(o offer) bool { return o.Name == c.Name }), offer{c, set})
	l.tell(Update{Controls: l.controls()})
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		n := len(l.offered)
		l.offered = slices.DeleteFunc(l.offered, func(o offer) bool { return o.Name == c.Name })
		if len(l.offered) < n {
			l.tell(Update{Controls: l.controls()})
		}
	}
}

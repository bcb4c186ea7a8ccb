package lab

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

// Live is the connection to a running experiment. It passes on the updates of the experiment
// and changes the settings that the experiment offers. It serves one Perform. A nil Live
// discards all updates. It is safe for concurrent use.
type Live struct {
	mu      sync.Mutex // guards the rest, and makes updates come one at a time
	listen  func(record.Update)
	picture record.Picture
	start   time.Time
	begun   map[string]time.Time // of each case
	offered []offer
}

type offer struct {
	record.Control
	set func(value string) error
}

// NewLive returns a Live that calls listen with each update, in their order, one at a
// time. listen may be nil; it must be quick, and must not call Set.
func NewLive(listen func(record.Update)) *Live {
	if listen == nil {
		listen = func(record.Update) {}
	}
	return &Live{listen: listen, start: time.Now(), begun: map[string]time.Time{}}
}

// report records an update and passes it on.
func (l *Live) report(u record.Update) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(u)
}

// add is report under the lock. It adds the times: seconds since the case began. Points
// before that are left out, and those that JSON has no numbers for.
func (l *Live) add(u record.Update) {
	u.At = time.Since(l.start).Seconds()
	since := func(of string) float64 {
		if begun, ok := l.begun[of]; ok {
			return time.Since(begun).Seconds()
		}
		return u.At
	}
	if u.Mark != nil {
		u.Mark.X = max(0, since(u.Mark.Case))
	}
	if len(u.Points) > 0 {
		for i := range u.Points {
			u.Points[i].X = since(u.Points[i].Case)
		}
		u.Points = slices.DeleteFunc(u.Points, func(p record.Point) bool { return p.X < 0 || math.IsNaN(p.Y) || math.IsInf(p.Y, 0) })
		if len(u.Points) == 0 {
			return
		}
	}
	l.picture.Add(u)
	l.listen(u)
}

// ErrNoControl means that the experiment does not offer the setting, or not at this moment.
var ErrNoControl = errors.New("the running lab does not offer that setting now")

// Set changes a setting that the experiment offers now. It returns ErrNoControl when the
// experiment does not offer it, and an error that lists the allowed values when the value is
// not one of them. A change is a mark on the chart. When the experiment rejects a change, it
// reports that as its progress.
func (l *Live) Set(name, value string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.offered, func(o offer) bool { return o.Name == name })
	if i < 0 {
		return fmt.Errorf("%s: %w", name, ErrNoControl)
	}
	o := &l.offered[i]
	if err := o.Allows(value); err != nil {
		return err
	}
	if o.Value == value {
		return nil
	}
	if err := o.set(value); err != nil {
		l.add(record.Update{Progress: fmt.Sprintf("%s not changed: %v", o.Label, err)})
		return err
	}
	o.Value = value
	text := strings.TrimSpace(fmt.Sprintf("%s → %s %s", o.Label, value, o.Unit))
	l.add(record.Update{Mark: &record.Mark{Case: l.picture.Case, Text: text}, Controls: l.controls()})
	return nil
}

// controls lists what is offered; never nil. The lock is held.
func (l *Live) controls() []record.Control {
	out := make([]record.Control, len(l.offered))
	for i, o := range l.offered {
		out[i] = o.Control
	}
	return out
}

// finish reports the end.
func (l *Live) finish(r *Report, dir string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &record.End{Directory: dir}
	if err != nil {
		e.Error = err.Error()
	} else {
		e.Verdict, e.Reason = r.Verdict, r.Reason
	}
	l.offered = nil
	l.add(record.Update{End: e, Controls: l.controls()})
}

// Begin reports that a case of the experiment begins. The times of its points and marks are
// seconds since at. at may be in the future: points before it are left out.
func (b *Bench) Begin(of string, at time.Time) {
	b.Live.mu.Lock()
	defer b.Live.mu.Unlock()
	b.Live.begun[of] = at
	b.Live.add(record.Update{Begin: of})
}

// Rename gives a case that has begun another name, which says what was really set.
func (b *Bench) Rename(from, to string) {
	b.Live.mu.Lock()
	defer b.Live.mu.Unlock()
	b.Live.begun[to] = b.Live.begun[from]
	b.Live.add(record.Update{Rename: &record.Rename{From: from, To: to}})
}

// Point adds a figure of a case, as it is now, to a line of a panel: to what is shown
// while the experiment runs, and to the report. A panel is a title with the unit. A
// line keeps a few hundred points evenly over its time, so that any number may be added;
// ten a second are plenty. Values that are NaN or infinite are left out.
func (b *Bench) Point(of, panel string, y float64) {
	b.Points(of, record.Point{Panel: panel, Y: y})
}

// Points is Point for several lines of one case at one moment, by panel, in the order of the
// panels.
func (b *Bench) Points(of string, points ...record.Point) {
	for i := range points {
		points[i].Case = of
	}
	b.Live.report(record.Update{Points: points})
}

// Tradeoff reports where a setting lies between two costs so far. It does not change the
// trade-offs of the report, which the experiment sets itself.
func (b *Bench) Tradeoff(t record.Tradeoff) { b.Live.report(record.Update{Tradeoff: &t}) }

// Mark reports an event of a case, such as "broker 2 killed". It is drawn as a line across
// the charts and plots of the case.
func (b *Bench) Mark(of, text string) {
	b.Live.report(record.Update{Mark: &record.Mark{Case: of, Text: text}})
}

// Tanks shows all stages of a pipeline as they are now. It is not part of the report.
func (b *Bench) Tanks(tanks []record.Tank) { b.Live.report(record.Update{Tanks: tanks}) }

// Became reports that an offered setting has a new value that nobody set: an action has
// finished, or the experiment changed the value itself. It ignores a setting that is not
// offered.
func (b *Bench) Became(name, value string) {
	l := b.Live
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.offered {
		if o := &l.offered[i]; o.Name == name && o.Value != value {
			o.Value = value
			l.add(record.Update{Controls: l.controls()})
		}
	}
}

// Offer lets a setting be changed from now until Withdraw. set is called with
// allowed values only, one at a time, from any goroutine; it must be quick, and must
// not use the Bench. A setting that was changed by hand is a mark on the chart; what an
// experiment claims must then be about what was really set.
func (b *Bench) Offer(c record.Control, set func(value string) error) {
	l := b.Live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offered = append(slices.DeleteFunc(l.offered, func(o offer) bool { return o.Name == c.Name }), offer{c, set})
	l.add(record.Update{Controls: l.controls()})
}

// Withdraw ends all offers.
func (b *Bench) Withdraw() {
	b.Live.mu.Lock()
	defer b.Live.mu.Unlock()
	b.Live.offered = nil
	b.Live.add(record.Update{Controls: b.Live.controls()})
}

package backpressure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/lab/record"
)

// byHand is what a user has changed while a case ran. A case is named after it: a
// report that still called it by its first policy would say what is not true.
type byHand struct {
	mu     sync.Mutex
	set    []overflow.Policy // after the first one, in their order
	others []string          // names of other settings that were changed
	shown  string            // the name that points have now; of the goroutine that watches
}

// offer lets policy, workers and the time of the work be changed while a case runs.
func (o *observation) offer(b *lab.Bench, s *Settings, g *kit.Stack, w *kit.Workers) {
	var names []string
	for _, p := range overflow.Policies() {
		names = append(names, p.String())
	}
	add := func(c record.Control, set func(string)) {
		b.Offer(c, func(value string) error {
			o.change(c.Name, value)
			set(value)
			return nil
		})
	}
	number := func(v string) float64 {
		x, _ := strconv.ParseFloat(v, 64) // within the bounds
		return x
	}
	add(record.Control{Name: "policy", Label: "policy", Values: names, Value: o.policy.String()}, func(v string) {
		p, _ := overflow.ParsePolicy(v) // one of the names
		g.Overflow.SetPolicy(p)
	})
	if s.Slow == kit.SlowWork {
		add(record.Control{Name: "workers", Label: "workers", Min: 1, Max: kit.MaxWorkers, Value: strconv.Itoa(s.Workers)},
			func(v string) { w.Number.Store(int64(number(v))) })
		add(record.Control{Name: "work", Label: "work per event", Min: 1, Max: 100, Unit: "ms",
			Value: strconv.FormatFloat(kit.Milliseconds(s.Work), 'f', -1, 64)}, func(v string) { w.Work.Store(int64(number(v) * float64(time.Millisecond))) })
		add(record.Control{Name: "pause", Label: "workers are", Values: []string{"working", "paused"}, Value: "working"},
			func(v string) { w.Paused.Store(v == "paused") })
	}
}

// change notes a setting that is changed.
func (o *observation) change(name, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if name == "policy" {
		p, _ := overflow.ParsePolicy(value) // one of the names
		o.set = append(o.set, p)
	} else if !slices.Contains(o.others, name) {
		o.others = append(o.others, name)
	}
}

func (o *observation) touched() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.set)+len(o.others) > 0
}

// policies are all that were set, in their order.
func (o *observation) policies() []overflow.Policy {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]overflow.Policy{o.policy}, o.set...)
}

// maxNamed is how many policies the name of a case lists.
const maxNamed = 4

// name is what the case is called: its policies in the order in which they were set,
// and which other settings were changed.
func (o *observation) name() string {
	var names []string
	for _, p := range o.policies() {
		names = append(names, p.String())
	}
	if n := len(names); n > maxNamed {
		names = []string{names[0], "…", names[n-2], names[n-1]}
	}
	text := strings.Join(names, " → ")
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.others) > 0 {
		text += fmt.Sprintf(" (%s changed)", strings.Join(o.others, ", "))
	}
	return text
}

// rename reports the name of the case where it has become another one.
func (o *observation) rename(b *lab.Bench) {
	if name := o.name(); name != o.shown {
		b.Rename(o.shown, name)
		o.shown = name
	}
}

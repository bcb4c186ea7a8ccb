package backpressure

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
)

// byHand is what a user has changed while a case ran. A case is named after it: a
// report that still called it by its first policy would say what is not true.
type byHand struct {
	mu     sync.Mutex
	set    []overflow.Policy // after the first one, in their order
	others []string          // names of other settings that were changed
	shown  string            // the name that points have now; of the goroutine that watches
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

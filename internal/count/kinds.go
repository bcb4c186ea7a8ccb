package count

import (
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/tally"
)

// kindHeader is the header of a record that says what it is counted as.
const kindHeader = "kind"

// maxNames bounds the names that are remembered between batches; whoever writes
// to the topic chooses them.
const maxNames = 4 * tally.MaxKinds

// kinds counts by kind without allocating for a kind that it has seen before:
// names are allocated once and live on between batches.
type kinds struct {
	last  *kindCount // most records are of the event type of the record before
	names map[string]*kindCount
	used  []*kindCount // with n above 0
	total int64
}

type kindCount struct {
	name string
	n    int64
}

// record counts one record.
func (k *kinds) record(r *kgo.Record, classify func([]byte) string) {
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == kindHeader && len(h.Value) > 0 {
			k.add(h.Value)
			return
		}
	}
	name := event.MalformedKind
	if len(r.Value) > 0 {
		if got := classify(r.Value); got != "" {
			name = got
		}
	}
	k.count(k.named(name))
}

// add counts a record by its header; most have the one of the record before.
func (k *kinds) add(name []byte) {
	c := k.last
	if c == nil || c.name != string(name) {
		if c = k.names[string(name)]; c == nil {
			c = k.named(string(name))
		}
	}
	k.count(c)
}

func (k *kinds) count(c *kindCount) {
	if c.n == 0 {
		k.used = append(k.used, c)
	}
	c.n++
	k.total++
	k.last = c
}

// named returns the counter of a name.
func (k *kinds) named(name string) *kindCount {
	if c := k.names[name]; c != nil {
		return c
	}
	switch {
	case !utf8.ValidString(name):
		name = event.MalformedKind
	case len(name) > event.MaxKind, len(k.used) >= tally.MaxKinds:
		name = event.OtherKind
	}
	if c := k.names[name]; c != nil {
		return c
	}
	if k.names == nil || len(k.names) >= maxNames {
		k.names = make(map[string]*kindCount)
		for _, c := range k.used {
			k.names[c.name] = c
		}
	}
	c := &kindCount{name: name}
	k.names[name] = c
	return c
}

// counts returns what was counted since the last reset.
func (k *kinds) counts() map[string]int64 {
	out := make(map[string]int64, len(k.used))
	for _, c := range k.used {
		out[c.name] = c.n
	}
	return out
}

// reset begins the next batch.
func (k *kinds) reset() {
	for _, c := range k.used {
		c.n = 0
	}
	k.used, k.total = k.used[:0], 0
}

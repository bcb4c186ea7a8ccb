package count

import (
	"cmp"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/tally"
)

// kindHeader is the header of a record that says what it is counted as.
const kindHeader = "kind"

// kinds counts a batch by event type. A type that it has seen allocates nothing.
type kinds struct {
	names map[string]*int64
	total int64
}

// record counts one record.
func (k *kinds) record(r *kgo.Record, classify func([]byte) string) {
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == kindHeader && len(h.Value) > 0 {
			k.add(h.Value)
			return
		}
	}
	name := ""
	if len(r.Value) > 0 {
		name = classify(r.Value)
	}
	k.add([]byte(cmp.Or(name, event.MalformedKind)))
}

func (k *kinds) add(name []byte) {
	n := k.names[string(name)]
	if n == nil {
		n = k.named(string(name))
	}
	*n++
	k.total++
}

// named returns the counter of a new name. Whoever writes to the topic chooses names, so
// their number is bounded.
func (k *kinds) named(name string) *int64 {
	switch {
	case !utf8.ValidString(name):
		name = event.MalformedKind
	case len(name) > event.MaxKind, len(k.names) >= tally.MaxKinds:
		name = event.OtherKind
	}
	if k.names == nil {
		k.names = map[string]*int64{}
	}
	if k.names[name] == nil {
		k.names[name] = new(int64)
	}
	return k.names[name]
}

// counts returns what was counted since the last reset.
func (k *kinds) counts() map[string]int64 {
	out := make(map[string]int64, len(k.names))
	for name, n := range k.names {
		out[name] = *n
	}
	return out
}

// reset begins the next batch.
func (k *kinds) reset() {
	clear(k.names)
	k.total = 0
}

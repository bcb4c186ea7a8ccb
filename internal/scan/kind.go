package scan

import (
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
)

// Kind is what a record counts as: its first `kind` header that is not empty or,
// where another program wrote it, what classify (which may be nil) makes of its
// value. It is written independently of the counter, from the same rules, because
// a recount that shared its code would repeat its mistakes.
func Kind(r *kgo.Record, classify func(value []byte) string) string {
	for _, h := range r.Headers {
		if h.Key == "kind" && len(h.Value) > 0 {
			return Bounded(string(h.Value))
		}
	}
	if len(r.Value) > 0 && classify != nil {
		if kind := classify(r.Value); kind != "" {
			return Bounded(kind)
		}
	}
	return event.MalformedKind
}

// Bounded is the name under which an event type is counted. Any program can write any
// event type to a topic.
func Bounded(kind string) string {
	switch {
	case !utf8.ValidString(kind):
		return event.MalformedKind
	case len(kind) > event.MaxKind:
		return event.OtherKind
	}
	return kind
}

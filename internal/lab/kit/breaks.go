package kit

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Ways to break a lab on purpose that several have.
const (
	// BreakTwice writes some records a second time.
	BreakTwice = "twice"
	// BreakIdle leaves out what the lab is about.
	BreakIdle = "idle"
	// BreakForget loses something without counting it.
	BreakForget = "forget"
)

// NoSuch rejects an unknown choice.
func NoSuch[T ~string](what string, got T, all []T) error {
	return fmt.Errorf("unknown %s %q: choose one of %s", what, got, Listed(all))
}

// Listed names the choices.
func Listed[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = string(x)
	}
	return strings.Join(names, ", ")
}

// fetchMeter is a hook of consumers that counts the records they have from brokers.
type fetchMeter struct{ Records atomic.Int64 }

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered.
func (m *fetchMeter) OnFetchRecordBuffered(*kgo.Record) { m.Records.Add(1) }

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered.
func (m *fetchMeter) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	if !polled { // thrown away, and fetched again
		m.Records.Add(-1)
	}
}

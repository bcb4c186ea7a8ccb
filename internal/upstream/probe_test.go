package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

// play feeds a probe with one letter an event: a stored one, a canary, m
// malformed, u unknown, b binary, t too large, e an error of upstream's; | opens
// another connection, and + one that resumes. It returns how many events were taken before the stream
// had to end, or -1.
func play(p *Probe, events string) int {
	kinds := map[rune]event.Event{
		'a': {Route: event.Data, Kind: "edit"}, 's': {Route: event.Skip, Kind: "canary"},
		'm': {Route: event.Reject, Kind: event.ReasonMalformed}, 'u': {Route: event.Reject, Kind: event.ReasonUnknown}, 'b': {Route: event.Reject, Kind: event.ReasonBinary},
		't': {Route: event.Reject, Kind: event.ReasonTooLarge}, 'e': {Route: event.Reject, Kind: event.ReasonError},
	}
	taken := 0
	for _, letter := range events {
		if letter == '|' || letter == '+' {
			p.Open(letter == '+')
			continue
		}
		ev := kinds[letter]
		if !p.Allows(&ev) {
			return taken
		}
		taken++
	}
	return -1
}

func TestProbe(t *testing.T) {
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	for _, tt := range []struct {
		name, events string
		ends         int
	}{
		{"all good", many("a", 200), -1},
		{"49 bad ones, then a good one, then bad ones only", many("m", 49) + "a" + many("m", 500), -1},
		{"50 bad ones", many("m", 50), 49},
		{"of every kind", many("mub", 17), 49},
		{"canaries prove nothing", many("ms", 50), 98},
		{"what every stream can have counts for nothing", many("et", 500), -1},
		{"a good connection, then one of something else", "a|" + many("u", 50), 50},
		{"a bad minute where a stream is resumed", "a+" + many("u", 1800) + "a+" + many("m", 1800) + "a", -1},
		{"a stream that is resumed is another one now", "a+" + many("u", 5000), 2000},
		{"a few at the start of every connection", many("mmma|", 100), -1},
		{"a server that ends at each bad one, and brings good ones at times", many(many("m|", 49)+"a|", 10), -1},
		{"a server that ends at each bad one, and brings nothing else", many("m|", 50), 49},
	} {
		if got := play(new(Probe), "|"+tt.events); got != tt.ends {
			t.Errorf("%s: ended at event %d, want %d", tt.name, got, tt.ends)
		}
	}
}

func TestProbeHoldsBack(t *testing.T) {
	b := event.NewBatch()
	defer b.Release()
	p := new(Probe)
	for _, tt := range []struct {
		events string
		holds  bool
	}{{"|", false}, {"ste", false}, {"m", true}, {"se", true}, {"a", false}, {"mmm", false}, {"|", false}, {"u", true}, {"|", true}, {"a", false}} {
		play(p, tt.events)
		if got := p.Holds(b); got != tt.holds {
			t.Errorf("after %q: holds %v, want %v", tt.events, got, tt.holds)
		}
	}
	play(p, "|m")
	b.Copy(make([]byte, event.MaxValue))
	if p.Holds(b) {
		t.Error("holds 4 MiB back, and would hold more")
	}
}

func TestProbeSaysWhatIsMissing(t *testing.T) {
	ev := event.Event{Kind: event.ReasonMalformed, Detail: "type is missing"}
	err := new(Probe).Refusal("https://h/x", &ev, "try y")
	var se *event.StreamError
	if !errors.As(err, &se) || !se.Permanent || !strings.HasPrefix(err.Error(), "https://h/x: ") || !strings.Contains(err.Error(), "type is missing") || !strings.HasSuffix(err.Error(), ": try y") {
		t.Errorf("%v: want a permanent error that names the URL, what is missing, and the way out", err)
	}
}

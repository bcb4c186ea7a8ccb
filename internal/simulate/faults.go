package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// The faults. A text plan is a list of them with commas between:
//
//	[bluesky:|wikipedia:]NAME@N[:PARAMETER]    once, at event N (429, 503: at request N)
//	[bluesky:|wikipedia:]NAME/N[:PARAMETER]    at every Nth event (429, 503: every Nth request)
//
// for instance "cut@5000,wikipedia:stall@900:30s,429@2:1s,malformed/1000".
// Without a prefix a fault is planned for both streams. Events and requests are
// counted from 0 and 1. No fault changes an event of the world: extra frames are
// extra, and only FaultGap withholds events.
const (
	// Extra frames, sent before event N to every client and on every replay, as
	// if upstream's log held them.
	FaultDuplicate = "duplicate" // an event of a little before, once more
	FaultMalformed = "malformed" // not JSON
	FaultTruncated = "truncated" // the first half of event N
	FaultUnknown   = "unknown"   // well formed, of an event type that does not exist
	FaultOversize  = "oversize"  // well formed and PARAMETER bytes long (5MiB)
	FaultBinary    = "binary"    // Bluesky: a binary frame that nothing can decompress

	// What happens to a connection that comes to event N; once for each N.
	FaultCut      = "cut"      // half of event N, then the connection is gone
	FaultClose    = "close"    // the connection is closed properly
	FaultStall    = "stall"    // nothing more is sent for PARAMETER (1h), the connection stays
	FaultSlow     = "slow"     // for PARAMETER (5s) only one event every 100 ms
	FaultError    = "error"    // an error frame or event, then the connection is closed
	FaultRestart  = "restart"  // all connections are gone, and refused for PARAMETER (2s)
	FaultRenumber = "renumber" // Bluesky v2: restart after a crash; the last PARAMETER (4096) sequence numbers are handed out again
	FaultGap      = "gap"      // restart; the PARAMETER (1000) events from N on are gone for good, and so are all before
	FaultSwitch   = "switch"   // Wikipedia: the other data centre takes over
	// What a request is answered.
	Fault429 = "429" // with Retry-After: PARAMETER (1s)
	Fault503 = "503" // with Retry-After: PARAMETER (1s)
)

// faultClass is when a fault happens.
type faultClass uint8

const (
	onConnection faultClass = iota
	extraFrame
	onRequest
)

// faultKinds has how each fault's parameter is read (nil: it has none), its default, and the
// only stream that has the fault (empty: both).
var faultKinds = map[string]struct {
	class  faultClass
	parse  func(string) (int64, error)
	value  int64
	stream string
}{
	FaultDuplicate: {class: extraFrame},
	FaultMalformed: {class: extraFrame},
	FaultTruncated: {class: extraFrame},
	FaultUnknown:   {class: extraFrame},
	FaultOversize:  {extraFrame, parseBytes, 5 << 20, ""},
	FaultBinary:    {class: extraFrame, stream: streamBluesky},
	FaultCut:       {},
	FaultClose:     {},
	FaultStall:     {onConnection, parseDuration, int64(time.Hour), ""},
	FaultSlow:      {onConnection, parseDuration, int64(5 * time.Second), ""},
	FaultError:     {},
	FaultRestart:   {onConnection, parseDuration, int64(2 * time.Second), ""},
	FaultRenumber:  {onConnection, parseCount, 4096, streamBluesky},
	FaultGap:       {onConnection, parseCount, 1000, ""},
	FaultSwitch:    {stream: streamWikipedia},
	Fault429:       {onRequest, parseDuration, int64(time.Second), ""},
	Fault503:       {onRequest, parseDuration, int64(time.Second), ""},
}

const (
	streamBluesky   = "bluesky"
	streamWikipedia = "wikipedia"

	maxOversize = 256 << 20
)

// Fault is one line of a plan.
type Fault struct {
	Name string
	// Stream is "bluesky", "wikipedia", or empty for both.
	Stream string
	// N is the event or the request; with Every, every Nth one.
	N     int64
	Every bool
	// Value is the parameter: nanoseconds, events or bytes; 0 is the default.
	Value int64
}

// Plan is a list of faults.
type Plan []Fault

// ParsePlan reads the text form. An error names the part that is wrong and what
// it could be.
func ParsePlan(text string) (Plan, error) {
	var plan Plan
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		f, err := parseFault(part)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", part, err)
		}
		plan = append(plan, f)
	}
	return plan, nil
}

func parseFault(text string) (Fault, error) {
	var f Fault
	for _, s := range []string{streamBluesky, streamWikipedia} {
		if rest, ok := strings.CutPrefix(text, s+":"); ok {
			f.Stream, text = s, rest
		}
	}
	at := strings.IndexAny(text, "@/")
	if at < 0 {
		return f, fmt.Errorf("want NAME@N or NAME/N, for instance cut@5000")
	}
	f.Name, f.Every = text[:at], text[at] == '/'
	kind, ok := faultKinds[f.Name]
	if !ok {
		return f, fmt.Errorf("unknown name, want one of %s", strings.Join(FaultNames(), ", "))
	}
	if kind.stream != "" {
		if f.Stream != "" && kind.stream != f.Stream {
			return f, fmt.Errorf("%s happens on %s only", f.Name, kind.stream)
		}
		f.Stream = kind.stream
	}
	number, param, hasParam := strings.Cut(text[at+1:], ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || (f.Every || kind.class == onRequest) && n == 0 {
		return f, fmt.Errorf("%q is not a positive whole number", number)
	}
	f.N = n
	switch {
	case !hasParam:
	case kind.parse == nil:
		return f, fmt.Errorf("takes no parameter")
	default:
		f.Value, err = kind.parse(param)
	}
	return f, err
}

func parseDuration(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 30s", text)
	}
	return int64(d), nil
}

func parseCount(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > 1e12 {
		return 0, fmt.Errorf("%q is not a number of events", text)
	}
	return n, nil
}

func parseBytes(text string) (int64, error) {
	number, mega := strings.CutSuffix(text, "MiB")
	number, kilo := strings.CutSuffix(number, "KiB")
	n, err := strconv.ParseInt(number, 10, 32)
	switch {
	case mega:
		n <<= 20
	case kilo:
		n <<= 10
	}
	if err != nil || n <= event.MaxValue || n > maxOversize {
		return 0, fmt.Errorf("%q is not a size such as 5MiB: over 4MiB, at most 256MiB", text)
	}
	return n, nil
}

// FaultNames lists the names that a plan can use.
func FaultNames() []string { return slices.Sorted(maps.Keys(faultKinds)) }

// Faults is a plan that fires, and counts that it did. A nil one never fires.
// It may be used by many goroutines, and by several hosts of one stream.
type Faults struct {
	mu       sync.Mutex
	planned  []*planned
	requests int64
	fired    map[string]int64
}

type planned struct {
	Fault
	done []uint64 // bit N / every: has fired
}

// Faults returns what the plan has for a stream, "bluesky" or "wikipedia"; nil
// where it has nothing.
func (p Plan) Faults(stream string) *Faults {
	f := &Faults{fired: map[string]int64{}}
	for _, x := range p {
		if x.Stream == "" || x.Stream == stream {
			if x.Value == 0 {
				x.Value = faultKinds[x.Name].value
			}
			f.planned = append(f.planned, &planned{Fault: x})
			f.fired[x.Name] = 0
		}
	}
	if f.planned == nil {
		return nil
	}
	return f
}

// Fired is how often each planned fault has happened, by name. Of extra frames
// it counts how many different ones were sent, however often each was.
func (f *Faults) Fired() map[string]int64 {
	if f == nil {
		return map[string]int64{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.fired)
}

// next is the first event from i on at which something may happen.
func (f *Faults) next(i int64) int64 {
	at := int64(1) << 62
	if f == nil {
		return at
	}
	for _, p := range f.planned {
		if n, ok := p.from(i); ok && faultKinds[p.Name].class != onRequest {
			at = min(at, n)
		}
	}
	return at
}

// extra returns the extra frames before event i, and counts those that are new.
func (f *Faults) extra(i int64) (out []Fault) {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.planned {
		if p.is(extraFrame, i) {
			f.mark(p, i)
			out = append(out, p.Fault)
		}
	}
	return out
}

// first returns the first fault that a connection at event i is to suffer now, or that answers
// this request, and counts it. Each happens once at an event; requests are counted here.
func (f *Faults) first(class faultClass, i int64) (Fault, bool) {
	if f == nil {
		return Fault{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if class == onRequest {
		f.requests++
		i = f.requests
	}
	for _, p := range f.planned {
		if p.is(class, i) && f.mark(p, i) {
			return p.Fault, true
		}
	}
	return Fault{}, false
}

// mark counts a fault at i, and reports whether it is new there.
func (f *Faults) mark(p *planned, i int64) bool {
	n := int64(0)
	if p.Every {
		n = i / p.N
	}
	word, bit := int(n>>6), uint64(1)<<(n&63)
	if need := word + 1 - len(p.done); need > 0 {
		p.done = append(p.done, make([]uint64, need)...)
	}
	if p.done[word]&bit != 0 {
		return false
	}
	p.done[word] |= bit
	f.fired[p.Name]++
	return true
}

// is reports whether the fault is of a class and planned for event or request i.
func (p *planned) is(class faultClass, i int64) bool {
	n, ok := p.from(i)
	return ok && n == i && faultKinds[p.Name].class == class
}

// from is the first event or request from i on that the fault is planned for.
func (p *planned) from(i int64) (int64, bool) {
	if !p.Every {
		return p.N, p.N >= i
	}
	return max(1, (i+p.N-1)/p.N) * p.N, true // never at event 0
}

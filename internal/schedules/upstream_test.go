package schedules

import (
	"context"
	"net"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/wikipedia"
)

// verdict is how many more events, and for how long, it takes at most until a source knows that it
// has missed some: a Jetstream can repeat 4096 by number, and the other waits for five seconds.
const (
	verdictEvents = 4600
	verdictRate   = 2000
	verdictTime   = 20 * time.Second
)

// sourceNames are what is fixed for a source.
type sourceNames struct {
	name, data, account string
	partition           int32 // of the topics that the sources share
	classify            func([]byte) string
}

var sourcesByName = map[string]sourceNames{
	bluesky.Name:   {bluesky.Name, kafka.TopicBluesky, kafka.TopicBlueskyAccounts, 0, bluesky.Classify},
	wikipedia.Name: {wikipedia.Name, kafka.TopicWikipedia, "", 1, wikipedia.Classify},
}

// topicOf is where the World's event belongs.
func (n *sourceNames) topicOf(it simulate.Item) string {
	if it.Route == event.Account {
		return n.account
	}
	return n.data
}

const upstreamAddr = "127.0.0.1:8080"

// upstream is the World on its wire server.
type upstream struct {
	timeline *simulate.Timeline
	faults   *simulate.Faults
	limit    int64
	plan     simulate.Plan
	server   interface {
		Serve(context.Context, net.Listener) error
		Close() error
		Tip() int64
		At(int64) simulate.Item
	}
	stop func()
}

func newUpstream(s *stage, rate float64, limit int64, plan simulate.Plan) *upstream {
	variant := simulate.AllCollections
	if s.src.name == wikipedia.Name {
		variant = simulate.WikipediaVariant(simulate.Eqiad, 0)
	}
	tl, err := simulate.OpenTimeline(simulate.TimelineConfig{World: "schedules", Rate: rate, Variant: variant, Limit: limit, History: -quiet})
	s.check(err)
	u := &upstream{timeline: tl, limit: limit, plan: plan, faults: plan.Faults(s.src.name)}
	cfg := simulate.ServerConfig{World: simulate.NewWorld(int64(s.seed >> 1)), Timeline: tl, Faults: u.faults}
	if s.src.name == wikipedia.Name {
		u.server, err = simulate.NewWikipedia(cfg)
	} else {
		u.server, err = simulate.NewBluesky(cfg)
	}
	s.check(err)
	ln, err := s.net.Listen("tcp", upstreamAddr)
	s.check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := u.server.Serve(ctx, ln); err != nil {
			s.errorf("upstream: %v", err)
		}
	}()
	u.stop = func() {
		cancel()
		_ = u.server.Close()
		<-done
		_ = tl.Close()
	}
	return u
}

// source makes a client of it.
func (u *upstream) source(s *stage, dial dialer) ingest.Source {
	var src ingest.Source
	var err error
	if s.src.name == wikipedia.Name {
		src, err = wikipedia.New(wikipedia.Config{URL: "http://" + upstreamAddr + "/v2/stream/recentchange", Dial: dial, Log: s.log})
	} else {
		src, err = bluesky.New(bluesky.Config{URLs: []string{"ws://" + upstreamAddr + "/subscribe"}, Dial: dial, Log: s.log})
	}
	s.check(err)
	return src
}

func (u *upstream) tip() int64                 { return u.server.Tip() }
func (u *upstream) item(i int64) simulate.Item { return u.server.At(i) }
func (u *upstream) fired(name string) int64    { return u.faults.Fired()[name] }
func (u *upstream) ofGap() (simulate.Fault, bool) {
	for _, f := range u.plan {
		if f.Name == simulate.FaultGap {
			return f, u.fired(simulate.FaultGap) > 0
		}
	}
	return simulate.Fault{}, false
}

// mayLose reports whether event i may be missing: it was withheld, or it came before what was
// withheld and had not been stored by then.
func (u *upstream) mayLose(i int64) bool {
	f, made := u.ofGap()
	return made && i < f.N+f.Value
}

// concludeGaps returns how many gaps have to be reported and how many events are missing, and
// checks that exactly those of one stretch are, which ends with what was withheld.
func (u *upstream) concludeGaps(o *observer) (gaps, lost int64) {
	f, made := u.ofGap()
	if !made {
		return 0, int64(len(o.missing))
	}
	if len(o.missing) == 0 {
		return 0, 0
	}
	missing := map[int64]bool{}
	for _, i := range o.missing {
		missing[i] = true
	}
	for i := min(o.missing[0], f.N); i < f.N+f.Value; i++ {
		if it := o.items[i]; it.Route != event.Skip && !it.Again && !missing[i] {
			o.s.errorf("event %d is stored, between events that are missing", i)
		}
	}
	return 1, int64(len(missing))
}

// letters is how many frames of each kind were sent that have to be dead letters.
func (u *upstream) letters(source string) map[string]int64 {
	unknown := event.ReasonUnknown
	if source == wikipedia.Name { // whose events have no kind that could be unknown
		unknown = event.ReasonMalformed
	}
	out := map[string]int64{}
	for name, reason := range map[string]string{
		simulate.FaultMalformed: event.ReasonMalformed, simulate.FaultTruncated: event.ReasonMalformed,
		simulate.FaultUnknown: unknown, simulate.FaultOversize: event.ReasonTooLarge,
		simulate.FaultBinary: event.ReasonBinary, simulate.FaultError: event.ReasonError,
	} {
		if n := u.fired(name); n > 0 {
			out[reason] += n
		}
	}
	return out
}

// quiet is how long nothing happens at first: a client that has no position begins with the next event.
const quiet = time.Second

// index is the event that is offered at a time after the beginning.
func index(rate float64, at time.Duration) int64 { return int64(rate * (at - quiet).Seconds()) }

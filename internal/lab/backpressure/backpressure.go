// Package backpressure is the lab about a stage that is too slow: what happens, with each
// policy, to the events that are offered beyond what it can do. It owns the settings, what is
// observed and what is claimed; the queue with its policies is package overflow.
package backpressure

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/overflow"
)

//go:embed help.md
var help string

// Lab is about a stage that is too slow: what happens, with each policy, to the
// events that are offered beyond what it can do.
var Lab = lab.Define[Settings]("backpressure", help)

// Settings is its settings. The defaults are those of the project that weir goes back
// to: a queue of 10,000 and four workers of 10 ms, offered five times what those can do.
type Settings struct {
	// Preset names the other settings to begin with: one event after the other; a stream as
	// slow as the public posts; one policy, and time to change it by hand.
	Preset   string            `flag:"preset" default:"threaded" choices:"io,live,play,short,threaded"`
	Policies []overflow.Policy `flag:"policies" json:"policies" default:"block,drop-newest,drop-oldest,sample,spill" presets:"play=block;live=block,drop-newest,spill" choices:"block,drop-newest,drop-oldest,sample,spill"`
	// Queue and QueueBytes bound the queue between socket and workers: whichever is reached
	// first. By default the bytes are far above what its events take. Their lower bounds are a few
	// batches of the source, so that a queue that reaches its bound holds more than one.
	Queue      int   `flag:"queue" json:"queue" default:"10000" short:"1000" presets:"play=2000;live=512" min:"512" max:"200000"`
	QueueBytes int64 `flag:"queue-bytes" json:"queue_bytes" default:"1073741824" min:"1048576" max:"1073741824"`
	Workers    int   `flag:"workers" json:"workers" default:"4" presets:"io=1;live=1" min:"1" max:"64"`
	// Work is how long a worker is busy with one event.
	Work time.Duration `flag:"work" json:"work_ms" default:"10ms" presets:"live=100ms" min:"1ms" max:"1s"`
	// Slow is the stage that is slow, Work how slow: for SlowRedis the time of a
	// request, for SlowBroker by how many bytes the same number of events takes.
	Slow kit.Stage `flag:"slow" json:"slow" default:"work" choices:"work,broker,consumer,redis"`
	// Spill is how much disk the policy spill may use, in bytes.
	Spill int64 `flag:"spill-bytes" json:"spill_bytes" default:"33554432" min:"65536" max:"8589934592"`
	// Rate is how many events per second the upstream offers, for the time Offer.
	Rate  float64       `flag:"rate" json:"rate" default:"2000" short:"1000" presets:"io=500;play=800;live=100" min:"0.001" max:"20000" simulated:"only"`
	Offer time.Duration `flag:"time" json:"offer_s" default:"12s" short:"4s" presets:"io=36s;play=1m;live=30s" min:"1s" max:"15m"`
	Seed  int64         `flag:"seed" json:"seed" default:"1" simulated:"only"`
	kit.FromLive
	// Break is empty, or a way to break the pipeline on purpose.
	Break string `flag:"break" json:"break,omitempty" choices:"lose,slow,forget,miscount,idle"`
}

// Derived are figures that follow from the settings.
func (s *Settings) Derived() map[string]any {
	return map[string]any{"events": s.events(), "capacity_per_s": s.capacity()}
}

// capacity is what theory says that the workers can do, in events per second.
func (s *Settings) capacity() float64 { return float64(s.Workers) / s.Work.Seconds() }

// events is how many events upstream offers.
func (s *Settings) events() int64 { return int64(math.Round(s.Rate * s.Offer.Seconds())) }

// Check refuses settings with which nothing could be shown, and says what would do.
func (s *Settings) Check() error {
	switch {
	case s.Break == BreakSlow && s.Slow != kit.SlowWork:
		return fmt.Errorf("--break %s makes workers slow: it needs --slow %s", BreakSlow, kit.SlowWork)
	case s.Break == BreakForget && (!slices.Contains(s.Policies, overflow.Spill) || !s.Slow.BeforeKafka()):
		return fmt.Errorf("--break %s applies to events that are read back from disk: it needs the policy spill, and a slow stage before Kafka", BreakForget)
	}
	if err := s.FromLive.Check(); err != nil {
		return err
	}
	if s.Slow == kit.SlowRedis || s.Live != nil {
		return nil // counts are batched: no number of events is too many; and what a live stream brings is seen then
	}
	c := s.capacity()
	if s.Rate < 1.2*c {
		return fmt.Errorf("%d workers of %v process %.0f events/s, so at %.0f/s no event has to wait: offer at least %.0f/s, or slow the workers down",
			s.Workers, s.Work, c, s.Rate, math.Ceil(1.2*c))
	}
	holds := min(float64(s.Queue), float64(s.QueueBytes)/bytesInQueue)
	need := time.Duration(1.3 * holds / (s.Rate - c) * float64(time.Second)).Round(100 * time.Millisecond)
	if s.Offer < need && s.Slow != kit.SlowConsumer { // no queue fills before one
		return fmt.Errorf("in %v a queue of %.0f does not fill, with %.0f/s coming in and %.0f/s going out: offer events for at least %v, or make the queue smaller",
			s.Offer, holds, s.Rate, c, need)
	}
	if t := time.Duration(float64(s.events()) / c * float64(time.Second)); t > kit.MaxCase {
		return fmt.Errorf("%d events at %.0f/s take %v, longer than a lab may take (%v): offer fewer events, or make the workers faster", s.events(), c, t.Round(time.Second), kit.MaxCase)
	}
	return nil
}

// Run implements lab.Settings.
func (s *Settings) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	touched := false
	for i, p := range s.Policies {
		show := func(text string) {
			b.Progress(fmt.Sprintf("%d of %d  %-11s  %s", i+1, len(s.Policies), p, text))
		}
		o, err := lab.Part(b, func(b *lab.Bench) (*observation, error) { return s.observe(ctx, b, p, show) })
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		s.judge(r, o)
		if s.Live != nil {
			r.Notes = append(r.Notes, o.liveNote(s))
		}
		if o.touched() {
			touched = true
			r.Notes = append(r.Notes, o.name()+": settings were changed by hand while it ran; the marks on the chart show when. "+
				"Loss, counts, order and memory are checked; speed and the promises of a single policy are not.")
		}
	}
	if s.Live == nil && !touched { // what theory says is about settings that stay
		r.Notes = s.notes()
	}
	return nil
}

// surplus is how many events theory says have come and not gone when the offer ends.
func (s *Settings) surplus() float64 { return (s.Rate - s.capacity()) * s.Offer.Seconds() }

// bytesPerEvent is what a simulated post takes in a compressed batch, about.
const bytesPerEvent = 230

// bytesInQueue is what a simulated post takes in the queue, about.
const bytesInQueue = 850

// rig says what runs under a policy.
func (s *Settings) rig(p overflow.Policy, w *kit.Workers) kit.StackConfig {
	c := kit.StackConfig{Live: s.Live, Offer: s.Offer, Seed: s.Seed, Rate: s.Rate, Events: s.events(), Slow: s.Slow,
		Overflow: &overflow.Config{Events: s.Queue, Bytes: s.QueueBytes, Policy: p, DiskBytes: s.Spill}}
	switch s.Slow {
	case kit.SlowBroker:
		c.PerSecond = int64(s.capacity() * bytesPerEvent)
	case kit.SlowConsumer:
		c.Delay = func() time.Duration { return s.Work / time.Duration(s.Workers) }
	case kit.SlowRedis:
		c.Delay = func() time.Duration { return s.Work }
	default:
		c.Overflow.Work = w.Do
	}
	return c
}

// liveNote says what load a live stream was.
func (o *observation) liveNote(s *Settings) string {
	rate := float64(o.events) / s.Offer.Seconds()
	text := fmt.Sprintf("%s: the live stream was read at %.1f events/s for %v; %d workers of %v process %.0f/s",
		o.name(), rate, s.Offer, s.Workers, s.Work, s.capacity())
	if q := o.finalQueue; q.Blocked == 0 && q.Dropped.Total() == 0 && q.Spilled.Total == 0 && s.Slow.BeforeKafka() {
		text += ", so no event has to wait: make the work longer, or read more events with --collections '*'"
	}
	if o.origin != "" && o.origin != event.OriginLive {
		text += fmt.Sprintf("; the server says that its events are %s", o.origin)
	}
	return text
}

// notes say what would have held without loss or waiting.
func (s *Settings) notes() []string {
	c := s.capacity()
	switch s.Slow {
	case kit.SlowRedis:
		return []string{fmt.Sprintf("%v for each request to Redis: a batch of any size is one request, so it costs latency and no throughput", s.Work)}
	case kit.SlowConsumer:
		return []string{fmt.Sprintf("a consumer that processes %.0f events/s is behind by up to %.0f events after %v: "+
			"they wait in Kafka, which keeps them anyway, and no stage before it is affected", c, s.surplus(), s.Offer)}
	case kit.SlowBroker:
		return []string{fmt.Sprintf("the connection to the brokers carries %d bytes a second; producers send unacknowledged records again "+
			"and read no more events, so the queue and the socket fill as with slow workers", int64(c*bytesPerEvent))}
	}
	return []string{
		fmt.Sprintf("events are dropped at the queue of %d, which is full %.1f s after the first event; until then no policy loses any",
			s.Queue, float64(s.Queue)/(s.Rate-c)),
		fmt.Sprintf("%d workers of %v process %.0f events/s; %.0f/s were offered for %v, so %.0f events do not fit", s.Workers, s.Work, c, s.Rate, s.Offer, s.surplus()),
		fmt.Sprintf("a load that stays this high needs %d workers, or work of at most %.2f ms; a burst of %v needs a queue of %.0f events, or an upstream that waits",
			int(math.Ceil(s.Rate*s.Work.Seconds())), 1000*float64(s.Workers)/s.Rate, s.Offer, s.surplus()),
	}
}

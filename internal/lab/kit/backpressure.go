package kit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/simulate"
)

// Ways to break the pipeline on purpose, so that the lab has something to find.
const (
	// BreakLose makes one event in a hundred vanish between socket and queue,
	// uncounted.
	BreakLose = "lose"
	// BreakSlow makes the workers take half as long again as they should.
	BreakSlow = "slow"
	// BreakMiscount lets Redis forget what one partition has counted.
	BreakMiscount = "miscount"
)

// Breaks lists the ways to break the pipeline,
// beside those of others: forget (one event in a hundred that comes back from disk
// vanishes, uncounted) and idle (the slow stage is not slow).
func Breaks() []string {
	return []string{BreakLose, BreakSlow, BreakForget, BreakMiscount, BreakIdle}
}

// Limits of Backpressure's settings.
const (
	// MinQueue is twice what the source hands over at once, so that the bound can
	// be told from one batch.
	MinQueue   = 512
	MaxQueue   = 200_000
	MaxWorkers = 64
	MinWork    = time.Millisecond
	MaxWork    = time.Second
	MaxOffer   = 20_000 // events per second: what one machine generates, sends and stores at ease
	MaxCase    = 15 * time.Minute
	MinSpill   = 64 << 10
	MaxSpill   = 8 << 30
	// MinQueueBytes is a few batches, so that the bound can be told from one.
	MinQueueBytes = 1 << 20
	MaxQueueBytes = 1 << 30
)

// Backpressure is the experiment of a stage that is too slow: what becomes of the
// events that are offered beyond what it can do, by policy.
type Backpressure struct {
	Policies []overflow.Policy `json:"-"`
	// Queue is the bound in events of the queue between socket and workers.
	Queue int `json:"queue"`
	// QueueBytes is its bound in bytes: whichever is reached first. MaxQueueBytes is far
	// above what its events take.
	QueueBytes int64 `json:"queue_bytes"`
	Workers    int   `json:"workers"`
	// Work is how long a worker is busy with one event.
	Work time.Duration `json:"-"`
	// Rate is the events per second that upstream offers, for the time Offer.
	Rate  float64       `json:"rate"`
	Offer time.Duration `json:"-"`
	Seed  int64         `json:"seed"`
	// Slow is the stage that is slow, Work how slow: for SlowRedis the time of a
	// request, for SlowBroker by how many bytes the same number of events takes.
	Slow Stage `json:"slow"`
	// Spill is how much disk the policy spill may use, in bytes.
	Spill int64 `json:"spill_bytes"`
	// Live is where events come from for the time Offer, whatever their Rate; nil for
	// the simulated stream.
	Live *Upstream `json:"live,omitempty"`
	// Break is empty, or a way to break the pipeline on purpose.
	Break string `json:"break,omitempty"`
}

// Presets are settings with a name.
func Presets() map[string]Backpressure {
	threaded, io, play := DefaultBackpressure(), DefaultBackpressure(), DefaultBackpressure()
	io.Workers, io.Rate, io.Offer = 1, 500, 36*time.Second
	play.Policies, play.Queue, play.Rate, play.Offer = []overflow.Policy{overflow.Block}, 2000, 800, time.Minute
	live := DefaultBackpressure()
	live.Policies, live.Queue, live.Workers, live.Work = []overflow.Policy{overflow.Block, overflow.DropNewest, overflow.Spill}, MinQueue, 1, 100*time.Millisecond
	live.Rate, live.Offer = 100, 30*time.Second
	return map[string]Backpressure{PresetThreaded: threaded, PresetIO: io, PresetPlay: play, PresetLive: live, PresetShort: ShortBackpressure()}
}

// Names of the presets.
const (
	// PresetThreaded is the default: four workers side by side.
	PresetThreaded = "threaded"
	// PresetIO waits for one event after the other.
	PresetIO = "io"
	// PresetPlay has one policy and time to change it by hand.
	PresetPlay = "play"
	// PresetLive is slow enough for the posts of the public stream.
	PresetLive  = "live"
	PresetShort = "short"
)

// DefaultBackpressure is the project's that weir goes back to: a queue of 10,000
// and four workers of 10 ms, offered five times what those can do.
func DefaultBackpressure() Backpressure {
	return Backpressure{Policies: overflow.Policies(), Queue: 10_000, QueueBytes: MaxQueueBytes, Workers: 4, Work: 10 * time.Millisecond, Rate: 2000, Offer: 12 * time.Second, Seed: 1,
		Slow: SlowWork, Spill: 32 << 20}
}

// ShortBackpressure is the same claim in under a minute.
func ShortBackpressure() Backpressure {
	s := DefaultBackpressure()
	s.Queue, s.Rate, s.Offer = 1000, 1000, 4*time.Second
	return s
}

// Name implements Experiment.
func (s *Backpressure) Name() string { return "backpressure" }

// Source implements Sourced.
func (s *Backpressure) Source() string { return s.Live.Name() }

// Claim implements Experiment.
func (s *Backpressure) Claim() string {
	return "A stage that is too slow costs time or events, never both unnoticed: blocking loses nothing and makes upstream wait in bounded memory; " +
		"dropping loses exactly what its counter says; and workers divided by the time of the work is the throughput."
}

// Settings implements Experiment.
func (s *Backpressure) Settings() any {
	names := make([]string, len(s.Policies))
	for i, p := range s.Policies {
		names[i] = p.String()
	}
	return struct {
		Policies []string `json:"policies"`
		*Backpressure
		WorkMS       float64 `json:"work_ms"`
		OfferSeconds float64 `json:"offer_s"`
		Events       int64   `json:"events"`
		Capacity     float64 `json:"capacity_per_s"`
	}{names, s, Milliseconds(s.Work), s.Offer.Seconds(), s.events(), s.capacity()}
}

func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// capacity is what theory says that the workers can do, in events per second.
func (s *Backpressure) capacity() float64 { return float64(s.Workers) / s.Work.Seconds() }

// events is how many events upstream offers.
func (s *Backpressure) events() int64 { return int64(math.Round(s.Rate * s.Offer.Seconds())) }

// Check implements Experiment: settings with which nothing could be shown are
// refused, with what would do.
func (s *Backpressure) Check() error {
	for i, p := range s.Policies {
		if slices.Contains(s.Policies[:i], p) {
			return fmt.Errorf("policy %q is named twice", p)
		}
	}
	switch {
	case len(s.Policies) == 0:
		return errors.New("no policy to try: choose some of block, drop-newest, drop-oldest, sample, spill")
	case s.Queue < MinQueue || s.Queue > MaxQueue:
		return fmt.Errorf("a queue of %d events is not between %d and %d", s.Queue, MinQueue, MaxQueue)
	case s.QueueBytes < MinQueueBytes || s.QueueBytes > MaxQueueBytes:
		return fmt.Errorf("a queue of %d bytes is not between %d and %d", s.QueueBytes, MinQueueBytes, MaxQueueBytes)
	case s.Workers < 1 || s.Workers > MaxWorkers:
		return fmt.Errorf("%d workers are not between 1 and %d", s.Workers, MaxWorkers)
	case s.Work < MinWork || s.Work > MaxWork:
		return fmt.Errorf("work of %v is not between %v and %v", s.Work, MinWork, MaxWork)
	case !(s.Rate >= simulate.MinRate && s.Rate <= MaxOffer):
		return fmt.Errorf("a rate of %v is not between %v and %v events a second", s.Rate, simulate.MinRate, MaxOffer)
	case s.Offer < time.Second || s.Offer > MaxCase:
		return fmt.Errorf("a time of %v is not between 1s and %v", s.Offer, MaxCase)
	case !slices.Contains(Stages(), s.Slow):
		return fmt.Errorf("there is no stage called %q to slow down: choose one of %s", s.Slow, Listed(Stages()))
	case s.Spill < MinSpill || s.Spill > MaxSpill:
		return fmt.Errorf("a spill of %d bytes is not between %d and %d", s.Spill, MinSpill, MaxSpill)
	case s.Break == BreakSlow && s.Slow != SlowWork:
		return fmt.Errorf("--break %s makes workers slow: it needs --slow %s", BreakSlow, SlowWork)
	case s.Break == BreakForget && (!slices.Contains(s.Policies, overflow.Spill) || !s.Slow.beforeKafka()):
		return fmt.Errorf("--break %s is about what comes back from disk: it needs the policy spill, and a slow stage before Kafka", BreakForget)
	case s.Break != "" && !slices.Contains(Breaks(), s.Break):
		return NoSuch("way to break", s.Break, Breaks())
	}
	if err := s.Live.Check(); err != nil {
		return err
	}
	if s.Slow == SlowRedis || s.Live != nil {
		return nil // counts are batched: no number of events is too many; and what a live stream brings is seen then
	}
	c := s.capacity()
	if s.Rate < 1.2*c {
		return fmt.Errorf("%d workers of %v do %.0f events/s, so that %.0f/s back nothing up: offer at least %.0f/s, or slow the workers down",
			s.Workers, s.Work, c, s.Rate, math.Ceil(1.2*c))
	}
	holds := min(float64(s.Queue), float64(s.QueueBytes)/bytesInQueue)
	need := time.Duration(1.3 * holds / (s.Rate - c) * float64(time.Second)).Round(100 * time.Millisecond)
	if s.Offer < need && s.Slow != SlowConsumer { // no queue fills before one
		return fmt.Errorf("in %v a queue of %.0f is not filled by %.0f/s that come and %.0f/s that go: offer for at least %v, or make the queue smaller",
			s.Offer, holds, s.Rate, c, need)
	}
	if t := time.Duration(float64(s.events()) / c * float64(time.Second)); t > MaxCase {
		return fmt.Errorf("%d events at %.0f/s take %v, longer than a lab may (%v): offer fewer, or make the workers faster", s.events(), c, t.Round(time.Second), MaxCase)
	}
	return nil
}

// Run implements Experiment.
func (s *Backpressure) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	touched := false
	for i, p := range s.Policies {
		show := func(text string) {
			b.Progress(fmt.Sprintf("%d of %d  %-11s  %s", i+1, len(s.Policies), p, text))
		}
		o, err := s.observe(ctx, b, p, show)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		s.measure(r, o)
		s.judge(r, o)
		if s.Live != nil {
			r.Notes = append(r.Notes, o.liveNote(s))
		}
		if o.touched() {
			r.Notes = append(r.Notes, o.changes())
			touched = true
		}
	}
	if s.Live == nil && !touched { // what theory says is about settings that stay
		r.Notes = s.notes()
	}
	return nil
}

// surplus is how many events theory says have come and not gone when the offer ends.
func (s *Backpressure) surplus() float64 { return (s.Rate - s.capacity()) * s.Offer.Seconds() }

// bytesPerEvent is what a simulated post takes in a compressed batch, about.
const bytesPerEvent = 230

// bytesInQueue is what a simulated post takes in the queue, about.
const bytesInQueue = 850

// rig says what runs under a policy.
func (s *Backpressure) rig(p overflow.Policy, w *Workers) StackConfig {
	c := StackConfig{Live: s.Live, Offer: s.Offer, Seed: s.Seed, Rate: s.Rate, Events: s.events(), Lossy: s.Break == BreakLose, Slow: s.Slow,
		Overflow: &overflow.Config{Events: s.Queue, Bytes: s.QueueBytes, Policy: p, DiskBytes: s.Spill}}
	switch s.Slow {
	case SlowBroker:
		c.PerSecond = int64(s.capacity() * bytesPerEvent)
	case SlowConsumer:
		c.Delay = s.Work / time.Duration(s.Workers)
	case SlowRedis:
		c.Delay = s.Work
	default:
		c.Overflow.Work = w.Do
	}
	if s.Break == BreakIdle {
		c.PerSecond, c.Delay = 1<<30, 0
	}
	return c
}

// liveNote says what load a live stream was.
func (o *observation) liveNote(s *Backpressure) string {
	rate := float64(o.events) / s.Offer.Seconds()
	text := fmt.Sprintf("%s: the live stream was read at %.1f events/s for %v; %d workers of %v do %.0f/s", o.name(), rate, s.Offer, s.Workers, s.Work, s.capacity())
	if q := o.finalQueue; q.Blocked == 0 && q.Dropped.Total() == 0 && q.Spilled.Total == 0 && s.Slow.beforeKafka() {
		text += ", so that nothing backs up: make the work longer, or ask for more with --collections '*'"
	}
	if o.origin != "" && o.origin != event.OriginLive {
		text += fmt.Sprintf("; the server says that its events are %s", o.origin)
	}
	return text
}

// notes say what would have held without loss or waiting.
func (s *Backpressure) notes() []string {
	if s.Slow == SlowRedis {
		return []string{fmt.Sprintf("%v for each request to Redis: a batch of any size is one request, so that it costs latency and no throughput", s.Work)}
	}
	if s.Slow == SlowConsumer {
		return []string{fmt.Sprintf("a consumer that does %.0f events/s is behind by up to %.0f events after %v: they wait in Kafka, which keeps them anyway, and nobody before it notices", s.capacity(), s.surplus(), s.Offer)}
	}
	if s.Slow == SlowBroker {
		return []string{fmt.Sprintf("%d bytes a second are let through to the brokers; producers send again what is not acknowledged, and do not read on: the queue and the socket fill as with slow workers", int64(s.capacity()*bytesPerEvent))}
	}
	enough := int(math.Ceil(s.Rate * s.Work.Seconds()))
	return []string{
		fmt.Sprintf("where it drops: at the queue of %d, which is full %.1f s after the first event; until then nothing is lost under any policy", s.Queue, float64(s.Queue)/(s.Rate-s.capacity())),
		fmt.Sprintf("%d workers of %v do %.0f events/s; %.0f/s were offered for %v, which leaves %.0f events over",
			s.Workers, s.Work, s.capacity(), s.Rate, s.Offer, s.surplus()),
		fmt.Sprintf("a load that goes on needs %d workers, or work of at most %.2f ms; a burst of %v needs a queue of %.0f events, or an upstream that waits",
			enough, 1000*float64(s.Workers)/s.Rate, s.Offer, s.surplus()),
	}
}

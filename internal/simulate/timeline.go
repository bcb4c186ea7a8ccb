package simulate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

const (
	leaseUS   = 3_000_000 // how far ahead of now events are promised
	renewUS   = 2_000_000 // a lease with less left is renewed
	retryUS   = 1_000_000
	stepUS    = 1_000_000 // a clock that is set by more is reported
	maxKept   = 4096      // segments in a file
	fileLimit = 4 << 20   // bytes of a file that is worth reading
)

// TimelineConfig describes a Timeline.
type TimelineConfig struct {
	// Path is the file that keeps it across restarts; empty for none.
	Path string
	// World says whose timeline it is, for instance "bluesky:1". A file of another
	// one is refused.
	World string
	// Rate is in events per second, from MinRate to MaxRate.
	Rate float64
	// Variant is the Segment's.
	Variant string
	// History is how long before now a new timeline begins, so that there is
	// something to replay at once. A negative one begins later.
	History time.Duration
	// Limit ends the stream: event Limit does not happen. 0 means that it goes on.
	Limit int64
	Log   *slog.Logger // nil discards

	// For tests: the machine's clock in Unix microseconds, and faults of the disk.
	wall func() int64
	disk *atomicfile.Faults
}

// Timeline says when events happen. Servers ask it how many events there are by
// now. With a file it hands out only events up to a horizon that the file
// already promises, so that whatever a crash does, no index and no stamp that
// anyone can have seen is given to another event. After a restart events go on
// where the promise ended: there is no backlog for the time in between.
//
// Its time runs on the monotonic clock, so that the rate stays what it is when
// the machine's clock is set. After a step forward a new segment begins at the
// new time. After a step back stamps stay ahead of the machine's clock, because
// they never decrease.
type Timeline struct {
	cfg   TimelineConfig
	log   *slog.Logger
	wall  func() int64
	begun time.Time // with the monotonic clock
	wait  sync.WaitGroup

	disk sync.Mutex // held while the file is written; before mu

	mu       sync.Mutex
	beginUS  int64 // the timeline's time at begun
	driftUS  int64 // how far the machine's clock was ahead of it when last reported
	segs     Segments
	horizon  int64 // events up to here may be handed out; without a file: no limit
	shown    int64 // the latest time that was asked for
	renewing bool
	retry    int64 // after the file could not be written
	failing  bool  // the file could not be written, and the log says so
	closed   bool
	changed  chan struct{} // closed when segs or horizon change
}

// savedTimeline is the file.
type savedTimeline struct {
	Version  int      `json:"version"`
	World    string   `json:"world"`
	Segments Segments `json:"segments"`
	Horizon  int64    `json:"horizon_us"`
}

// OpenTimeline reads or begins a timeline. An error says what is wrong with the
// file: of another world, from a newer version, damaged, not writable.
func OpenTimeline(cfg TimelineConfig) (*Timeline, error) {
	if err := checkRate(cfg.Rate); err != nil {
		return nil, err
	}
	t := &Timeline{cfg: cfg, log: cmp.Or(cfg.Log, slog.New(slog.DiscardHandler)),
		wall: cfg.wall, begun: time.Now(), changed: make(chan struct{})}
	if t.wall == nil {
		t.wall = func() int64 { return time.Now().UnixMicro() }
	}
	if err := t.load(); err != nil {
		return nil, err
	}
	now := t.wall()
	if ahead := t.horizon - now; ahead > leaseUS+stepUS {
		t.log.Warn("the machine's clock is behind the simulated events that are stored, new ones are stamped later than it shows",
			"ahead", duration(ahead))
		now, t.driftUS = t.horizon+1, -ahead
	}
	t.beginUS, t.shown = now, now
	if t.segs == nil {
		t.segs = Segments{{StartUS: now - cfg.History.Microseconds(), Rate: cfg.Rate, Variant: cfg.Variant}}
	} else if last := &t.segs[len(t.segs)-1]; now > t.horizon || last.Rate != cfg.Rate || last.Variant != cfg.Variant {
		// The promise has run out, or the events to come are others: they begin
		// after everything that was promised.
		t.append(max(now, t.horizon+1), t.horizon)
	}
	t.horizon = max(t.horizon, now+leaseUS)
	if err := t.save(t.segs, t.horizon); err != nil {
		return nil, err
	}
	return t, nil
}

func checkRate(rate float64) error {
	if rate >= MinRate && rate <= MaxRate {
		return nil
	}
	return fmt.Errorf("rate %v events/s: not between %v and %v", rate, MinRate, MaxRate)
}

// append begins a segment at startUS, after every stamp before it. Events of the
// segment before it that would happen after lastUS no longer do.
func (t *Timeline) append(startUS, lastUS int64) {
	last := &t.segs[len(t.segs)-1]
	startUS = max(startUS, last.StartUS+1)
	// The last segment may lie ahead itself: then nothing of it happens.
	index := max(t.segs.Until(min(lastUS, startUS-1)), last.Index)
	next := Segment{StartUS: startUS, Index: index, Rate: t.cfg.Rate, Variant: t.cfg.Variant}
	segs := make(Segments, 0, len(t.segs)+1)
	t.segs = append(append(segs, t.segs...), next)
	if len(t.segs) > maxKept {
		t.segs = t.segs[len(t.segs)-maxKept:]
	}
}

// load reads the file, if there is one.
func (t *Timeline) load() error {
	f, err := os.Open(t.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) { // nor does a file without a path
		return nil
	}
	if err == nil {
		defer f.Close()
		err = t.decode(io.LimitReader(f, fileLimit))
	}
	if err != nil {
		return fmt.Errorf("timeline %s: %w", t.cfg.Path, err)
	}
	return nil
}

func (t *Timeline) decode(r io.Reader) error {
	var saved savedTimeline
	err := json.NewDecoder(r).Decode(&saved)
	switch {
	case err != nil:
	case saved.Version != 1:
		return fmt.Errorf("version %d, this program knows version 1", saved.Version)
	case saved.World != t.cfg.World:
		return fmt.Errorf("belongs to %q, not to %q: use the same seed, or another directory", saved.World, t.cfg.World)
	default:
		err = saved.Segments.validate()
	}
	if err != nil {
		return fmt.Errorf("damaged (delete it to begin anew): %w", err)
	}
	t.segs, t.horizon = saved.Segments, saved.Horizon
	return nil
}

// save replaces the file as a whole, or leaves the old one and nothing else.
func (t *Timeline) save(segs Segments, horizon int64) error {
	if t.cfg.Path == "" {
		return nil
	}
	p, err := json.Marshal(savedTimeline{Version: 1, World: t.cfg.World, Segments: segs, Horizon: horizon})
	if err == nil {
		err = atomicfile.Writer{Partial: t.cfg.Path + ".new", Faults: t.cfg.disk}.Write(t.cfg.Path, append(p, '\n'))
	}
	// Where only the directory could not be synced, the file is the new one: events
	// that it promises may be shown, and a change must not be taken back.
	if err != nil && !errors.Is(err, atomicfile.ErrNotSynced) {
		return fmt.Errorf("timeline %s: %w", t.cfg.Path, atomicfile.Explain(filepath.Dir(t.cfg.Path), err))
	}
	return nil
}

// View is a timeline at one moment.
type View struct {
	Segments Segments
	// NowUS is the moment, in Unix microseconds: never earlier than in a view
	// before, and never beyond what is promised.
	NowUS int64
	// Changed is closed when NowUS can go on further than this view's promise, or
	// when the segments change.
	Changed <-chan struct{}
	limit   int64
}

// Until is Segments.Until, within the timeline's limit.
func (v *View) Until(us int64) int64 {
	n := v.Segments.Until(us)
	if v.limit > 0 {
		n = min(n, v.limit)
	}
	return n
}

// Wait is how long after the view the timeline's time is us, for servers that wait
// for an event: the machine's clock may show another time.
func (v *View) Wait(us int64) time.Duration { return duration(us - v.NowUS) }

// Ended reports whether event i will never happen.
func (v *View) Ended(i int64) bool { return v.limit > 0 && i >= v.limit }

// Now returns the view of this moment, and sees to it that the promise lasts.
func (t *Timeline) Now() View {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	stepped := t.stepped(now)
	switch {
	case t.cfg.Path != "":
		if (stepped || now+renewUS > t.horizon) && now >= t.retry {
			t.renew()
		}
		now = min(now, t.horizon)
	case stepped:
		now = t.jump()
	}
	t.shown = max(t.shown, now)
	return View{Segments: t.segs, NowUS: t.shown, Changed: t.changed, limit: t.cfg.Limit}
}

// now is the timeline's time, in Unix microseconds.
func (t *Timeline) now() int64 { return t.beginUS + time.Since(t.begun).Microseconds() }

// stepped reports whether the machine's clock is so far ahead of the timeline that
// a new segment must begin, and logs each step of that clock. A monotonic clock
// that stood still while the machine slept looks the same.
func (t *Timeline) stepped(now int64) bool {
	drift := t.wall() - now
	switch step := drift - t.driftUS; {
	case step > stepUS:
		t.log.Warn("the machine's clock stepped forward, the simulated stream goes on at its rate", "step", duration(step))
		t.driftUS = drift
	case step < -stepUS:
		t.log.Warn("the machine's clock stepped back, the simulated stream goes on at its rate, with later stamps than the clock shows",
			"step", duration(step), "ahead", duration(-drift))
		t.driftUS = drift
	}
	return drift > stepUS
}

// jump begins a segment at the machine's time. Nothing happens between what was
// shown and that time.
func (t *Timeline) jump() int64 {
	t.append(max(t.wall(), t.shown+1), t.shown)
	start := t.segs[len(t.segs)-1].StartUS
	t.beginUS += start - t.now()
	t.driftUS = 0
	t.notify()
	return start
}

func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// renew promises more, beside the callers so that none waits for the disk.
func (t *Timeline) renew() {
	if t.renewing || t.closed {
		return
	}
	t.renewing = true
	t.wait.Go(func() {
		t.disk.Lock()
		defer t.disk.Unlock()
		t.mu.Lock()
		if t.wall()-t.now() > stepUS {
			t.jump()
			t.horizon = t.shown // nothing of the new segment is shown before it is saved
		}
		segs, horizon := t.segs, t.now()+leaseUS
		t.mu.Unlock()
		err := t.save(segs, horizon)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.renewing = false
		if err != nil {
			t.retry = t.now() + retryUS
			if !t.failing {
				t.failing = true
				t.log.Error("the timeline cannot be saved: the simulated stream pauses after the events that the file promises, until the file can be written again",
					"path", t.cfg.Path, "promised_until", time.UnixMicro(t.horizon).UTC().Format(time.RFC3339), "error", err)
			}
			return
		}
		if t.failing {
			t.failing = false
			t.log.Warn("the timeline is saved again, the simulated stream goes on", "path", t.cfg.Path) // at the level of the failure
		}
		t.horizon = max(t.horizon, horizon)
		t.notify()
	})
}

func (t *Timeline) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Change gives the events from now on another rate, or another variant where
// that is not empty. Nothing that has been served changes.
func (t *Timeline) Change(rate float64, variant string) error {
	if err := checkRate(rate); err != nil {
		return err
	}
	t.disk.Lock()
	defer t.disk.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	old, oldCfg := t.segs, t.cfg
	t.cfg.Rate, t.cfg.Variant = rate, cmp.Or(variant, t.cfg.Variant)
	start := max(t.now(), t.shown+1)
	t.append(start, start)
	if err := t.save(t.segs, t.horizon); err != nil {
		t.segs, t.cfg = old, oldCfg
		return err
	}
	t.notify()
	return nil
}

// Rate is the rate of the events to come, in events per second.
func (t *Timeline) Rate() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Rate
}

// Close waits for the file. The timeline hands out nothing new after it.
func (t *Timeline) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wait.Wait()
	return nil
}

package schedules

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
)

// phaseLength is how long after its beginning a phase gives way to the next one, whatever has come of it.
const phaseLength = 8 * time.Second

// kind is a kind of schedule: what goes wrong in it and what is done about it.
type kind struct {
	test   string
	counts bool // with counters and Redis
	// turns are what phases are made of.
	turns []turn
}

// turn is a fault with the paths that it is combined with.
type turn struct {
	faults []fault
	paths  []string
	points []string
	follow func(*stage, *phase)
}

var (
	ingestTurn = turn{slices.Concat(upstreamFaults, ingestFaults), ingestPaths, ingestPoints, (*stage).followIngest}
	countTurn  = turn{countFaults, countPaths, countPoints, (*stage).followCount}
)

// phase is one fault and what is done about it.
type phase struct {
	turn     *turn
	fault    fault
	path     string
	point    string // of pathCrash
	pass     int
	at, then time.Duration // from the beginning of the phase; then is the path's
	duration time.Duration
	choice   int
	fired    func() bool
	before   int64 // how often a fault of upstream had happened
}

// stage is the whole pipeline of one seed, in a bubble.
type stage struct {
	t     *testing.T
	seed  uint64
	kind  *kind
	rnd   *rand.Rand
	cov   *coverage
	trace []string
	log   *slog.Logger
	begun time.Time

	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	brokers []string
	src     sourceNames
	rate    float64
	pace    time.Duration
	phases  []*phase
	up      *upstream
	obs     *observer
	redis   *redisProcess

	ingesters, members []*process
	latest             atomic.Pointer[process] // ingester that was started
	over               bool
	rewinds            int // of Redis
	happened           map[string]bool
	heal, deaths       []func()
	wait               sync.WaitGroup

	mu     sync.Mutex // of the rest
	armed  string
	passes int
	errors int
}

// note adds a line to the trace: what was decided, and when.
func (s *stage) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%8.3f ", time.Since(s.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (s *stage) errorf(format string, args ...any) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors++; s.errors <= 5 {
		s.t.Errorf("%.3f s: "+format, append([]any{time.Since(s.begun).Seconds()}, args...)...)
	}
}

func (s *stage) check(err error) {
	s.t.Helper()
	if err != nil {
		s.errorf("%v", err)
		s.t.FailNow()
	}
}

// arm lets the ingester die that passes a point next, or a few passes later.
func (s *stage) arm(point string, pass int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.passes = point, pass
}

func (s *stage) pass(point string) {
	s.mu.Lock()
	if point != s.armed {
		s.mu.Unlock()
		return
	}
	s.passes--
	dies := s.passes <= 0
	if dies {
		s.armed = ""
	}
	s.mu.Unlock()
	if !dies {
		return
	}
	if point == sidePoint {
		p := s.latest.Load()
		p.point = point
		p.kill()
		return
	}
	panic(died{point})
}

// sidePoint is passed by goroutines of a library, where a panic would end the test. Whatever goes on
// there reaches nobody. It is passed while an ingester starts, so by the one that started last.
const sidePoint = "ingest: filter half rebuilt"

// run runs the schedule of a seed and returns its trace.
func run(t *testing.T, k *kind, seed uint64, cov *coverage) (trace []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, seed: seed, kind: k, cov: cov, rnd: rand.New(rand.NewPCG(seed, 7)), net: new(kfake.VirtualNetwork),
			log: slog.New(slog.DiscardHandler), begun: time.Now(), happened: map[string]bool{}}
		if os.Getenv("WEIR_TEST_LOG") != "" {
			s.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
		}
		old := crash.SetHook(s.pass)
		defer crash.SetHook(old)
		s.open()
		defer s.close()
		s.play()
		trace = s.trace
		if t.Failed() {
			t.Logf("the trace:\n%s", strings.Join(s.trace, "\n"))
		}
	})
	return trace
}

// open draws the schedule and starts everything.
func (s *stage) open() {
	names := []string{"bluesky", "bluesky", "wikipedia"}
	if s.kind.counts {
		names = names[:2+s.rnd.IntN(2)]
	}
	s.src = sourcesByName[names[s.rnd.IntN(len(names))]]
	s.rate = []float64{10, 20, 50, 150}[s.rnd.IntN(4)]
	s.pace = []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}[s.rnd.IntN(3)]
	plan := s.draw()
	s.note("seed %d: %s at %v events/s, a transaction every %v at most, upstream: %v", s.seed, s.src.name, s.rate, s.pace, plan)

	var err error
	s.cluster, err = kfake.NewCluster(kfake.Ports(9001, 9002, 9003), kfake.ListenFn(s.net.Listen))
	s.check(err)
	s.brokers = []string{"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"}
	cl, err := kafka.Config{Brokers: s.brokers, Opts: []kgo.Opt{kgo.Dialer(s.net.DialContext)}}.NewClient()
	s.check(err)
	err = kafka.EnsureTopics(s.t.Context(), cl, kafka.Topics()...)
	cl.Close()
	s.check(err)
	s.begun = time.Now()
	s.up = newUpstream(s, s.rate, s.limit(plan), plan)
	s.obs = newObserver(s)
	if s.kind.counts {
		s.redis = &redisProcess{dir: s.t.TempDir()}
		s.startRedis()
		for range 1 + s.rnd.IntN(2) {
			s.count(s.src.data)
		}
	}
	s.supervise()
}

// draw draws the phases, and returns the plan of upstream.
func (s *stage) draw() (plan simulate.Plan) {
	r := s.rnd
	used := map[string]bool{}
	for n := range 2 + r.IntN(2) {
		ph := &phase{turn: &s.kind.turns[r.IntN(len(s.kind.turns))], at: 2*time.Second + time.Duration(r.IntN(2000))*time.Millisecond,
			duration: 100*time.Millisecond + time.Duration(r.IntN(5000))*time.Millisecond, choice: r.IntN(60), pass: 1 + r.IntN(3)*r.IntN(2)}
		for {
			ph.fault = ph.turn.faults[r.IntN(len(ph.turn.faults))]
			if (ph.fault.source == "" || ph.fault.source == s.src.name) && !(ph.fault.inject == nil && used[ph.fault.name]) {
				break
			}
		}
		used[ph.fault.name] = true
		ph.path = ph.turn.paths[r.IntN(len(ph.turn.paths))]
		ph.then = ph.at + time.Duration(r.IntN(2000))*time.Millisecond - 200*time.Millisecond
		if ph.path == pathCrash {
			ph.point = ph.turn.points[r.IntN(len(ph.turn.points))]
		}
		if ph.fault.inject == nil {
			f := simulate.Fault{Name: ph.fault.name, Stream: s.src.name, N: index(s.rate, time.Duration(n)*phaseLength+ph.at), Value: ph.fault.value(r, s.rate)}
			if f.Name == simulate.Fault429 || f.Name == simulate.Fault503 {
				// Of requests, which are made again after a connection has ended.
				plan = append(plan, simulate.Fault{Name: simulate.FaultClose, Stream: f.Stream, N: f.N})
				f.N = int64(2 + n)
			}
			plan = append(plan, f)
		}
		s.phases = append(s.phases, ph)
	}
	return plan
}

// limit is how many events there are: those of the phases, and as many as it takes to tell a gap.
func (s *stage) limit(plan simulate.Plan) int64 {
	n := index(s.rate, time.Duration(len(s.phases))*phaseLength)
	for _, f := range plan {
		switch {
		case f.Name == simulate.FaultGap && s.src.name == "bluesky":
			return n + verdictEvents
		case f.Name == simulate.FaultGap:
			return n + int64(s.rate*verdictTime.Seconds())
		}
	}
	return n
}

// play goes through the phases, looks every second, and at the end once everything has to be there.
func (s *stage) play() {
	for n, ph := range s.phases {
		begin := time.Duration(n) * phaseLength
		clear(s.happened)
		if s.redis != nil {
			s.redis.keep(s)
		}
		if ph.fault.inject == nil {
			ph.before = s.up.fired(ph.fault.name)
			ph.fired = func() bool { return s.up.fired(ph.fault.name) > ph.before }
		}
		injected, followed := false, false
		for at := time.Duration(0); at < phaseLength; at += 100 * time.Millisecond {
			s.until(begin + at)
			s.supervise()
			if !injected && at >= ph.at {
				injected = true
				s.note("%v", ph)
				if ph.fault.inject != nil {
					ph.fired = ph.fault.inject(s, ph)
				}
			}
			if !followed && at >= ph.then {
				followed = true
				s.note("%s", ph.path)
				ph.turn.follow(s, ph)
			}
			if at%time.Second == 0 {
				s.obs.look()
				s.note("look %d, of %d events that were offered", s.obs.samples, s.up.tip())
			}
		}
		s.cover(ph)
	}
	s.note("everything is well again")
	s.arm("", 0)
	for _, h := range s.heal {
		h()
	}
	if _, made := s.up.ofGap(); made && s.src.name == "bluesky" {
		s.check(s.up.timeline.Change(verdictRate, simulate.AllCollections))
	}
	s.settle()
	s.conclude()
}

// until sleeps until a time after the beginning.
func (s *stage) until(at time.Duration) { time.Sleep(time.Until(s.begun.Add(at))) }

// cover notes what a phase has reached.
func (s *stage) cover(ph *phase) {
	for _, d := range s.deaths {
		d()
	}
	s.deaths = nil
	s.happened[pathItself] = true
	if !ph.fired() {
		return
	}
	s.cov.faults[ph.fault.name]++
	if s.happened[ph.path] {
		s.cov.pairs[pair(ph.fault.name, ph.path)]++
	}
}

func pair(fault, path string) string { return fault + " / " + path }

// settle waits until everything that the World has is stored and counted.
func (s *stage) settle() {
	for begin := time.Now(); ; time.Sleep(time.Second) {
		s.supervise()
		s.obs.look()
		// One that was taken over learns of it with its next commit, so with its next events.
		if s.obs.settled() && len(s.working()) == 1 {
			break
		}
		if s.errors > 0 || time.Since(begin) > 5*time.Minute {
			s.errorf("not everything is stored and counted %v after the last fault: stored are %v of %d events, counted %v",
				time.Since(begin), s.obs.after, len(s.obs.items), s.obs.counted)
			if s.redis != nil {
				s.t.Logf("the group: %+v", s.cluster.GroupInfo(group(s.src.data)))
			}
			return
		}
	}
	time.Sleep(10 * time.Second)
	s.supervise()
	s.obs.look()
	if n := len(s.working()); n != 1 {
		s.errorf("%d ingesters are at work at the end, want 1", n)
	}
}

// conclude ends the processes, looks for the last time, and notes what there is.
func (s *stage) conclude() {
	s.over = true
	for _, p := range slices.Concat(s.ingesters, s.members) {
		p.stopping = true
		p.cancel()
	}
	for _, p := range slices.Concat(s.ingesters, s.members) {
		<-p.done
	}
	s.supervise()
	s.obs.look()
	s.obs.conclude()
	if s.redis != nil {
		s.verify()
	}
	s.trace = append(s.trace, s.obs.summary()...)
}

// close ends what a failed schedule has left running.
func (s *stage) close() {
	for _, p := range slices.Concat(s.ingesters, s.members) {
		p.cancel()
	}
	for _, p := range slices.Concat(s.ingesters, s.members) {
		<-p.done
	}
	s.wait.Wait()
	if s.obs != nil {
		s.obs.kafka.close()
	}
	if s.redis != nil && s.redis.raw != nil {
		s.redis.close(s)
	}
	if s.up != nil {
		s.up.stop()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
}

// summary says what is stored at the end, in the order of the sequence numbers.
func (o *observer) summary() (lines []string) {
	s := o.s
	gaps := o.letters[event.KindGap]
	for _, topic := range []string{s.src.data, s.src.account} {
		if topic == "" {
			continue
		}
		h := newDigest()
		for seq := range o.walked[topic] {
			f := o.bySeq[topic][seq]
			h.add("%d %d %s %s", seq, f.index, f.kind, f.id)
		}
		if gaps > 0 { // where it begins depends on what was on its way
			lines = append(lines, fmt.Sprintf("%s: a gap", topic))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %d events, %s, %s", topic, o.walked[topic], sorted(o.kinds[topic]), h))
	}
	return append(lines, fmt.Sprintf("gaps: %d", gaps))
}

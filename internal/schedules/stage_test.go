package schedules

import (
	"fmt"
	"log/slog"
	"math"
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
	"github.com/twmb/franz-go/pkg/kmsg"

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
	pairing
	point    string // of pathCrash
	pass     int
	at, then time.Duration // from the beginning of the phase; then is the path's
	duration time.Duration
	choice   int
	fired    func() bool
	before   int64 // how often a fault of upstream had happened
	followed bool
	happened map[string]bool // paths
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
	gather  time.Duration // how long brokers wait for more before they answer a counter; 0 for not
	phases  []*phase
	up      *upstream
	obs     *observer
	redis   *redisProcess
	page    *page

	ingesters, members []*process
	latest             atomic.Pointer[process] // ingester that was started
	over               bool
	rewinds            int // of Redis
	rewoundAt          time.Time
	shakenAt           atomic.Int64 // when a fault last reached the page
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
			log: slog.New(slog.DiscardHandler), begun: time.Now()}
		if os.Getenv("WEIR_TEST_LOG") != "" {
			s.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
		}
		old := crash.SetHook(s.pass)
		defer func() { crash.SetHook(old) }()
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
	if s.kind.counts && s.pace < 300*time.Millisecond && s.rnd.IntN(4) > 0 {
		s.gather = 300 * time.Millisecond // otherwise most of the work were single events that are counted
	}
	plan := s.draw()
	s.note("seed %d: %s at %v events/s, a transaction every %v at most, counted every %v, upstream: %v",
		s.seed, s.src.name, s.rate, s.pace, max(s.pace, s.gather), plan)

	var err error
	s.cluster, err = kfake.NewCluster(kfake.Ports(9001, 9002, 9003), kfake.ListenFn(s.net.Listen))
	s.check(err)
	// Where kfake reaches the limit of a whole response in the middle of a partition, it leaves out the
	// partition's aborted transactions. The embedded brokers limit partitions alone, too.
	s.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		if f := req.(*kmsg.FetchRequest); f.MaxBytes != observerMaxBytes {
			f.MaxBytes = math.MaxInt32
		}
		return nil, nil, false
	})
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
		s.openPage()
	}
	s.supervise()
}

// pairing is one combination of a kind of schedules.
type pairing struct {
	turn  *turn
	fault fault
	path  string
}

func (k *kind) pairings() (all []pairing) {
	for i := range k.turns {
		for _, f := range k.turns[i].faults {
			for _, path := range k.turns[i].paths {
				all = append(all, pairing{&k.turns[i], f, path})
			}
		}
	}
	return all
}

// draw draws the phases, and returns the plan of upstream. Seeds that follow each other have every
// pair, and every crash point, by turns; the other phases are by chance.
func (s *stage) draw() (plan simulate.Plan) {
	r, all := s.rnd, s.kind.pairings()
	turn := all[s.seed%uint64(len(all))]
	if turn.fault.source != "" {
		s.src = sourcesByName[turn.fault.source]
	}
	phases := 2 + r.IntN(2)
	at := r.IntN(phases)
	point := turn.turn.points[(s.seed/uint64(len(all))+s.seed)%uint64(len(turn.turn.points))]
	switch {
	case requests[turn.fault.name]:
		at = 0 // before other requests are made
	case turn.path == pathCrash && point == sidePoint:
		at, s.rate = phases-1, 150 // when there are a thousand records
	}
	used := map[string]bool{turn.fault.name: true}
	for n := range phases {
		ph := &phase{pairing: turn, point: point, at: 2*time.Second + time.Duration(r.IntN(2000))*time.Millisecond, happened: map[string]bool{},
			duration: 100*time.Millisecond + time.Duration(r.IntN(5000))*time.Millisecond, choice: r.IntN(60), pass: 1 + r.IntN(3)*r.IntN(2)}
		for n != at {
			ph.pairing = all[r.IntN(len(all))]
			if f := ph.fault; (f.source == "" || f.source == s.src.name) && !used[f.name] && !requests[f.name] {
				used[f.name] = f.inject == nil
				ph.point = ph.turn.points[r.IntN(len(ph.turn.points))]
				break
			}
		}
		if ph.path != pathCrash {
			ph.point = ""
		}
		ph.then = ph.at + time.Duration(r.IntN(2000))*time.Millisecond - 200*time.Millisecond
		plan = append(plan, ph.planned(s, time.Duration(n)*phaseLength+ph.at)...)
		s.phases = append(s.phases, ph)
	}
	return plan
}

// requests are the faults of upstream that requests meet, not events.
var requests = map[string]bool{simulate.Fault429: true, simulate.Fault503: true}

// planned is what upstream has to know of a phase from the beginning.
func (ph *phase) planned(s *stage, at time.Duration) simulate.Plan {
	if ph.fault.inject != nil {
		return nil
	}
	f := simulate.Fault{Name: ph.fault.name, Stream: s.src.name, N: index(s.rate, at), Value: ph.fault.value(s.rnd, s.rate)}
	if requests[f.Name] { // the second one, which is made when the first connection has ended
		end := simulate.Fault{Name: simulate.FaultClose, Stream: f.Stream, N: f.N}
		f.N = 2
		return simulate.Plan{end, f}
	}
	return simulate.Plan{f}
}

// limit is how many events there are: those of the phases, and as many as it takes to tell a gap.
func (s *stage) limit(plan simulate.Plan) int64 {
	n := index(s.rate, time.Duration(len(s.phases))*phaseLength)
	gap, again := false, int64(0)
	for _, f := range plan {
		gap = gap || f.Name == simulate.FaultGap
		if f.Name == simulate.FaultRenumber {
			again = f.Value // numbers that are handed out once more
		}
	}
	switch {
	case gap && s.src.name == "bluesky":
		return n + verdictEvents + again
	case gap:
		return n + int64(s.rate*verdictTime.Seconds())
	}
	return n
}

// play goes through the phases, looks every second, and at the end once everything has to be there.
func (s *stage) play() {
	for n, ph := range s.phases {
		begin := time.Duration(n) * phaseLength
		if s.redis != nil {
			s.redis.keep(s)
		}
		if ph.fault.inject == nil {
			ph.before = s.up.fired(ph.fault.name)
			ph.fired = func() bool { return s.up.fired(ph.fault.name) > ph.before }
		}
		injected := false
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
			if !ph.followed && at >= ph.then {
				ph.followed = true
				s.note("%s", ph.path)
				ph.turn.follow(s, ph)
			}
			if at%time.Second == 0 {
				s.obs.look()
				s.note("look %d, of %d events that were offered", s.obs.samples, s.up.tip())
				s.askPage()
			}
		}
	}
	s.note("everything is well again")
	s.arm("", 0)
	for _, h := range s.heal {
		h()
	}
	// Also where it is still to come: a stall can take longer than the phases.
	if f, _ := s.up.ofGap(); f.Name != "" && s.src.name == "bluesky" {
		s.check(s.up.timeline.Change(verdictRate, simulate.AllCollections))
	}
	s.settle()
	s.cover()
	s.conclude()
}

// until sleeps until a time after the beginning.
func (s *stage) until(at time.Duration) { time.Sleep(time.Until(s.begun.Add(at))) }

// cover notes what the phases have reached.
func (s *stage) cover() {
	for _, ph := range s.phases {
		for _, d := range s.deaths {
			d()
		}
		s.deaths = nil
		ph.happened[pathItself] = true
		if !ph.fired() {
			continue
		}
		s.cov.faults[ph.fault.name]++
		if ph.happened[ph.path] {
			s.cov.pairs[pair(ph.fault.name, ph.path)]++
		}
	}
}

// went notes that a path was gone, which all phases that have begun it share.
func (s *stage) went(path, point string) {
	for _, ph := range s.phases {
		if ph.path == path && ph.point == point && ph.followed {
			ph.happened[path] = true
		}
	}
}

func pair(fault, path string) string { return fault + " / " + path }

// settle waits until everything that the World has is stored and counted.
func (s *stage) settle() {
	for begin := time.Now(); ; time.Sleep(time.Second) {
		s.supervise()
		s.obs.look()
		s.askPage()
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
	if s.page != nil {
		s.page.conclude()
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
	if s.page != nil {
		s.page.close()
	}
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

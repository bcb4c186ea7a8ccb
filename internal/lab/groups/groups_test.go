package groups

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seenGroups is a run of one protocol in which everything went as it should: 10 records
// in each partition, one read every 10 ms from each, by the owners of the moment.
func seenGroups(p Protocol) *seen {
	o := &seen{rate: 100, hold: 1, sent: 60, truth: map[string]int64{"create": 60}, ends: map[int32]int64{},
		pausedAt: 0.1, resumedAt: 1.1, drainedAt: 1.2, atPause: standing{lag: 2, next: 8, written: 10}, atResume: standing{lag: 102, next: 8, written: 110},
		slowPeak: 100, steadyPeak: 3, counterDied: true, steady: map[string]int64{"create": 60}, slow: map[string]int64{"create": 60}}
	two := map[int32]int{0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
	three := map[int32]int{0: 1, 1: 1, 2: 3, 3: 2, 4: 2, 5: 3}
	left := map[int32]int{0: 2, 1: 3, 2: 3, 3: 2, 4: 2, 5: 3}
	seven := map[int32]int{0: 2, 1: 3, 2: 4, 3: 5, 4: 6, 5: 7}
	heir := maps.Clone(seven)
	heir[0] = 8
	o.steps = []stepSeen{
		{p, stepStart, 0, 10, nil, two, 2}, {p, stepJoin, 10, 20, two, three, 3}, {p, stepLeave, 20, 30, three, left, 2},
		{p, stepSeven, 30, 40, left, seven, 7}, {p, stepDie, 40, 50, seven, heir, 6},
	}
	seen := protocolSeen{protocol: p, left: 1, committed: map[int32]int64{},
		deaths: []deathSeen{{member: 2, at: 40.5, beat: 40, parts: map[int32]part{0: {done: 8, acked: 6, tried: 7}}}}}
	for at := range int64(10) {
		for id := range int32(partitions) {
			seen.reads = append(seen.reads, readEvent{float64(5*at) + 1, id, at, two[id]})
		}
	}
	seen.reads = append(seen.reads, readEvent{47, 0, 7, 8}) // member 2 had not committed it
	give := func(at float64, ids ...int32) {
		for _, id := range ids {
			seen.moves = append(seen.moves, handover{at, id, 1, false}, handover{at + 0.5, id, 3, true})
		}
	}
	if p == Eager {
		give(11, 0, 1, 2, 3, 4, 5)
		give(21, 0, 1, 2, 3, 4, 5)
	} else {
		give(11, 2, 5)
		give(21, 0, 1)
	}
	give(46.2, 0)
	for id := range int32(partitions) {
		o.ends[id], seen.committed[id] = 10, 10
	}
	o.protocols = []protocolSeen{seen}
	return o
}

func TestGroupsJudge(t *testing.T) {
	t.Parallel()
	judged := func(o *seen) *lab.Report {
		r := &lab.Report{}
		o.measure(r)
		o.judge(r)
		r.Conclude()
		return r
	}
	for _, p := range setting.New[Settings]().Protocols {
		if r := judged(seenGroups(p)); r.Verdict != record.Holds {
			t.Errorf("%s: %s: %s", p, r.Verdict, r.Reason)
		}
	}
	for _, tt := range []struct {
		name string
		of   Protocol
		do   func(*seen, *protocolSeen)
		want record.Verdict
		says string
	}{
		{"the paused group moves", NextGen, func(o *seen, _ *protocolSeen) { o.atResume.next, o.atResume.lag = 9, 101 }, record.DoesNotHold, "offset 9"},
		{"the other group falls behind", NextGen, func(o *seen, _ *protocolSeen) { o.steadyPeak = 51 }, record.DoesNotHold, "at most 50"},
		{"the pause is not felt", NextGen, func(o *seen, _ *protocolSeen) { o.slowPeak = 99 }, record.Inconclusive, "falls behind"},
		{"a count is short", NextGen, func(o *seen, _ *protocolSeen) { o.steady["create"]-- }, record.DoesNotHold, "create 59"},
		{"a count is too much", NextGen, func(o *seen, _ *protocolSeen) { o.slow["create"]++ }, record.DoesNotHold, "create 61"},
		{"the counter lives", NextGen, func(o *seen, _ *protocolSeen) { o.counterDied = false }, record.Inconclusive, "cut off"},
		{"the counter says goodbye", NextGen, func(o *seen, _ *protocolSeen) { o.counterLeaves = 1 }, record.Inconclusive, "1 requests"},
		{"a record is never read", Cooperative, func(_ *seen, p *protocolSeen) { p.reads = p.reads[1:] }, record.DoesNotHold, "1 lost"},
		{"two change places", Cooperative, func(_ *seen, p *protocolSeen) { p.reads[0], p.reads[6] = p.reads[6], p.reads[0] }, record.DoesNotHold, "1 late"},
		{"one is read twice without a reason", Eager, func(_ *seen, p *protocolSeen) { p.reads = append(p.reads, readEvent{49, 1, 3, 3}) }, record.DoesNotHold, "1 others"},
		{"more is read again than was open", Eager, func(_ *seen, p *protocolSeen) { p.reads = append(p.reads, readEvent{49, 0, 5, 8}) }, record.DoesNotHold, "1 others"},
		{"what was open is not read again", Eager, func(_ *seen, p *protocolSeen) { p.reads = p.reads[:60] }, record.DoesNotHold, "measured 0, 0 others"},
		{"one is made up", Eager, func(_ *seen, p *protocolSeen) { p.reads = append(p.reads, readEvent{49, 0, 10, 8}) }, record.DoesNotHold, "foreign"},
		{"something is not committed", NextGen, func(_ *seen, p *protocolSeen) { p.committed[3] = 9 }, record.DoesNotHold, "10 10 10 9 10 10"},
		{"eager spares a partition", Eager, func(_ *seen, p *protocolSeen) { p.moves = p.moves[2:] }, record.DoesNotHold, "5 of 6"},
		{"cooperative stops one that stays", Cooperative, func(_ *seen, p *protocolSeen) { p.moves = append(p.moves, handover{12, 0, 1, false}) }, record.DoesNotHold, "[0 2 5]"},
		{"one that moves was not told", NextGen, func(_ *seen, p *protocolSeen) { p.moves = p.moves[2:] }, record.DoesNotHold, "measured [5]"},
		{"nothing moves", NextGen, func(o *seen, _ *protocolSeen) { o.steps[1].after = o.steps[1].before }, record.Inconclusive, "at least 1"},
		{"two are idle", NextGen, func(o *seen, _ *protocolSeen) { o.steps[3].after[0] = 3 }, record.DoesNotHold, "2 idle"},
		{"nobody dies", NextGen, func(_ *seen, p *protocolSeen) { p.deaths, p.reads = nil, p.reads[:60] }, record.Inconclusive, "a member is killed"},
		{"the dead says goodbye", NextGen, func(_ *seen, p *protocolSeen) { p.deaths[0].leaves = 1 }, record.Inconclusive, "without a request to leave"},
		{"who leaves says nothing", NextGen, func(_ *seen, p *protocolSeen) { p.left = 0 }, record.Inconclusive, "sends a request to leave"},
		{"a death is noticed at once", NextGen, func(_ *seen, p *protocolSeen) { p.deaths[0].beat = 43 }, record.DoesNotHold, "after 3.7 s"},
		{"a member is expelled", NextGen, func(_ *seen, p *protocolSeen) { p.void = "taken for dead" }, record.Inconclusive, "taken for dead"},
		{"it does not end", NextGen, func(o *seen, _ *protocolSeen) { o.stuck = "a member dies" }, record.Inconclusive, "not yet"},
	} {
		o := seenGroups(tt.of)
		tt.do(o, &o.protocols[0])
		if r := judged(o); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestGroupsSettings(t *testing.T) {
	t.Parallel()
	for _, s := range []*Settings{setting.New[Settings](), setting.New[Settings](setting.Short)} {
		if err := Lab.With(s).Check(); err != nil {
			t.Error(err)
		}
	}
	for says, do := range map[string]func(*Settings){
		"--protocols is empty": func(s *Settings) { s.Protocols = nil },
		"named twice":          func(s *Settings) { s.Protocols = []Protocol{Eager, Eager} },
		`"lazy"`:               func(s *Settings) { s.Protocols = []Protocol{"lazy"} },
		"--rate":               func(s *Settings) { s.Rate = 1e9 },
		"--pause":              func(s *Settings) { s.Hold = 0 },
		"--play":               func(s *Settings) { s.Play = -1 },
		`"burn"`:               func(s *Settings) { s.Break = "burn" },
	} {
		s := setting.New[Settings]()
		do(s)
		if err := Lab.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

// TestGroups runs it for real: on the embedded engine, and on Apache Kafka where the
// environment says so.
func TestGroups(t *testing.T) {
	s := setting.New[Settings](setting.Short)
	if r := labtest.Perform(t, Lab.With(s)); r.Verdict == record.DoesNotHold || len(r.Checks) < 10 {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// TestLiveRecords has groups read what a live stream brought.
func TestLiveRecords(t *testing.T) {
	g := setting.New[Settings](setting.Short)
	g.Live = &kit.Upstream{URLs: []string{labtest.LiveServer(t, 10_000)}, Collections: kit.Collections}
	g.Protocols = []Protocol{Cooperative}
	if r := labtest.Perform(t, Lab.With(g)); r.Verdict == record.DoesNotHold || r.Source != lab.SourceLive || len(r.Checks) < 5 {
		t.Errorf("groups: %s: %s", r.Verdict, r.Reason)
	}
}

// TestBrokenGroups breaks it, and it must say so.
func TestBrokenGroups(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("the faults are the same on every engine")
	}
	for breakage, want := range map[string]record.Verdict{BreakSkip: record.DoesNotHold, BreakForget: record.DoesNotHold, BreakEager: record.DoesNotHold, kit.BreakIdle: record.Inconclusive} {
		t.Run(breakage, func(t *testing.T) {
			t.Parallel() // what is exact does not depend on how busy the machine is
			s := setting.New[Settings](setting.Short)
			s.Break, s.Protocols, s.Hold = breakage, []Protocol{Cooperative}, time.Second
			if r := labtest.Perform(t, Lab.With(s)); r.Verdict != want {
				t.Errorf("%s: %s; want %s", r.Verdict, r.Reason, want)
			}
		})
	}
}

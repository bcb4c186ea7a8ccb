package parallel

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seenLog is six partitions of ten records of two keys each, written by hand.
func seenLog() *backlog {
	l := &backlog{want: map[string]bool{}, partitions: map[int32]int64{}, ends: map[int32]int64{}}
	for p := range int32(6) {
		for i := range int64(10) {
			id := fmt.Sprintf("%d-%d", p, i)
			l.want[id] = true
			l.records = append(l.records, logged{slot{p, 2 * i}, fmt.Sprintf("key-%d-%d", p, i%2), id})
		}
		l.partitions[p], l.ends[p] = 10, 19
	}
	return l
}

// poisonSlot is the record that nobody can work.
var poisonSlot = slot{3, 8}

// seenParallel is a case in which everything went as it should: records of 100 ms, each
// partition worked in its order by one worker, those of two partitions by the same
// where there are fewer.
func seenParallel(p promise, workers int) *seen {
	o := &seen{way: way{name: "case", workers: workers, promise: p}, log: seenLog(), control: 1, finished: true, limit: 5, release: map[slot]bool{}}
	free := make([]float64, workers)
	do := func(w int, at slot, delivery int32, accepted bool) {
		o.attempts = append(o.attempts, attempt{slot: at, worker: w, delivery: delivery, begin: free[w], end: free[w] + 0.1, accepted: accepted})
		free[w] += 0.1
	}
	for i, r := range o.log.records {
		w := int(r.partition) % workers
		switch {
		case p == keepsOrder:
			do(w, r.slot, 0, true)
		case p == losesOrder:
			do(i%workers, r.slot, 0, true)
		case r.slot == poisonSlot:
			o.poison = r.slot
			for n := range int32(5) {
				do(i%workers, r.slot, n+1, false)
			}
		case i%20 == 2:
			o.release[r.slot] = true
			do(i%workers, r.slot, 1, false)
			do((i+1)%workers, r.slot, 2, true)
		default:
			do(i%workers, r.slot, 1, true)
		}
	}
	return o
}

// seenMembers is a consumer group, seven of which share six partitions.
func seenMembers() *seen {
	o := seenParallel(keepsOrder, 6)
	o.workers, o.described, o.after = 7, []int{1, 1, 0, 1, 1, 1, 1}, []int{1, 1, 1, 1, 1, 1, 0}
	return o
}

func judgedParallel(o *seen) *lab.Report {
	r, base := &lab.Report{}, seenParallel(keepsOrder, 1)
	o.measure(r, base)
	o.judge(r, base, 100*time.Millisecond)
	r.Conclude()
	return r
}

func TestParallelJudge(t *testing.T) {
	t.Parallel()
	ordered := func() *seen { return seenParallel(keepsOrder, 6) }
	pool := func() *seen { return seenParallel(losesOrder, 8) }
	share := func() *seen { return seenParallel(sharesOut, 12) }
	of := func(o *seen, at slot) *attempt {
		return &o.attempts[slices.IndexFunc(o.attempts, func(a attempt) bool { return a.slot == at })]
	}
	for _, tt := range []struct {
		name string
		seen func() *seen
		do   func(*seen)
		want record.Verdict
		says string
	}{
		{"threads by key", ordered, func(*seen) {}, record.Holds, "all 5"},
		{"threads, any", pool, func(*seen) {}, record.Holds, "all 5"},
		{"members", seenMembers, func(*seen) {}, record.Holds, "all 5"},
		{"share", share, func(*seen) {}, record.Holds, "all 8"},

		{"one was never worked", ordered, func(o *seen) { o.attempts = o.attempts[1:] }, record.DoesNotHold, "1 missing"},
		{"one was worked twice", ordered, func(o *seen) { o.attempts = append(o.attempts, o.attempts[4]) }, record.DoesNotHold, "1 twice"},
		{"one was worked that is not there", ordered, func(o *seen) { o.attempts[3].partition = 9 }, record.DoesNotHold, "1 foreign"},
		{"two of a key change places", ordered, func(o *seen) {
			a, b := of(o, slot{0, 4}), of(o, slot{0, 8})
			a.begin, a.end, b.begin, b.end = b.begin, b.end, a.begin, a.end
		}, record.DoesNotHold, "1 of 60"},
		{"two of a key overlap", ordered, func(o *seen) { of(o, slot{0, 4}).begin = 0.05 }, record.DoesNotHold, "1 of 60"},
		{"the position is behind", ordered, func(o *seen) { o.behind = 2 }, record.DoesNotHold, "2 behind"},
		{"faster than possible", ordered, func(o *seen) {
			for i := range o.attempts {
				o.attempts[i].begin, o.attempts[i].end = o.attempts[i].begin/2, o.attempts[i].end/2
			}
		}, record.DoesNotHold, "busiest worker"},
		{"slower than it should be", ordered, func(o *seen) { of(o, slot{5, 18}).end += 2 }, record.DoesNotHold, "busiest worker"},
		{"slower, on a slow machine", ordered, func(o *seen) { of(o, slot{5, 18}).end += 2; o.control = 0.3 }, record.Holds, "all 5"},
		{"slower than any machine", ordered, func(o *seen) { of(o, slot{5, 18}).end += 20; o.control = 0.5 }, record.Inconclusive, "reached 50%"},
		{"a thread does nothing", ordered, func(o *seen) { o.workers = 7 }, record.DoesNotHold, "1 idle"},
		{"one does most", ordered, func(o *seen) {
			for i := range o.attempts {
				o.attempts[i].worker = max(0, i-54)
			}
		}, record.DoesNotHold, "busiest worker needs"},
		{"nothing is worked", ordered, func(o *seen) { o.attempts = nil }, record.Inconclusive, "at least 1"},
		{"nobody was overtaken", ordered, func(o *seen) { o.promise = losesOrder }, record.Inconclusive, "in progress together"},

		{"a member more has work", seenMembers, func(o *seen) { o.attempts[3].worker = 6 }, record.DoesNotHold, "without work"},
		{"a member more has a partition", seenMembers, func(o *seen) { o.described[2], o.after[6] = 1, 1 }, record.DoesNotHold, "0 without a partition"},
		{"one did not join", seenMembers, func(o *seen) { o.described, o.after = o.described[1:], o.after[1:] }, record.Inconclusive, "all members join"},
		{"it rebalanced", seenMembers, func(o *seen) { o.after = []int{1, 1, 0, 0, 2, 1, 1} }, record.Inconclusive, "rebalance"},

		{"acknowledged twice", share, func(o *seen) { o.attempts = append(o.attempts, *of(o, slot{0, 0})) }, record.DoesNotHold, "1 twice"},
		{"never acknowledged", share, func(o *seen) { of(o, slot{0, 0}).accepted = false }, record.DoesNotHold, "1 missing"},
		{"a release that does not come again", share, func(o *seen) { o.release[slot{0, 0}] = true }, record.DoesNotHold, "expected 4 twice, 0 otherwise, measured 3 twice"},
		{"a delivery that is not counted", share, func(o *seen) { of(o, slot{0, 0}).delivery = 2 }, record.DoesNotHold, "1 otherwise"},
		{"the poison comes once too often", share, func(o *seen) { o.limit = 4 }, record.DoesNotHold, "[1 2 3 4 5]"},
		{"the poison is acknowledged", share, func(o *seen) {
			o.attempts = slices.DeleteFunc(o.attempts, func(a attempt) bool { return a.slot == o.poison && a.delivery > 3 })
		}, record.DoesNotHold, "[1 2 3]"},
		{"the poison stops the rest", share, func(o *seen) { o.behind = 9; o.finished = false }, record.DoesNotHold, "9 behind"},
		{"a share group waits for its brokers", share, func(o *seen) { o.attempts[len(o.attempts)-1].end += 4 }, record.Holds, "all 8"},
		{"slower than one worker", share, func(o *seen) { o.attempts[len(o.attempts)-1].end += 6 }, record.DoesNotHold, "busiest worker"},
		{"half of them work", share, func(o *seen) {
			for i := range o.attempts {
				o.attempts[i].worker /= 2
			}
		}, record.DoesNotHold, "more workers than partitions"},
		{"an acknowledgement was refused", share, func(o *seen) { o.refused = 1 }, record.Inconclusive, "0 refused"},
	} {
		o := tt.seen()
		tt.do(o)
		if r := judgedParallel(o); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestParallelBacklog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*backlog)
		want record.Verdict
	}{
		{"as it should be", func(*backlog) {}, record.Holds},
		{"one is missing", func(l *backlog) { l.records = l.records[1:] }, record.DoesNotHold},
		{"one is there twice", func(l *backlog) { l.records[1].identity = l.records[0].identity }, record.DoesNotHold},
		{"one is foreign", func(l *backlog) { l.records[1].identity = "" }, record.DoesNotHold},
		{"a key is in two partitions", func(l *backlog) { l.records[0].key = l.records[59].key }, record.DoesNotHold},
		{"nothing happened", func(l *backlog) { *l = backlog{} }, record.DoesNotHold},
	} {
		l, r := seenLog(), &lab.Report{}
		tt.do(l)
		ok := l.judge(r)
		if r.Conclude(); r.Verdict != tt.want || ok != (tt.want == record.Holds) {
			t.Errorf("%s: %s: %s", tt.name, r.Verdict, r.Reason)
		}
	}
}

func TestParallelSettings(t *testing.T) {
	t.Parallel()
	for _, s := range []*Settings{setting.New[Settings](), setting.New[Settings](setting.Short)} {
		if err := Lab.With(s).Check(); err != nil {
			t.Error(err)
		}
	}
	for says, do := range map[string]func(*Settings){
		"--ways is empty":    func(s *Settings) { s.Ways = nil },
		`"magic"`:            func(s *Settings) { s.Ways = []Way{"magic"} },
		"share is named twi": func(s *Settings) { s.Ways = []Way{WayShare, WayShare} },
		"--members is empty": func(s *Settings) { s.Members = nil },
		"--members 1 ":       func(s *Settings) { s.Members = []int{1} },
		"6 is named twice":   func(s *Settings) { s.Members = []int{6, 6} },
		"--events 10 ":       func(s *Settings) { s.Events = 10 },
		"--work 1ms ":        func(s *Settings) { s.Work = time.Millisecond },
		"--workers 65 ":      func(s *Settings) { s.Workers = 65 },
		"--sharers 6 ":       func(s *Settings) { s.Sharers = 6 },
		"--keys 1 ":          func(s *Settings) { s.Keys = 1 },
		`"burn"`:             func(s *Settings) { s.Break = "burn" },
		"longer than":        func(s *Settings) { s.Work = time.Second },
		`needs the way`:      func(s *Settings) { s.Break, s.Ways = BreakForgive, []Way{WayThreads} },
		"more members":       func(s *Settings) { s.Break, s.Members = BreakAlone, []int{3} },
	} {
		s := setting.New[Settings]()
		do(s)
		if err := Lab.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

// TestParallel runs it, on the engine that the environment asks for.
func TestParallel(t *testing.T) {
	s := setting.New[Settings](setting.Short)
	if r := labtest.Perform(t, Lab.With(s)); r.Verdict == record.DoesNotHold || len(r.Checks) < 30 {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// TestBrokenParallel breaks it, and it must say so.
func TestBrokenParallel(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("the faults are the same on every engine")
	}
	for breakage, want := range map[string]struct {
		way     Way
		verdict record.Verdict
		says    string
	}{
		BreakScatter: {WayThreads, record.DoesNotHold, "8 threads by key: records of a key"},
		BreakAgain:   {WayThreads, record.DoesNotHold, "1 worker: every record is worked exactly once"},
		BreakForgive: {WayShare, record.DoesNotHold, "[1 2 3]"},
		BreakAlone:   {WayMembers, record.Inconclusive, "all members join"},
	} {
		s := setting.New[Settings](setting.Short)
		s.Events, s.Work, s.Members, s.Ways, s.Break = 400, 5*time.Millisecond, []int{7}, []Way{want.way}, breakage
		if r := labtest.Perform(t, Lab.With(s)); r.Verdict != want.verdict || !strings.Contains(r.Reason, want.says) {
			t.Errorf("%s: %s: %s; want %s with %q", breakage, r.Verdict, r.Reason, want.verdict, want.says)
		}
	}
}

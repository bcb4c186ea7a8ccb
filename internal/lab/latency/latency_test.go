package latency

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// stepSeen is a step in which every event spends the given ms in each stage.
func stepSeen(rate float64, ms [stages]float64) *step {
	st := &step{rate: rate, events: 100, finished: true, cpu: 0.1, late: 1}
	for range 100 {
		sum := 0.0
		for i := range ms {
			st.parts[i] = append(st.parts[i], ms[i])
			sum += ms[i]
		}
		st.whole = append(st.whole, sum)
	}
	return st
}

// allRight is what is seen where everything goes as it should.
func allRight() []*observation {
	var all []*observation
	for _, pace := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond} {
		wait := float64(pace.Milliseconds()) / 2
		flood := stepSeen(20_000, [stages]float64{900, 100, 20, 20, 10})
		flood.saturated, flood.drained = true, 0.8
		all = append(all, &observation{pace: pace, warm: stepSeen(500, [stages]float64{3, wait, 5, 2, 1}), truth: map[string]int64{"create": 250, "delete": 50}, counts: map[string]int64{"create": 250, "delete": 50},
			steps: []*step{stepSeen(100, [stages]float64{3, wait, 5, 2, 1}), stepSeen(1000, [stages]float64{3, wait, 7, 2, 1}), flood}})
	}
	return all
}

func judged(all []*observation) *lab.Report {
	r := &lab.Report{}
	for _, o := range all {
		o.measure(r)
	}
	setting.New[Settings]().judge(r, all)
	r.Charts = charts(all)
	r.Conclude()
	return r
}

func TestLatencyJudge(t *testing.T) {
	t.Parallel()
	if r := judged(allRight()); r.Verdict != record.Holds || len(r.Checks) != 12 {
		t.Errorf("%s: %s, %d checks", r.Verdict, r.Reason, len(r.Checks))
	}
	longest := func(i stage) func([]*observation) {
		return func(all []*observation) {
			all[1].steps[0] = stepSeen(100, [stages]float64{3, 100, 5, 2, 1})
			for n := range all[1].steps[0].parts[i] {
				all[1].steps[0].parts[i][n] += 300
				all[1].steps[0].whole[n] += 300
			}
		}
	}
	for _, tt := range []struct {
		name string
		do   func(all []*observation)
		want record.Verdict
		says string
	}{
		{"one is lost", func(all []*observation) { all[0].counts["create"]-- }, record.DoesNotHold, "create 249"},
		{"one is counted twice", func(all []*observation) { all[1].counts["delete"]++ }, record.DoesNotHold, "delete 51"},
		{"one was not seen", func(all []*observation) { all[0].missing = 1 }, record.DoesNotHold, "1 missing"},
		{"a record is not an event", func(all []*observation) { all[0].unknown = 1 }, record.DoesNotHold, "1 unknown"},
		{"a stage is forgotten", func(all []*observation) { clear(all[0].steps[1].parts[fetch]) }, record.DoesNotHold, "21.00 of 23.00 ms"},
		{"a stage ends early", func(all []*observation) { all[0].steps[1].parts[fetch][0] = -2 }, record.DoesNotHold, "1 stages that end before"},
		{"the socket stalls", longest(socket), record.DoesNotHold, "socket 303.0"},
		{"the queue stalls", longest(queue), record.DoesNotHold, "less than 220 ms on average, measured 400.0 ms"},
		{"the transaction stalls", longest(transaction), record.DoesNotHold, "transaction 305.0"},
		{"the fetch stalls", longest(fetch), record.DoesNotHold, "fetch 302.0"},
		{"Redis stalls", longest(redis), record.DoesNotHold, "Redis 301.0"},
		{"the pace changes nothing", func(all []*observation) { all[0].steps[0] = stepSeen(100, [stages]float64{110, 10, 5, 2, 1}) }, record.DoesNotHold, "sooner than with pace 200ms"},
		{"it is as quick with too much", func(all []*observation) {
			all[0].steps[2] = stepSeen(20_000, [stages]float64{3, 10, 5, 2, 1})
			all[0].steps[2].saturated, all[0].steps[2].drained = true, 1
		}, record.DoesNotHold, "latency rises"},
		{"it is never too much", func(all []*observation) { all[0].steps[2].drained = 0.1 }, record.Inconclusive, "20000 events/s were not enough"},
		{"nothing is too much", func(all []*observation) { all[0].steps = all[0].steps[:2] }, record.Inconclusive, "no such load"},
		{"the machine is busy", func(all []*observation) { all[0].steps[0].late = 31 }, record.Inconclusive, "measured 31 ms"},
		{"brokers are slow", func(all []*observation) {
			all[0].warm = stepSeen(500, [stages]float64{3, 10, 101, 2, 1})
			all[0].steps[0] = stepSeen(100, [stages]float64{3, 118, 101, 2, 1})
		}, record.Holds, "all 11 checks"},
		{"all is slow", func(all []*observation) { all[1].warm = stepSeen(500, [stages]float64{20, 10, 21, 5, 5}) }, record.Holds, "all 11 checks"},
		{"it does not end", func(all []*observation) { all[0].steps[1].finished = false }, record.Inconclusive, "counted in time"},
		{"the ingester restarts", func(all []*observation) { all[1].restarts = 2 }, record.Inconclusive, "2 restarts"},
	} {
		all := allRight()
		tt.do(all)
		if r := judged(all); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestFiguresAndPlot(t *testing.T) {
	t.Parallel()
	all := allRight()
	r := judged(all)
	figures := map[string]float64{}
	for _, m := range r.Measures {
		figures[m.Case+": "+m.Name] = m.Value
	}
	for name, want := range map[string]float64{"pace 20ms, 100/s: latency p50": 21, "pace 200ms, 1000/s: latency p99.9": 113, "pace 200ms, 1000/s: queue p99": 100,
		"pace 20ms, more than it can do: load": 20_000, "pace 20ms, 100/s: CPU": 10} {
		if got, ok := figures[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if note := all[0].note(); !strings.Contains(note, "21 ms at 100/s, 23 ms at 1000/s") || !strings.Contains(note, "in the stage socket") {
		t.Error(note)
	}
	svg, err := lab.Plot(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(stageNames(), "pace 20ms, p50", "pace 200ms, p99.9", "events/s offered", "200ms, 1000/s") {
		if n := strings.Count(string(svg), ">"+text+"<"); n != 1 {
			t.Errorf("%q stands %d times in the plot, want 1", text, n)
		}
	}
}

func TestLatencySettings(t *testing.T) {
	t.Parallel()
	for says, do := range map[string]func(*Settings){
		"--paces":                 func(s *Settings) { s.Paces = []time.Duration{time.Minute} },
		"begin with the smallest": func(s *Settings) { slices.Reverse(s.Paces) },
		"--rates":                 func(s *Settings) { s.Rates = []float64{1} },
		"at most 8":               func(s *Settings) { s.Rates = []float64{10, 11, 12, 13, 14, 15, 16, 17, 18} },
		"--time":                  func(s *Settings) { s.Offer = 0 },
		"--play":                  func(s *Settings) { s.Play = -1 },
		`"burn"`:                  func(s *Settings) { s.Break = "burn" },
	} {
		s := setting.New[Settings]()
		if err := Lab.With(s).Check(); err != nil {
			t.Fatal(err)
		}
		do(s)
		if err := Lab.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

// TestEveryEventIsTimed runs the pipeline at a low load. How long anything takes is not looked
// at: only what is exact.
func TestEveryEventIsTimed(t *testing.T) {
	t.Parallel()
	s := setting.New[Settings](setting.Short)
	s.Rates, s.Paces, s.Offer, s.Break = []float64{200}, s.Paces[:1], time.Second, "idle"
	r, _, err := lab.Perform(t.Context(), lab.Config{Dir: t.TempDir()}, Lab.With(s))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict == record.Holds {
		t.Errorf("%s: %s; want another verdict, because no load is too high", r.Verdict, r.Reason)
	}
	exact := 0
	for _, c := range r.Checks {
		switch c.Claim {
		case "every event is counted once, by type", "the stages together are the whole", "every event passes the stages in their order":
			exact++
			if c.Verdict != record.Holds {
				t.Errorf("%s: want %s, got %s", c.Claim, c.Want, c.Got)
			}
		}
	}
	if exact != 3 {
		t.Errorf("%d exact checks, want 3: %+v", exact, r.Checks)
	}
}

// TestLatency runs it for real: on the embedded engine, and on Apache Kafka where the
// environment says so.
func TestLatency(t *testing.T) {
	r := labtest.Perform(t, Lab.With(setting.New[Settings](setting.Short)))
	if r.Verdict == record.DoesNotHold || len(r.Checks) < 8 {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// TestBrokenLatency lets each stage stall. The lab must notice, and find the stage.
func TestBrokenLatency(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("the faults are the same on every engine")
	}
	for breakage, of := range map[string]stage{"socket": socket, "queue": queue, "transaction": transaction, "fetch": fetch, "redis": redis} {
		t.Run(breakage, func(t *testing.T) {
			s := setting.New[Settings](setting.Short)
			s.Break, s.Rates, s.Paces = breakage, s.Rates[:1], s.Paces[1:]
			r := labtest.Perform(t, Lab.With(s))
			if r.Verdict != record.DoesNotHold {
				t.Errorf("%s: %s; want %s", r.Verdict, r.Reason, record.DoesNotHold)
			}
			i := slices.IndexFunc(r.Charts[1].Series, func(x record.Series) bool { return x.Name == of.String() })
			for n, x := range r.Charts[1].Series {
				if n != i && x.Y[0] >= r.Charts[1].Series[i].Y[0] {
					t.Errorf("%s takes %.0f ms and %s, which stalls, %.0f ms", x.Name, x.Y[0], of, r.Charts[1].Series[i].Y[0])
				}
			}
		})
	}
}

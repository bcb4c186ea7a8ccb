package batching

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/lab/labtest"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

// seenBatching is what is seen of settings where everything goes as it should: 1,000
// records of 500 bytes in a second, and as many at once.
func seenBatching() []*producerSeen {
	var out []*producerSeen
	for _, p := range setting.New[Settings](setting.Short).Producers {
		o := &producerSeen{of: p, real: true, seconds: 1, paced: 1000, cpu: 50 * time.Millisecond, requests: 150, flood: 1000, floodSeconds: 0.1, written: 2000,
			wire: wireSeen{batches: 300, plain: 1_000_000, packed: 600_000, largest: 4000}}
		if p.Compression == "none" {
			o.wire.packed = o.wire.plain
		}
		latency := kit.Milliseconds(p.Linger)/2 + 1
		if p.Linger == 0 {
			o.requests, o.cpu = 900, 150*time.Millisecond
		} else if p.Linger > 100*time.Millisecond {
			o.requests, o.cpu = 15, 40*time.Millisecond
		}
		o.disk = o.wire.packed + batchHead*o.wire.batches
		for range 100 {
			o.latency = append(o.latency, latency)
		}
		out = append(out, o)
	}
	return out
}

func settingSeen(all []*producerSeen, name string) *producerSeen {
	for _, o := range all {
		if o.of.String() == name {
			return o
		}
	}
	panic("no setting is called " + name)
}

func TestBatchingJudge(t *testing.T) {
	t.Parallel()
	judged := func(all []*producerSeen) *lab.Report {
		s := setting.New[Settings](setting.Short)
		r := &lab.Report{}
		s.judgeProducers(r, all)
		s.choose(r, all)
		r.Conclude()
		return r
	}
	r := judged(seenBatching())
	if r.Verdict != record.Holds {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
	// Brokers that answer later than a linger ends hide it; where they hide all, nothing is shown.
	slow := func(names ...string) *lab.Report {
		all := seenBatching()
		for _, name := range names {
			for i := range settingSeen(all, name).latency {
				settingSeen(all, name).latency[i] = 201
			}
		}
		return judged(all)
	}
	if r := slow("linger=0s"); r.Verdict != record.Holds || !strings.Contains(r.Notes[0], "no difference here: 20ms (p50 of linger=0s: 201 ms)") {
		t.Errorf("slow at once: %s: %s, notes %q", r.Verdict, r.Reason, r.Notes)
	}
	if r := slow("linger=0s", "base"); r.Verdict != record.Inconclusive || !strings.Contains(r.Reason, "p50 of base under 200ms") {
		t.Errorf("slow always: %s: %s", r.Verdict, r.Reason)
	}
	for _, tt := range r.Tradeoffs {
		if front := tt.Case == "linger=0s" || tt.Case == "linger=200ms" || tt.X == 11; tt.Front != front || tt.Chosen != (tt.Case == "base") {
			t.Errorf("%+v: on the front must be the quickest, the cheapest, and those between; chosen base", tt)
		}
	}
	if svg, err := lab.Plot(r); err != nil || !strings.Contains(string(svg), "base (chosen)") {
		t.Errorf("the plot must name what is chosen: %v", err)
	}
	for _, tt := range []struct {
		name, of string
		do       func(*producerSeen)
		want     record.Verdict
		says     string
	}{
		{"one is lost", "base", func(o *producerSeen) { o.Lost = 1 }, record.DoesNotHold, "1 lost"},
		{"one is doubled", "base", func(o *producerSeen) { o.Twice = 1 }, record.DoesNotHold, "1 duplicated"},
		{"one is late", "base", func(o *producerSeen) { o.Late = 1 }, record.DoesNotHold, "1 late"},
		{"one is refused", "base", func(o *producerSeen) { o.refused = 1 }, record.DoesNotHold, "1 refused"},
		{"a byte is missing", "base", func(o *producerSeen) { o.disk-- }, record.DoesNotHold, "size on disk"},
		{"another engine's disk", "base", func(o *producerSeen) { o.real = false }, record.DoesNotHold, "76 bytes for each batch"},
		{"a batch is too large", "batch=4k", func(o *producerSeen) { o.wire.largest = 4097 }, record.DoesNotHold, "at most 4096 bytes"},
		{"batches are too few", "batch=4k", func(o *producerSeen) { o.wire.batches = 244; o.disk = o.wire.packed + batchHead*244 }, record.DoesNotHold, "at least 245"},
		{"nobody lingers", "linger=200ms", func(o *producerSeen) { o.requests = 900 }, record.DoesNotHold, "one request per linger"},
		{"nobody waits", "linger=200ms", func(o *producerSeen) { clear(o.latency) }, record.DoesNotHold, "p50 over 50 ms"},
		{"longer makes more", "linger=0s", func(o *producerSeen) { o.requests = 100 }, record.DoesNotHold, "at most 100 (of linger=0s)"},
		{"zstd makes it larger", "compression=zstd", func(o *producerSeen) { o.wire.packed = o.wire.plain + 1; o.disk = o.wire.packed + batchHead*300 }, record.DoesNotHold, "smaller"},
		{"none compresses", "compression=none", func(o *producerSeen) { o.wire.packed--; o.disk-- }, record.DoesNotHold, "nothing is compressed"},
		{"the rate is not reached", "acks=0", func(o *producerSeen) { o.short = true }, record.Inconclusive, "1000/s"},
	} {
		all := seenBatching()
		tt.do(settingSeen(all, tt.of))
		if r := judged(all); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestDeliveryJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    deliverySeen
		want record.Verdict
	}{
		{deliverySeen{of: deliverSafe, written: 100, swallowed: 2, voided: 2}, record.Holds},
		{deliverySeen{of: deliverSafe, written: 100, swallowed: 2, voided: 2, Contents: kit.Contents{Twice: 1}}, record.DoesNotHold},
		{deliverySeen{of: deliverSafe, written: 100, swallowed: 2, voided: 2, Contents: kit.Contents{Lost: 1}}, record.DoesNotHold},
		{deliverySeen{of: deliverSafe, written: 100, swallowed: 2, voided: 2, Contents: kit.Contents{Late: 1}}, record.DoesNotHold},
		{deliverySeen{of: deliverSafe, written: 100, swallowed: 2}, record.Inconclusive},
		{deliverySeen{of: deliverSafe, written: 100, voided: 2}, record.Inconclusive},
		{deliverySeen{of: deliverOnce, written: 100, swallowed: 2, voided: 2, Contents: kit.Contents{Twice: 5}}, record.Holds},
		{deliverySeen{of: deliverOnce, written: 100, swallowed: 2, voided: 2}, record.DoesNotHold},
		{deliverySeen{of: deliverOnce, written: 100, swallowed: 2, voided: 2, Contents: kit.Contents{Twice: 5, Lost: 1}}, record.DoesNotHold},
		{deliverySeen{of: deliverNever, written: 100, swallowed: 2, Contents: kit.Contents{Lost: 5}}, record.Holds},
		{deliverySeen{of: deliverNever, written: 100, swallowed: 2}, record.DoesNotHold},
		{deliverySeen{of: deliverNever, written: 100, swallowed: 2, refused: 5, Contents: kit.Contents{Lost: 5}}, record.DoesNotHold},
		{deliverySeen{of: deliverNever, written: 100}, record.Inconclusive},
	} {
		r := &lab.Report{}
		tt.o.judge(r)
		if r.Conclude(); r.Verdict != tt.want {
			t.Errorf("%+v: %s: %s; want %s", tt.o, r.Verdict, r.Reason, tt.want)
		}
	}
}

// seenCommits is the three ways under both loads, as they should be.
func seenCommits() []*commitSeen {
	var out []*commitSeen
	for _, rate := range []float64{commitLowRate, commitHighRate} {
		for _, c := range committings() {
			o := &commitSeen{of: c, rate: rate, seconds: 3, running: 3 * time.Second, events: int64(3 * rate), stored: int64(3 * rate), commits: 15, cpu: time.Second, finished: true, latency: []float64{10}}
			switch c {
			case commitRarely:
				o.latency = []float64{500}
			case commitOften:
				o.commits, o.cpu = 300, 2*time.Second
			}
			out = append(out, o)
		}
	}
	return out
}

func TestCommitsJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(low, high *commitSeen)
		want record.Verdict
		says string
	}{
		{"as it should be", func(_, _ *commitSeen) {}, record.Holds, ""},
		{"as slow as long commits", func(low, _ *commitSeen) { low.latency = []float64{500} }, record.DoesNotHold, "read sooner"},
		{"as dear as short ones", func(_, high *commitSeen) { high.cpu = 3 * time.Second }, record.DoesNotHold, "no more CPU"},
		{"as many as short ones", func(_, high *commitSeen) { high.commits = 300 }, record.DoesNotHold, "at most 23 commits"},
		{"one is missing", func(low, _ *commitSeen) { low.stored-- }, record.DoesNotHold, "read once"},
		{"one is there twice", func(low, _ *commitSeen) { low.foreign = 1 }, record.DoesNotHold, "1 twice"},
		{"it does not end", func(_, high *commitSeen) { high.finished = false }, record.Inconclusive, "in time"},
		{"it began again", func(_, high *commitSeen) { high.restarts = 1 }, record.Inconclusive, "1 restarts"},
	} {
		all := seenCommits()
		tt.do(all[0], all[3])
		r := &lab.Report{}
		judgeCommits(r, all)
		if r.Conclude(); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestProducerSettings(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"base", "linger=0s", "linger=1.5s,batch=1m", "batch=4k,compression=gzip", "acks=1", "idempotence=off", "batch=5000"} {
		s, err := ParseProducerSetting(text)
		if err != nil || s.String() != text {
			t.Errorf("%q is read as %q, %v", text, s, err)
		}
	}
	for text, says := range map[string]string{
		"acks=1,idempotence=on": "idempotence needs acks=all", "acks=2": "want all, 1 or 0", "linger=1h": "not between", "linger=x": "linger=x",
		"batch=1": "not between", "batch=2m": "not between", "batch=big": "not a size", "compression=zip": `"zip"`, "fast": "not a setting", "speed=1": "there is linger", "idempotence=maybe": "on or off",
	} {
		if _, err := ParseProducerSetting(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: want an error with %q, got %v", text, says, err)
		}
	}
	for says, do := range map[string]func(*Settings){
		"--setting is empty": func(s *Settings) { s.Producers = nil },
		"named twice":        func(s *Settings) { s.Producers = append(s.Producers, BaseSetting()) },
		"--rate":             func(s *Settings) { s.Rate = 1 },
		"--time":             func(s *Settings) { s.Offer = 0 },
		"--flood":            func(s *Settings) { s.Flood = 1 },
		"--rounds":           func(s *Settings) { s.Rounds = 0 },
		"--within":           func(s *Settings) { s.Within = 0 },
		`"burn"`:             func(s *Settings) { s.Break = "burn" },
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

// TestBatching runs it for real: on the embedded engine, and on Apache Kafka where the
// environment says so.
func TestBatching(t *testing.T) {
	s := setting.New[Settings](setting.Short)
	if os.Getenv("WEIR_TEST_KAFKA") != "" && os.Getenv("WEIR_TEST_LAB") != "full" {
		s.Producers = s.Producers[:3] // what differs there is how brokers answer and replicate
	}
	if r := labtest.Perform(t, Lab.With(s)); r.Verdict == record.DoesNotHold || len(r.Checks) < 20 {
		t.Errorf("%s: %s", r.Verdict, r.Reason)
	}
}

// producing is Settings without its commits, which know nothing of what producers write.
type producing struct{ Settings }

func (p *producing) Run(ctx context.Context, b *lab.Bench, r *lab.Report) error {
	return p.run(ctx, b, r, nil)
}

// TestBrokenBatching breaks it, and it must say so.
func TestBrokenBatching(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "" {
		t.Skip("the faults are the same on every engine")
	}
	for breakage, want := range map[string]record.Verdict{BreakTwice: record.DoesNotHold, BreakHurry: record.DoesNotHold, kit.BreakIdle: record.Inconclusive} {
		t.Run(breakage, func(t *testing.T) {
			t.Parallel()
			s := setting.New[Settings](setting.Short)
			s.Break, s.Flood = breakage, 1000
			s.Producers = s.Producers[1:3] // linger=0 and 200ms
			if r := labtest.Perform(t, Lab.With(&producing{*s})); r.Verdict != want {
				t.Errorf("%s: %s; want %s", r.Verdict, r.Reason, want)
			}
		})
	}
}

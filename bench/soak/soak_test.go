//go:build linux

package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

// metrics is what two sources, one of them twice, write about latency: 4 events of at most 10 ms, 4 more of at most 20 ms.
const metrics = `# HELP weir_end_to_end_latency_seconds From socket to count.
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="0.01"} 3
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="0.02"} 7
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="+Inf"} 7
weir_end_to_end_latency_seconds_bucket{source="wikipedia",le="0.01"} 1
weir_end_to_end_latency_seconds_bucket{source="wikipedia",le="0.02"} 1
weir_end_to_end_latency_seconds_bucket{source="wikipedia",le="+Inf"} 1
weir_source_events_total{source="bluesky"} 1.5e+06
weir_source_events_total{source="wikipedia"} 2
weir_kafka_produce_batches_total{client="weir-produce-bluesky",topic="bluesky-events"} 30
weir_kafka_produce_batches_total{client="weir-produce-bluesky",topic="weir.cursors"} 12
go_goroutines 251
`

func TestReading(t *testing.T) {
	r := parse(metrics)
	for name, want := range map[string]float64{storedEvents: 1_500_002, "weir_kafka_produce_batches_total": 42, "go_goroutines": 251} {
		if got := r.plain[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if r.cursors != 12 {
		t.Errorf("%v transactions, want 12", r.cursors)
	}
	for _, c := range []struct{ q, want float64 }{{0.25, 5}, {0.5, 10}, {0.75, 15}, {1, 20}} {
		if got := r.quantile(&reading{}, c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("quantile %v is %v ms, want %v", c.q, got, c.want)
		}
	}
	// Since a reading with the three faster events of Bluesky, the half of the rest took at most 13.75 ms.
	before := parse(`
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="0.01"} 3
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="0.02"} 3
weir_end_to_end_latency_seconds_bucket{source="bluesky",le="+Inf"} 3
`)
	if got := r.quantile(&before, 0.5); math.Abs(got-13.75) > 1e-9 {
		t.Errorf("quantile of the later events is %v ms, want 13.75", got)
	}
}

// TestFlat: what grows by a third in a quarter of the day does not pass, and a short run proves nothing.
func TestFlat(t *testing.T) {
	k := &soak{settings: settings{Duration: time.Hour}}
	for i := range 100 {
		k.samples = append(k.samples, sample{rss: 100, descriptors: 200, goroutines: int64(100 + i), p50: 10, p99: 20})
	}
	k.fastTo = len(k.samples)
	j := new(judge)
	k.judgeFlat(j)
	for _, c := range j.checks {
		want := record.Holds
		if strings.HasPrefix(c.Claim, "goroutines") { // 137 and 187
			want = record.DoesNotHold
		}
		if c.Verdict != want {
			t.Errorf("%s: %s (%s)", c.Claim, c.Verdict, c.Got)
		}
	}
	if len(j.checks) != len(flat) {
		t.Errorf("%d checks of %d", len(j.checks), len(flat))
	}
	k.Duration, j = time.Minute, new(judge)
	k.judgeFlat(j)
	if len(j.checks) != 1 || j.checks[0].Verdict != record.Inconclusive {
		t.Errorf("a short run: %+v", j.checks)
	}
}

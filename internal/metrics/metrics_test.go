package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/watch"
)

// measured is 90 of 100 ms, 10 of 3 s and 1 of a day.
func measured() *latency.Histogram {
	var h latency.Histogram
	h.Add(100*time.Millisecond, 90)
	h.Add(3*time.Second, 10)
	h.Add(24*time.Hour, 1)
	return &h
}

func full() *watch.State {
	seconds := 1.5
	return &watch.State{
		Time: 1_700_000_000_250,
		Cluster: watch.Cluster{Brokers: map[string]*watch.Broker{
			"0": {Alive: true, Leaders: 4}, "1": {Alive: false},
		}},
		Streams: map[string]*watch.Stream{
			"bluesky": {
				Total: 120, Counts: map[string]int64{"create": 90, "delete": 7},
				Local: watch.Local{State: "connected", LastEvent: 1_700_000_000_125, Reconnects: 2, Trouble: "waiting for Kafka: broker 2 does not answer", Duplicates: 3, TooOld: 6, Gaps: 1, Rejects: 5,
					Queue:    &watch.Queue{Events: 11, MaxEvents: 50000, BlockedMS: 2500},
					Measured: watch.Measured{Commit: measured(), EndToEnd: &latency.Histogram{}}},
			},
			// Ingested by another process: nothing is said that only that one knows.
			"wikipedia": {Total: -1, Counts: map[string]int64{"edit": 6}, Local: watch.Local{State: "external"}},
		},
		Topics: map[string]*watch.Topic{"bluesky-events": {UnderReplicated: 2}, "wikipedia-edits": {UnderReplicated: 1}},
		Groups: map[string]*watch.Group{
			"weir-bluesky-counter":   {Lag: 40, LagSeconds: &seconds, Members: 2, Rebalances: 4},
			"weir-wikipedia-counter": {Lag: -1}, // unknown is not zero
		},
	}
}

const wantFull = `
# HELP weir_broker_leads Partitions that a broker leads.
# TYPE weir_broker_leads gauge
weir_broker_leads{broker="0"} 4
weir_broker_leads{broker="1"} 0
# HELP weir_broker_up 1 while a broker is alive.
# TYPE weir_broker_up gauge
weir_broker_up{broker="0"} 1
weir_broker_up{broker="1"} 0
# HELP weir_cluster_up 1 while the cluster can be asked.
# TYPE weir_cluster_up gauge
weir_cluster_up 1
# HELP weir_counted_events_total Events counted, by event type.
# TYPE weir_counted_events_total counter
weir_counted_events_total{kind="create",source="bluesky"} 90
weir_counted_events_total{kind="delete",source="bluesky"} 7
weir_counted_events_total{kind="edit",source="wikipedia"} 6
# HELP weir_end_to_end_latency_seconds From an event's arrival at the socket to the answer of the Redis that counted it.
# TYPE weir_end_to_end_latency_seconds histogram
ENDTOEND
# HELP weir_group_lag Messages that a consumer group has not consumed.
# TYPE weir_group_lag gauge
weir_group_lag{group="weir-bluesky-counter"} 40
# HELP weir_group_lag_seconds How long ago the log ended where a consumer group stands.
# TYPE weir_group_lag_seconds gauge
weir_group_lag_seconds{group="weir-bluesky-counter"} 1.5
# HELP weir_group_members Members of a consumer group.
# TYPE weir_group_members gauge
weir_group_members{group="weir-bluesky-counter"} 2
weir_group_members{group="weir-wikipedia-counter"} 0
# HELP weir_group_rebalances_total How often the members of a consumer group or their partitions were seen to change.
# TYPE weir_group_rebalances_total counter
weir_group_rebalances_total{group="weir-bluesky-counter"} 4
weir_group_rebalances_total{group="weir-wikipedia-counter"} 0
# HELP weir_produce_latency_seconds From an event's arrival at the socket to the commit of its transaction.
# TYPE weir_produce_latency_seconds histogram
PRODUCE
# HELP weir_queue_blocked_seconds_total How long the socket waited for the queue.
# TYPE weir_queue_blocked_seconds_total counter
weir_queue_blocked_seconds_total{source="bluesky"} 2.5
# HELP weir_queue_capacity Events that the queue holds at most.
# TYPE weir_queue_capacity gauge
weir_queue_capacity{source="bluesky"} 50000
# HELP weir_queue_depth Events in the queue between socket and Kafka.
# TYPE weir_queue_depth gauge
weir_queue_depth{source="bluesky"} 11
# HELP weir_source_connected 1 while the source's connection is open.
# TYPE weir_source_connected gauge
weir_source_connected{source="bluesky"} 1
# HELP weir_source_duplicates_total Events that came again and were dropped.
# TYPE weir_source_duplicates_total counter
weir_source_duplicates_total{source="bluesky"} 3
# HELP weir_source_events_total Events stored in the source's data topic, ever.
# TYPE weir_source_events_total counter
weir_source_events_total{source="bluesky"} 120
# HELP weir_source_gaps_total Ranges of events that upstream no longer offered.
# TYPE weir_source_gaps_total counter
weir_source_gaps_total{source="bluesky"} 1
# HELP weir_source_last_event_timestamp_seconds When the last event was received, in Unix seconds.
# TYPE weir_source_last_event_timestamp_seconds gauge
weir_source_last_event_timestamp_seconds{source="bluesky"} 1.700000000125e+09
# HELP weir_source_reconnects_total Connections opened after the first one.
# TYPE weir_source_reconnects_total counter
weir_source_reconnects_total{source="bluesky"} 2
# HELP weir_source_rejects_total Messages that went to the dead-letter topic.
# TYPE weir_source_rejects_total counter
weir_source_rejects_total{source="bluesky"} 5
# HELP weir_source_too_old_total Events that upstream sent unasked and that are too old to compare with the topics: not stored.
# TYPE weir_source_too_old_total counter
weir_source_too_old_total{source="bluesky"} 6
# HELP weir_source_waiting 1 while something keeps the source's events from being stored or counted: /readyz and the pages say what.
# TYPE weir_source_waiting gauge
weir_source_waiting{source="bluesky"} 1
# HELP weir_under_replicated_partitions Partitions with fewer replicas in sync than there should be.
# TYPE weir_under_replicated_partitions gauge
weir_under_replicated_partitions 3
# HELP weir_watch_timestamp_seconds When all this was read, in Unix seconds.
# TYPE weir_watch_timestamp_seconds gauge
weir_watch_timestamp_seconds 1.70000000025e+09
`

// scrape returns what the collector alone says, in the text form.
func scrape(t *testing.T, state func() *watch.State) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&collector{state})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestFullState(t *testing.T) {
	got := scrape(t, full)
	bounds := strings.Fields("0.001024 0.002048 0.004096 0.008192 0.016384 0.032768 0.065536 0.131072 0.262144 0.524288 1.048576 2.097152 4.194304 " +
		"8.388608 16.777216 33.554432 67.108864 134.217728 268.435456 536.870912 1073.741824 +Inf")
	histogram := func(name string, at func(bound int) int, sum string) string {
		var b strings.Builder
		for i, le := range bounds {
			fmt.Fprintf(&b, "%s_bucket{source=\"bluesky\",le=%q} %d\n", name, le, at(i))
		}
		return b.String() + fmt.Sprintf("%s_sum{source=\"bluesky\"} %s\n%s_count{source=\"bluesky\"} %d", name, sum, name, at(len(bounds)-1))
	}
	want := strings.NewReplacer("ENDTOEND", histogram("weir_end_to_end_latency_seconds", func(int) int { return 0 }, "0"),
		"PRODUCE", histogram("weir_produce_latency_seconds", func(i int) int {
			switch {
			case i < 7:
				return 0
			case i < 12: // from 131 ms on
				return 90
			case i < len(bounds)-1: // from 4.2 s on
				return 100
			}
			return 101
		}, "86439"), "\n\n", "\n").Replace(wantFull)
	if want := strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("a scrape is\n%s\nwant\n%s", got, want)
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFailedCluster: what is not known is left out, and the rest is as it is.
func TestFailedCluster(t *testing.T) {
	s := &watch.State{Time: 1000, Cluster: watch.Cluster{Error: "refused"}, Streams: map[string]*watch.Stream{
		"bluesky": {Local: watch.Local{State: "failed"}},
	}}
	var got []string
	for l := range strings.Lines(scrape(t, func() *watch.State { return s })) {
		if !strings.HasPrefix(l, "#") {
			got = append(got, strings.TrimSpace(l))
		}
	}
	want := []string{
		"weir_cluster_up 0",
		`weir_source_connected{source="bluesky"} 0`,
		`weir_source_duplicates_total{source="bluesky"} 0`,
		`weir_source_events_total{source="bluesky"} 0`,
		`weir_source_gaps_total{source="bluesky"} 0`,
		`weir_source_reconnects_total{source="bluesky"} 0`,
		`weir_source_rejects_total{source="bluesky"} 0`,
		`weir_source_too_old_total{source="bluesky"} 0`,
		`weir_source_waiting{source="bluesky"} 0`,
		"weir_under_replicated_partitions 0",
		"weir_watch_timestamp_seconds 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("a scrape is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHandler: a scrape carries the state and the process's own numbers.
func TestHandler(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(full, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, body)
	}
	for _, want := range []string{"\nweir_broker_up{broker=\"1\"} 0\n", "\ngo_goroutines ", "# TYPE go_gc_duration_seconds summary\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("a scrape lacks %q", want)
		}
	}
}

// Package metrics answers Prometheus with what the live state of a watch says:
// the numbers on the pages and those in a dashboard are the same ones. It owns
// names and labels, and keeps nothing itself but what Kafka clients measure.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/watch"
)

// Handler answers /metrics from the newest state and, where clients is not nil,
// with what the Kafka clients of this process measure.
func Handler(state func() *watch.State, clients *Clients) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{state}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	all := prometheus.Gatherers{r}
	if clients != nil {
		all = append(all, clients.reg)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

type collector struct{ state func() *watch.State }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_"+name, help, labels, nil)
}

var (
	connected   = desc("source_connected", "1 while the source's connection is open.", "source")
	waiting     = desc("source_waiting", "1 while something keeps the source's events from being stored or counted: /readyz and the pages say what.", "source")
	reconnects  = desc("source_reconnects_total", "Connections opened after the first one.", "source")
	lastEvent   = desc("source_last_event_timestamp_seconds", "When the last event was received, in Unix seconds.", "source")
	ingested    = desc("source_events_total", "Events stored in the source's data topic, ever.", "source")
	counted     = desc("counted_events_total", "Events counted, by event type.", "source", "kind")
	duplicates  = desc("source_duplicates_total", "Events that came again and were dropped.", "source")
	tooOld      = desc("source_too_old_total", "Events that upstream sent unasked and that are too old to compare with the topics: not stored.", "source")
	gaps        = desc("source_gaps_total", "Ranges of events that upstream no longer offered.", "source")
	rejects     = desc("source_rejects_total", "Messages that went to the dead-letter topic.", "source")
	queueDepth  = desc("queue_depth", "Events in the queue between socket and Kafka.", "source")
	queueMax    = desc("queue_capacity", "Events that the queue holds at most.", "source")
	blocked     = desc("queue_blocked_seconds_total", "How long the socket waited for the queue.", "source")
	latencies   = desc("produce_latency_seconds", "From an event's arrival at the socket to the commit of its transaction.", "source")
	endToEnd    = desc("end_to_end_latency_seconds", "From an event's arrival at the socket to the answer of the Redis that counted it.", "source")
	sink        = desc("sink_latency_seconds", "How long Redis took for each call that counts.", "source")
	groupLag    = desc("group_lag", "Messages that a consumer group has not consumed.", "group")
	groupLagSec = desc("group_lag_seconds", "How long ago the log ended where a consumer group stands.", "group")
	rebalances  = desc("group_rebalances_total", "How often the members of a consumer group or their partitions were seen to change.", "group")
	members     = desc("group_members", "Members of a consumer group.", "group")
	brokerUp    = desc("broker_up", "1 while a broker is alive.", "broker")
	brokerLeads = desc("broker_leads", "Partitions that a broker leads.", "broker")
	under       = desc("under_replicated_partitions", "Partitions with fewer replicas in sync than there should be.")
	clusterOK   = desc("cluster_up", "1 while the cluster can be asked.")
	watched     = desc("watch_timestamp_seconds", "When all this was read, in Unix seconds.")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connected, waiting, reconnects, lastEvent, ingested, counted, duplicates, tooOld, gaps, rejects, queueDepth, queueMax,
		blocked, latencies, endToEnd, sink, groupLag, groupLagSec, rebalances, members, brokerUp, brokerLeads, under, clusterOK, watched} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.state()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	total := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(clusterOK, bit(s.Cluster.Error == ""))
	gauge(watched, float64(s.Time)/1000)
	for name, st := range s.Streams {
		c.stream(name, st, gauge, total)
		histogram(ch, latencies, st.Measured.Commit, name)
		histogram(ch, endToEnd, st.Measured.EndToEnd, name)
		histogram(ch, sink, st.Measured.Sink, name)
	}
	for name, g := range s.Groups {
		if g.Lag >= 0 {
			gauge(groupLag, float64(g.Lag), name)
		}
		if g.LagSeconds != nil {
			gauge(groupLagSec, *g.LagSeconds, name)
		}
		total(rebalances, float64(g.Rebalances), name)
		gauge(members, float64(g.Members), name)
	}
	for id, b := range s.Cluster.Brokers {
		gauge(brokerUp, bit(b.Alive), id)
		gauge(brokerLeads, float64(b.Leaders), id)
	}
	short := 0
	for _, t := range s.Topics {
		short += t.UnderReplicated
	}
	gauge(under, float64(short))
}

type metric func(d *prometheus.Desc, v float64, labels ...string)

func (c *collector) stream(name string, st *watch.Stream, gauge, total metric) {
	if st.Total >= 0 {
		total(ingested, float64(st.Total), name)
	}
	for kind, n := range st.Counts {
		total(counted, float64(n), name, kind)
	}
	if st.State == "external" {
		return // another process knows the rest
	}
	gauge(connected, bit(st.State == "connected"), name)
	gauge(waiting, bit(st.Trouble != ""), name)
	total(reconnects, float64(st.Reconnects), name)
	if st.LastEvent > 0 {
		gauge(lastEvent, float64(st.LastEvent)/1000, name)
	}
	total(duplicates, float64(st.Duplicates), name)
	total(tooOld, float64(st.TooOld), name)
	total(gaps, float64(st.Gaps), name)
	total(rejects, float64(st.Rejects), name)
	if q := st.Queue; q != nil {
		gauge(queueDepth, float64(q.Events), name)
		gauge(queueMax, float64(q.MaxEvents), name)
		total(blocked, float64(q.BlockedMS)/1000, name)
	}
}

// The bounds that are told are each twice the one before, from 1 ms to 18 minutes.
const leastBound, largestBound = time.Millisecond, 20 * time.Minute

func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h *latency.Histogram, labels ...string) {
	if h == nil {
		return // another process measures it
	}
	buckets := map[float64]uint64{}
	var n uint64
	for i, c := range h.Buckets {
		n += uint64(c)
		if bound := latency.Bound(i); i%latency.Steps == latency.Steps-1 && bound >= leastBound && bound <= largestBound {
			buckets[bound.Seconds()] = n
		}
	}
	ch <- prometheus.MustNewConstHistogram(d, uint64(h.Count), h.Seconds, buckets, labels...)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

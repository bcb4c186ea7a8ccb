package metrics

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/docs/doctest"
)

var update = flag.Bool("update", false, "rewrite the reference of metrics")

const metricsHead = `# Metrics

weir serves Prometheus metrics at ` + "`/metrics`" + ` of the web UI. The page is open on loopback. Elsewhere it needs
the token as a Bearer token. ` + "`ops/grafana.json`" + ` is a dashboard for these metrics, and
` + "`ops/alerts.yml`" + ` has alerts, each with what to do.

<!-- generated: go test ./internal/metrics -run TestReference -update -->

## weir

`

const clientsHead = `
## Kafka clients

Each Kafka client of the process measures itself. ` + "`client`" + ` is its client ID, with a number where
several have the same one.

`

const metricsEnd = `
## The process

` + "`go_*` and `process_*`" + ` are the usual metrics of a Go program: memory, garbage collection, goroutines,
processor time, open files.
`

var (
	typed    = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	helped   = regexp.MustCompile(`(?m)^# HELP (\S+) (.*)$`)
	variable = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	labels   = regexp.MustCompile(`([a-z_]+)="`)
)

// TestReference: the reference lists every metric that is described, and those of the clients.
func TestReference(t *testing.T) {
	text := scrape(t, full)
	types := map[string]string{}
	for _, m := range typed.FindAllStringSubmatch(text, -1) {
		types[m[1]] = m[2]
	}
	types["weir_sink_latency_seconds"] = "histogram" // full has none, as another process may measure it
	descs := make(chan *prometheus.Desc, 100)
	(&collector{}).Describe(descs)
	close(descs)
	var rows []string
	for d := range descs {
		m := variable.FindStringSubmatch(d.String())
		help := regexp.MustCompile(`help: "([^"]*)"`).FindStringSubmatch(d.String())
		if m == nil || help == nil || types[m[1]] == "" {
			t.Fatalf("%s has no type in %v", d, types)
		}
		var of []string
		for _, l := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' }) {
			of = append(of, doctest.Code(l))
		}
		rows = append(rows, doctest.Row(doctest.Code(m[1]), types[m[1]], strings.Join(of, ", "), help[1]))
	}
	slices.Sort(rows)
	head := doctest.Row("metric", "type", "labels", "meaning") + doctest.Row("---", "---", "---", "---")
	doctest.Page(t, "../../docs", "reference/metrics.md",
		metricsHead+head+strings.Join(rows, "")+clientsHead+head+strings.Join(clientRows(t), "")+metricsEnd, *update)
}

// clientRows are the metrics of a client that has produced, consumed and lost nothing.
func clientRows(t *testing.T) (rows []string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	clients := NewClients()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.ConsumeTopics("events"), kgo.WithHooks(clients.Hook("weir-a")))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for cl.PollFetches(t.Context()).NumRecords() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the record is not read")
		}
	}
	handler := Handler(full, clients)
	body := ""
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	// A record is counted some time after it is acknowledged or read.
	for !strings.Contains(body, "weir_kafka_produce_records_total{") || !strings.Contains(body, "weir_kafka_fetch_records_total{") {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("a scrape lacks the client's records:\n%s", body)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		body = w.Body.String()
	}
	help := map[string]string{}
	for _, m := range helped.FindAllStringSubmatch(body, -1) {
		help[m[1]] = m[2]
	}
	for _, m := range typed.FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(m[1], "weir_kafka_") {
			continue
		}
		sample := regexp.MustCompile(fmt.Sprintf(`(?m)^%s(?:_count)?\{(.*)\}`, m[1])).FindStringSubmatch(body)
		if sample == nil {
			t.Errorf("%s has no sample", m[1])
			continue
		}
		var of []string
		for _, l := range labels.FindAllStringSubmatch(sample[1], -1) {
			of = append(of, doctest.Code(l[1]))
		}
		rows = append(rows, doctest.Row(doctest.Code(m[1]), m[2], strings.Join(of, ", "), help[m[1]]))
	}
	return rows
}

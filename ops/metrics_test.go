package ops

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/latency"
	"github.com/weir-project/weir/internal/metrics"
	"github.com/weir-project/weir/internal/watch"
)

// exported returns the metrics of a weir that has everything, each with its labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	seconds := 1.0
	s := &watch.State{
		Cluster: watch.Cluster{Brokers: map[string]*watch.Broker{"0": {Alive: true}}},
		Streams: map[string]*watch.Stream{"bluesky": {Counts: map[string]int64{"create": 1},
			Local: watch.Local{State: "connected", LastEvent: 1, Queue: &watch.Queue{},
				Measured: watch.Measured{Commit: &latency.Histogram{}, EndToEnd: &latency.Histogram{}, Sink: &latency.Histogram{}}}}},
		Groups: map[string]*watch.Group{"g": {LagSeconds: &seconds}},
	}
	w := httptest.NewRecorder()
	metrics.Handler(func() *watch.State { return s }, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	all := map[string][]string{"up": nil, // Prometheus's own
		// The Kafka library's, which metrics.TestClients sees.
		"weir_kafka_request_duration_e2e_seconds_bucket": {"client", "node_id", "le"}, "weir_kafka_connect_errors_total": {"client", "node_id"}}
	line := regexp.MustCompile(`^([a-z_0-9]+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for l := range strings.Lines(w.Body.String()) {
		if m := line.FindStringSubmatch(l); m != nil {
			all[m[1]] = nil
			for _, n := range label.FindAllStringSubmatch(m[2], -1) {
				all[m[1]] = append(all[m[1]], n[1])
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics were scraped", len(all))
	}
	return all
}

// functions are the words of expressions that are no metric.
var functions = []string{"time", "rate", "increase", "deriv", "sum", "by", "on", "and", "or", "unless", "absent", "last_over_time", "histogram_quantile", "sort_desc", "label_values"}

var (
	quoted  = regexp.MustCompile(`"[^"]*"`)
	ranged  = regexp.MustCompile(`\[[^\]]*\]`)
	grouped = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	picked  = regexp.MustCompile(`([a-z_0-9]+)\{([^}]*)\}`)
	word    = regexp.MustCompile(`[a-z][a-z_0-9]*`)
	shown   = regexp.MustCompile(`\{\{ ?(?:\$labels\.)?([a-z]+) ?\}\}`)
)

// check reads an expression as far as names go: its metrics exist, its labels are
// theirs. It returns the metrics.
func check(t *testing.T, where, expr string, known map[string][]string) (used []string) {
	t.Helper()
	expr = ranged.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), "")
	labels := map[string]bool{}
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		for _, l := range word.FindAllString(m[1], -1) {
			labels[l] = true
		}
	}
	for _, m := range picked.FindAllStringSubmatch(expr, -1) {
		for _, l := range word.FindAllString(m[2], -1) {
			if !slices.Contains(append([]string{"job", "instance"}, known[m[1]]...), l) {
				t.Errorf("%s: %s has no label %s", where, m[1], l)
			}
		}
	}
	bare := picked.ReplaceAllString(grouped.ReplaceAllString(expr, ""), "$1")
	for _, w := range word.FindAllString(bare, -1) {
		if slices.Contains(functions, w) {
			continue
		}
		if _, ok := known[w]; !ok {
			t.Errorf("%s: there is no metric %s", where, w)
		}
		used = append(used, w)
	}
	for l := range labels {
		if !carried(l, used, known) {
			t.Errorf("%s: no metric in %q has the label %s", where, expr, l)
		}
	}
	return used
}

// carried reports whether one of the metrics has a label.
func carried(label string, used []string, known map[string][]string) bool {
	return label == "job" || label == "instance" || slices.ContainsFunc(used, func(m string) bool { return slices.Contains(known[m], label) })
}

func checkShown(t *testing.T, where, text string, used []string, known map[string][]string) {
	t.Helper()
	for _, m := range shown.FindAllStringSubmatch(text, -1) {
		if m[1] != "value" && !carried(m[1], used, known) {
			t.Errorf("%s shows the label %s, which %v have not", where, m[1], used)
		}
	}
}

// TestDashboard: every panel asks for what there is, and everything there is has a panel.
func TestDashboard(t *testing.T) {
	known := exported(t)
	raw, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID                       int
			Title, Type, Description string
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	seen, ids := map[string]bool{}, map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("the id %d is that of two panels", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q or the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("%s shows nothing, or does not say what", p.Title)
		}
		for _, target := range p.Targets {
			used := check(t, p.Title, target.Expr, known)
			checkShown(t, p.Title, target.LegendFormat, used, known)
			for _, m := range used {
				seen[m] = true
			}
		}
	}
	for m := range known {
		if base, ok := strings.CutSuffix(strings.TrimSuffix(m, "_sum")+"|", "_count|"); ok || base != m+"|" {
			continue // the buckets are what is shown of a histogram
		}
		if strings.HasPrefix(m, "weir_") && !seen[m] {
			t.Errorf("no panel shows %s", m)
		}
	}
}

// TestAlerts: every rule asks for what there is, and says what to do. The file is
// read line by line; promtool reads it whole, in its tier.
func TestAlerts(t *testing.T) {
	known := exported(t)
	fields := []string{"expr", "severity", "summary", "runbook"}
	field := regexp.MustCompile(`^ +(expr|summary|runbook): (.+)$`)
	alert, found := "", map[string]map[string]string{}
	for _, l := range lines(t, "ops/alerts.yml") {
		if name, ok := strings.CutPrefix(l, "      - alert: "); ok {
			alert = name
			found[alert] = map[string]string{}
		} else if m := field.FindStringSubmatch(l); m != nil {
			found[alert][m[1]] = m[2]
		} else if strings.HasPrefix(l, "        labels: {severity: critical}") || strings.HasPrefix(l, "        labels: {severity: warning}") {
			found[alert]["severity"] = l
		}
	}
	if len(found) < 8 {
		t.Fatalf("only %d rules were read", len(found))
	}
	tests := strings.Join(lines(t, "ops/alerts_test.yml"), "\n")
	for name, rule := range found {
		for _, f := range fields {
			if rule[f] == "" {
				t.Errorf("%s has no %s", name, f)
			}
		}
		used := check(t, name, rule["expr"], known)
		checkShown(t, name, rule["summary"]+rule["runbook"], used, known)
		if !strings.Contains(tests, `alertname="`+name+`", alertstate="firing", severity=`) {
			t.Errorf("no test lets %s fire", name)
		}
	}
}

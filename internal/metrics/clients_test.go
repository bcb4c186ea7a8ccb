package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/watch"
)

// TestClients: each living client has its series, one of the same id a number, and
// a client that is made from another's options is the same.
func TestClients(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	clients := NewClients()
	handler := Handler(func() *watch.State { return &watch.State{} }, clients)
	scrape := func() string {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	open := func(opts ...kgo.Opt) *kgo.Client {
		t.Helper()
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	opts := func() []kgo.Opt {
		return []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.WithHooks(clients.Hook("weir-a"))}
	}
	first := open(opts()...)
	second := open(opts()...)
	copied := open(first.Opts()...)
	// A record is counted some time after it is acknowledged.
	scrapeFor := func(want string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if got = scrape(); strings.Contains(got, "\n"+want) {
				return
			}
		}
		t.Errorf("a scrape lacks %s:\n%s", want, got)
	}
	for _, want := range []string{
		`weir_kafka_produce_records_total{client="weir-a",topic="events"} 2`, // its own and the copy's
		`weir_kafka_produce_records_total{client="weir-a#2",topic="events"} 1`,
		`weir_kafka_request_duration_e2e_seconds_bucket{client="weir-a",node_id="0",le="+Inf"} `,
		`weir_kafka_connects_total{client="weir-a",node_id="0"} `,
	} {
		scrapeFor(want)
	}
	copied.Close()
	if !strings.Contains(scrape(), `client="weir-a"`) {
		t.Error("the series of a client ended with its copy")
	}
	first.Close()
	got := scrape()
	if strings.Contains(got, `client="weir-a"`) || !strings.Contains(got, `client="weir-a#2"`) {
		t.Error("it is not the closed client's series that ended")
	}
	open(opts()...)
	scrapeFor(`weir_kafka_produce_records_total{client="weir-a",topic="events"} 1`) // the name is free for a new client
	second.Close()
}

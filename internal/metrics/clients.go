package metrics

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Clients collects what the Kafka clients of this process measure themselves:
// connections, bytes, requests, batches. The series are weir_kafka_*, with the
// client's id as the label client.
type Clients struct {
	reg *prometheus.Registry

	mu    sync.Mutex
	taken map[string]bool
}

// NewClients returns a collection without clients.
func NewClients() *Clients { return &Clients{reg: prometheus.NewRegistry(), taken: map[string]bool{}} }

// Hook returns the hook of one client to be made. A number distinguishes
// several clients of one ID.
func (c *Clients) Hook(id string) kgo.Hook { return &clientHook{of: c, id: id} }

// clientHook belongs to the first client that is made with it. Clients made from
// that one's options, which hold the hook, count as the same.
type clientHook struct {
	*kprom.Metrics
	of     *Clients
	id     string
	name   string
	client *kgo.Client
}

// requestSeconds are the buckets for the time that a broker takes to answer: a
// fetch waits up to 5 s for records by design.
var requestSeconds = []float64{.001, .005, .02, .1, .5, 2, 10}

// OnNewClient implements kgo.HookNewClient. The library calls it before any other hook.
func (h *clientHook) OnNewClient(cl *kgo.Client) {
	if h.Metrics != nil {
		return
	}
	h.client, h.name = cl, h.of.take(h.id)
	h.Metrics = kprom.NewMetrics("weir", kprom.Subsystem("kafka"), kprom.Registerer(h.of.reg),
		kprom.WithStaticLabel(prometheus.Labels{"client": h.name}),
		kprom.HistogramsFromOpts(kprom.HistogramOpts{Enable: kprom.RequestDurationE2E, Buckets: requestSeconds}),
		kprom.NativeBucketFactor(1), // the text format has no such histograms, and they take memory
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming))
	h.Metrics.OnNewClient(cl)
}

// OnClientClosed implements kgo.HookClientClosed.
func (h *clientHook) OnClientClosed(cl *kgo.Client) {
	if cl != h.client {
		return
	}
	h.Metrics.OnClientClosed(cl)
	h.of.release(h.name)
}

// take returns a name that no living client has: the id, or the id with the least number.
func (c *Clients) take(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := id
	for n := 2; c.taken[name]; n++ {
		name = id + "#" + strconv.Itoa(n)
	}
	c.taken[name] = true
	return name
}

func (c *Clients) release(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, name)
}

package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestEventStreams takes weir through what happens to readers of Wikimedia's
// EventStreams, with its own core serving changes from Apache Kafka: connections
// that break, a server that dies, and data centres that change while weir is
// connected and while it is not. What was put in is what is stored and counted.
func TestEventStreams(t *testing.T) {
	modules := os.Getenv("WEIR_TEST_EVENTSTREAMS")
	if modules == "" {
		t.Skip("needs kafka-sse with its compiled binding (a minute): .ci/run eventstreams, or WEIR_TEST_EVENTSTREAMS=NODE_MODULES go -C interop test -run EventStreams .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	wikimedia := clients{weir: weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}}
	wikimedia.start("apache")
	for _, site := range []string{"eqiad", "codfw"} {
		wikimedia.createTopic(site + changes)
	}
	source := newFeed(t, wikimedia)

	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	serve := func() *process {
		_, port, _ := strings.Cut(address, ":")
		p := start(t, "kafka-sse", []string{"NODE_PATH=" + modules}, "node", filepath.Join("eventstreams", "server.js"), wikimedia.brokers, port)
		waitFor(t, "the server", func() bool { return dials(address) })
		return p
	}
	server := serve()

	w := clients{weir: weir{t: t, bin: wikimedia.bin, data: t.TempDir()}}
	w.start(engine())
	consumer := start(t, "weir consume wikipedia", nil, w.bin, "consume", "wikipedia", "--data", w.data)
	produce := func() *process {
		return start(t, "weir produce wikipedia", nil, w.bin, "produce", "wikipedia", "--data", w.data,
			"--wikipedia-url", "http://"+address+"/v2/stream/recentchange")
	}
	ingester := produce()
	waitFor(t, "weir to connect", func() bool { return strings.Contains(server.out.tail(6000), "from ") })
	grow := func() {
		t.Helper()
		want := w.changes() + 50
		waitFor(t, "changes to be counted", func() bool { return w.changes() >= want })
	}
	source.to("eqiad")
	grow()

	t.Log("the connection breaks")
	resp, err := http.Post("http://"+address+"/cut", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	waitFor(t, "the cut", func() bool { return strings.Contains(server.out.tail(6000), "cut 1") })
	grow()

	t.Log("the server dies")
	server.stop(t, syscall.SIGKILL)
	source.more(20)
	server = serve()
	grow()

	t.Log("the other data centre takes over")
	source.to("codfw")
	grow()

	t.Log("weir dies, and the data centre changes while it is away")
	ingester.stop(t, syscall.SIGKILL)
	source.more(20)
	source.to("eqiad")
	source.more(20)
	ingester = produce()
	grow()

	t.Log("the server is away while the data centre changes")
	server.stop(t, syscall.SIGTERM)
	source.more(20)
	source.to("codfw")
	source.more(20)
	server = serve()
	grow()

	t.Log("the wikis fall silent; all that was said arrives")
	truth := source.end()
	waitFor(t, "all changes to be counted", func() bool { return w.changes() >= int64(len(truth)) })
	stored, counts := map[string]string{}, map[string]int64{}
	for m, n := range w.messages("wikipedia-edits") {
		_, value, _ := strings.Cut(m, "\t")
		c := decodeChange(t, value)
		counts[c.Type]++
		if _, again := stored[c.Meta.ID]; again || n > 1 {
			t.Errorf("twice in wikipedia-edits: %s", c.Meta.ID)
		}
		stored[c.Meta.ID] = c.Type
	}
	compare(t, truth, stored)
	for kind, n := range w.streams()["wikipedia"] {
		if counts[kind] != n {
			t.Errorf("weir counts %d %s, kcat sees %d", n, kind, counts[kind])
		}
	}
	w.verify()
	resumes := strings.Count(server.out.tail(1<<20), "from [")
	if resumes == 0 {
		t.Error("weir resumed from no position")
	}
	ingester.stop(t, syscall.SIGINT)
	consumer.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)
	t.Logf("%d changes, of eqiad %d and of codfw %d: %v", len(truth), source.fed["eqiad"], source.fed["codfw"], counts)
}

// changes is the name of the topic of recent changes, behind the data centre's.
const changes = ".mediawiki.recentchange"

// changes is how many changes weir has counted.
func (c clients) changes() int64 {
	c.t.Helper()
	return sum(c.streams()["wikipedia"])
}

func (c clients) createTopic(name string) {
	c.t.Helper()
	jars := kafkaJars(c.t)
	c.jars = jars
	c.tool("", "TopicCommand", "--create", "--topic", name, "--partitions", "1", "--replication-factor", "3")
}

// change is what this test reads of a recent change.
type change struct {
	Type string `json:"type"`
	Meta struct {
		ID     string `json:"id"`
		Domain string `json:"domain"`
	} `json:"meta"`
}

func decodeChange(t *testing.T, value string) (c change) {
	t.Helper()
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		t.Fatalf("decode %.200q: %v", value, err)
	}
	return c
}

// feed writes the changes of weir's simulator, as they happen, to the topic of the
// data centre that is active, with kcat.
type feed struct {
	t         *testing.T
	brokers   string
	simulator *process
	body      io.ReadCloser
	ended     chan struct{}

	mu     sync.Mutex
	site   string
	writer *process
	pipe   io.WriteCloser
	truth  map[string]string // type by identity, without canaries
	fed    map[string]int    // by data centre
}

func newFeed(t *testing.T, cluster clients) *feed {
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	f := &feed{t: t, brokers: cluster.brokers, truth: map[string]string{}, fed: map[string]int{}, ended: make(chan struct{})}
	f.simulator = start(t, "weir simulate", nil, cluster.bin, "simulate", "--listen", address, "--rate", "400", "--data", t.TempDir())
	waitFor(t, "the simulated stream", func() bool { return dials(address) })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v2/stream/recentchange", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "weir-interop/1.0 (weir@example.org)")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	f.body = resp.Body
	go f.run()
	return f
}

// run writes what comes until the simulator ends.
func (f *feed) run() {
	defer close(f.ended)
	lines := bufio.NewScanner(f.body)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var c change
		if err := json.Unmarshal([]byte(value), &c); err != nil {
			f.t.Errorf("decode %.200q: %v", value, err)
			return
		}
		f.mu.Lock()
		if f.pipe != nil {
			if _, err := io.WriteString(f.pipe, value+"\n"); err != nil {
				f.t.Errorf("kcat does not take changes: %v", err)
			}
			if c.Meta.Domain != "canary" {
				f.truth[c.Meta.ID] = c.Type
				f.fed[f.site]++
			}
		}
		f.mu.Unlock()
	}
}

// to makes a data centre the active one.
func (f *feed) to(site string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.close()
	cmd := exec.Command("kcat", "-P", "-b", f.brokers, "-t", site+changes, "-p", "0", "-X", "acks=all", "-X", "linger.ms=5")
	pipe, err := cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.site, f.pipe, f.writer = site, pipe, begin(f.t, "kcat "+site, cmd)
}

// close ends the writer once everything is acknowledged. The caller holds f.mu.
func (f *feed) close() {
	f.t.Helper()
	if f.pipe == nil {
		return
	}
	f.pipe.Close()
	f.pipe = nil
	f.writer.wait(f.t)
}

// more waits until that many more changes were written.
func (f *feed) more(n int) {
	f.t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.truth)
	}
	want := count() + n
	waitFor(f.t, "changes to happen", func() bool { return count() >= want })
}

// end stops the feed and returns all that was written.
func (f *feed) end() map[string]string {
	f.t.Helper()
	f.mu.Lock()
	f.close()
	f.mu.Unlock()
	f.body.Close()
	<-f.ended
	f.simulator.stop(f.t, syscall.SIGTERM)
	return f.truth
}

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestJetstream runs weir behind a real Jetstream and a simulated network, and
// compares the topic, read by kcat, with what an independent client is served
// when it replays the whole stream.
func TestJetstream(t *testing.T) {
	if os.Getenv("WEIR_TEST_JETSTREAM") == "" {
		t.Skip("builds and runs the real Jetstream (three minutes): WEIR_TEST_JETSTREAM=1 go -C interop test -run Jetstream .")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Fatal("kcat is needed to recount the topics: install the package kcat")
	}
	bin := t.TempDir()
	build(t, ".", bin, "github.com/bluesky-social/jetstream/cmd/jetstream")
	build(t, ".", bin, "github.com/bluesky-social/jetstream/cmd/simulator")
	build(t, "..", bin, "./cmd/weir")
	for name, test := range map[string]func(*jetstream){
		"restarts":  (*jetstream).restarts,
		"TLS":       (*jetstream).behindTLS,
		"retention": (*jetstream).outOfRetention,
		"failover":  (*jetstream).failover,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newJetstream(t, bin))
		})
	}
}

// jetstream is a simulated network and what a Jetstream server of it needs.
type jetstream struct {
	t                           *testing.T
	bin, network, address, data string
	started                     time.Time
	simulator                   *process
}

func newJetstream(t *testing.T, bin string) *jetstream {
	j := &jetstream{t: t, bin: bin, data: t.TempDir(), started: time.Now(),
		network: "127.0.0.1:" + strconv.Itoa(freePort(t)), address: "127.0.0.1:" + strconv.Itoa(freePort(t))}
	j.simulator = start(t, "simulator", nil, filepath.Join(bin, "simulator"), "serve", "--addr", j.network,
		"--accounts", "200", "--commits-per-sec", "200", "--data-dir", t.TempDir())
	waitFor(t, "the simulated network", func() bool { return dials(j.network) })
	return j
}

// serve starts the server, with more settings of its own.
func (j *jetstream) serve(settings ...string) *process {
	j.t.Helper()
	p := start(j.t, "jetstream", append(settings, "JETSTREAM_RELAY_URL=http://"+j.network, "JETSTREAM_PLC_URL=http://"+j.network),
		filepath.Join(j.bin, "jetstream"), "serve", "--addr", j.address, "--data-dir", j.data)
	waitFor(j.t, "Jetstream", func() bool { return serves(j.t.Context(), j.address) })
	return p
}

func (j *jetstream) weir(url string) weir {
	return weir{t: j.t, bin: filepath.Join(j.bin, "weir"), data: j.t.TempDir(), url: url}
}

// restarts takes weir through restarts of both sides.
func (j *jetstream) restarts() {
	t := j.t
	server := j.serve()
	w := j.weir("ws://" + j.address + "/subscribe")
	up := w.up()
	w.grows(500)

	t.Log("Jetstream restarts in order")
	server.stop(t, syscall.SIGTERM)
	server = j.serve()
	w.grows(500)

	t.Log("Jetstream dies")
	server.stop(t, syscall.SIGKILL)
	server = j.serve()
	w.grows(500)

	t.Log("weir dies while events go on")
	up.stop(t, syscall.SIGKILL)
	up = w.up()
	w.grows(500)

	t.Log("weir restarts in order while Jetstream is away")
	server.stop(t, syscall.SIGTERM)
	up.stop(t, syscall.SIGINT)
	server = j.serve()
	up = w.up()
	w.grows(500)

	j.settle(&w)
	up.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)
}

// settle stops the network and checks that all that was said is stored and counted.
func (j *jetstream) settle(w *weir) {
	t := j.t
	t.Helper()
	t.Log("the network falls silent; all that was said arrives")
	j.simulator.stop(t, syscall.SIGTERM)
	truth, order := replay(t, j.address, j.started)
	kafka := w.stored(order[len(order)-1])
	order = onwards(order, truth, kafka)
	compare(t, truth, kafka)
	waitFor(t, fmt.Sprintf("all %d commits to be counted", len(order)), func() bool { return w.counted() >= int64(len(kafka)) })
	operations := map[string]int64{}
	for _, operation := range kafka {
		operations[operation]++
	}
	counts := w.counts()
	for operation, n := range operations {
		if counts[operation] != n {
			t.Errorf("weir counts %d %s, kcat sees %d", counts[operation], operation, n)
		}
	}
	w.verify()
	t.Logf("%d commits: %v", len(truth), operations)
}

// stored waits until an event is in the topic, and returns all that are.
func (w *weir) stored(id string) (kafka map[string]string) {
	w.t.Helper()
	waitFor(w.t, "the last event", func() bool {
		kafka = w.topic("bluesky-events")
		_, ok := kafka[id]
		return ok
	})
	return kafka
}

// onwards leaves out of truth what was said before weir first connected, which is live,
// and returns the order of the rest. Apache Kafka takes its time to start.
func onwards(order []string, truth, kafka map[string]string) []string {
	first := slices.IndexFunc(order, func(id string) bool { _, ok := kafka[id]; return ok })
	for _, id := range order[:first] {
		delete(truth, id)
	}
	return order[first:]
}

// compare says which identities are in one and not in the other.
func compare(t *testing.T, truth, kafka map[string]string) {
	t.Helper()
	var lost, extra int
	for id := range truth {
		if _, ok := kafka[id]; !ok {
			if lost++; lost <= 5 {
				t.Errorf("lost: %s", id)
			}
		}
	}
	for id := range kafka {
		if _, ok := truth[id]; !ok {
			if extra++; extra <= 5 {
				t.Errorf("in Kafka, and not replayed by Jetstream: %s", id)
			}
		}
	}
	if lost+extra > 0 {
		t.Errorf("%d lost, %d extra of %d", lost, extra, len(truth))
	}
}

// frame is what this test reads of an event, by encoding/json.
type frame struct {
	DID    string `json:"did"`
	Kind   string `json:"kind"`
	Commit struct {
		Rev        string `json:"rev"`
		Operation  string `json:"operation"`
		Collection string `json:"collection"`
		RKey       string `json:"rkey"`
	} `json:"commit"`
}

// identity returns the event's identity, empty for one that is no commit.
func identity(raw []byte) (id, operation string, err error) {
	var f frame
	if err := json.Unmarshal(raw, &f); err != nil {
		return "", "", fmt.Errorf("decode %.200q: %w", raw, err)
	}
	if f.Kind != "commit" {
		return "", "", nil
	}
	c := f.Commit
	return strings.Join([]string{f.DID, c.Rev, c.Collection, c.RKey, c.Operation}, " "), c.Operation, nil
}

// replay returns the operation of every commit since a time, by identity, as an
// independent client is served them, and their order. It ends when nothing has come for 5 s.
func replay(t *testing.T, address string, since time.Time) (truth map[string]string, order []string) {
	t.Helper()
	url := fmt.Sprintf("ws://%s/subscribe?cursor=%d", address, since.Add(-time.Hour).UnixMicro())
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("dial Jetstream: %v", err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	truth = map[string]string{}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, raw, err := conn.Read(ctx)
		cancel()
		if err != nil {
			if len(truth) == 0 {
				t.Fatalf("Jetstream replayed no commit: %v", err)
			}
			return truth, order
		}
		id, operation, err := identity(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, again := truth[id]; id != "" && !again {
			truth[id] = operation
			order = append(order, id)
		}
	}
}

// serves reports whether Jetstream takes subscribers: it answers 503 while it warms up.
func serves(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/subscribe", nil)
	if err != nil {
		return false
	}
	conn.CloseNow()
	return true
}

func dials(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

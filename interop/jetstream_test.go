package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestJetstream takes weir through restarts of both sides of a real Jetstream,
// and compares the topic, read by kcat, with what an independent client is
// served when it replays the whole stream.
func TestJetstream(t *testing.T) {
	if os.Getenv("WEIR_TEST_JETSTREAM") == "" {
		t.Skip("builds and runs the real Jetstream (two minutes): WEIR_TEST_JETSTREAM=1 go -C interop test ./...")
	}
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Fatal("kcat is needed to recount the topics: install the package kcat")
	}
	bin := t.TempDir()
	build(t, ".", bin, "github.com/bluesky-social/jetstream/cmd/jetstream")
	build(t, ".", bin, "github.com/bluesky-social/jetstream/cmd/simulator")
	build(t, "..", bin, "./cmd/weir")
	started := time.Now()

	network := "127.0.0.1:" + strconv.Itoa(freePort(t))
	simulator := start(t, "simulator", nil, filepath.Join(bin, "simulator"), "serve", "--addr", network,
		"--accounts", "200", "--commits-per-sec", "200", "--data-dir", t.TempDir())
	waitFor(t, "the simulated network", func() bool { return dials(network) })

	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	jetstreamData := t.TempDir()
	jetstream := func() *process {
		p := start(t, "jetstream", []string{"JETSTREAM_RELAY_URL=http://" + network, "JETSTREAM_PLC_URL=http://" + network},
			filepath.Join(bin, "jetstream"), "serve", "--addr", address, "--data-dir", jetstreamData)
		waitFor(t, "Jetstream", func() bool { return serves(t.Context(), address) })
		return p
	}
	server := jetstream()

	w := weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir(), url: "ws://" + address + "/subscribe"}
	up := w.up()
	w.grows(500)

	t.Log("Jetstream restarts in order")
	server.stop(t, syscall.SIGTERM)
	server = jetstream()
	w.grows(500)

	t.Log("Jetstream dies")
	server.stop(t, syscall.SIGKILL)
	server = jetstream()
	w.grows(500)

	t.Log("weir dies while events go on")
	up.stop(t, syscall.SIGKILL)
	up = w.up()
	w.grows(500)

	t.Log("weir restarts in order while Jetstream is away")
	server.stop(t, syscall.SIGTERM)
	up.stop(t, syscall.SIGINT)
	server = jetstream()
	up = w.up()
	w.grows(500)

	t.Log("the network falls silent; all that was said arrives")
	simulator.stop(t, syscall.SIGTERM)
	truth := replay(t, address, started)
	waitFor(t, fmt.Sprintf("all %d commits to be counted", len(truth)), func() bool { return w.counted() >= int64(len(truth)) })

	kafka := w.topic("bluesky-events")
	compare(t, truth, kafka)
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
	up.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)
	t.Logf("%d commits: %v", len(truth), operations)
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
// independent client is served them. It ends when nothing has come for 5 s.
func replay(t *testing.T, address string, since time.Time) map[string]string {
	t.Helper()
	url := fmt.Sprintf("ws://%s/subscribe?cursor=%d", address, since.Add(-time.Hour).UnixMicro())
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("dial Jetstream: %v", err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	truth := map[string]string{}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, raw, err := conn.Read(ctx)
		cancel()
		if err != nil {
			if len(truth) == 0 {
				t.Fatalf("Jetstream replayed no commit: %v", err)
			}
			return truth
		}
		id, operation, err := identity(raw)
		if err != nil {
			t.Fatal(err)
		}
		if id != "" {
			truth[id] = operation
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

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// TestKcat holds what weir says against librdkafka: the same events in the topics,
// the same counts, and events that another program writes are counted too.
func TestKcat(t *testing.T) {
	if os.Getenv("WEIR_TEST_KCAT") == "" {
		t.Skip("needs kcat: WEIR_TEST_KCAT=1 go test -run Kcat ./cmd/weir")
	}
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=500")
	cluster := start(t, env, "", "cluster")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	consume := start(t, env, "", "consume", "bluesky")
	produce := start(t, env, "", "produce", "bluesky")
	eventually(t, "events are counted", func() bool { return sum(counted(t, env)["bluesky"]) >= 500 })
	if code := produce.stop(t); code != cli.ExitOK {
		t.Fatalf("produce: exit code %d:\n%s", code, produce.stderr)
	}
	stdout, _, _ := weir(t, env, "brokers", "-o", "json")
	var brokers []struct{ Address string }
	if err := json.Unmarshal([]byte(stdout), &brokers); err != nil || len(brokers) != 3 {
		t.Fatalf("weir brokers printed %q: %v", stdout, err)
	}
	address := brokers[1].Address

	// Somebody else's record, without headers: the type is in the JSON.
	in := exec.Command("kcat", "-b", address, "-P", "-t", "bluesky-events", "-K", "|")
	in.Stdin = strings.NewReader("did:plc:x|{\"kind\":\"commit\",\"commit\":{\"operation\":\"borrow\"}}\ndid:plc:y|not json\n")
	if out, err := in.CombinedOutput(); err != nil {
		t.Fatalf("kcat -P: %v: %s", err, out)
	}

	out, err := exec.Command("kcat", "-b", address, "-C", "-t", "bluesky-events", "-o", "beginning", "-e", "-q",
		"-X", "isolation.level=read_committed", "-f", "%k\t%h\t%s\n").Output()
	if err != nil {
		t.Fatalf("kcat -C: %v", err)
	}
	seen := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		var value struct{ Commit struct{ Operation string } }
		operation := "(malformed)"
		if json.Unmarshal([]byte(fields[2]), &value) == nil {
			operation = value.Commit.Operation
		}
		seen[operation]++
		if operation != "borrow" && operation != "(malformed)" && !strings.Contains(fields[1], "kind="+operation) {
			t.Errorf("the header is not the operation: %s", line)
		}
		if !strings.HasPrefix(fields[0], "did:plc:") {
			t.Errorf("a key is no DID: %s", line)
		}
	}
	if seen["borrow"] != 1 || seen["(malformed)"] != 1 || seen["create"] < 400 {
		t.Fatalf("kcat reads %v", seen)
	}
	eventually(t, "all is counted", func() bool { return sum(counted(t, env)["bluesky"]) >= sum(seen) })
	for k, n := range counted(t, env)["bluesky"] {
		if seen[k] != n {
			t.Errorf("weir counts %d %s, kcat reads %d", n, k, seen[k])
		}
	}
	if code := consume.stop(t); code != cli.ExitOK {
		t.Errorf("consume: exit code %d:\n%s", code, consume.stderr)
	}
	report := verified(t, env)
	if n := report["bluesky"].(map[string]any)["foreign"].(float64); n != 2 {
		t.Errorf("verify saw %v events of other programs, want 2", n)
	}
}

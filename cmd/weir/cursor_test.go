package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
)

// TestCursorRebuild loses a source's cursor as a user can, and follows what weir says
// until everything is well again.
func TestCursorRebuild(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=500")
	cluster := start(t, env, "", "cluster", "--listen", "off")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	consume := start(t, env, "", "consume", "bluesky")
	produce := func(more int64) {
		t.Helper()
		before := sum(counted(t, env)["bluesky"])
		p := start(t, env, "", "produce", "bluesky")
		eventually(t, "more events are counted", func() bool { return sum(counted(t, env)["bluesky"]) >= before+more })
		if code := p.stop(t); code != cli.ExitOK {
			t.Fatalf("produce: exit code %d:\n%s", code, p.stderr)
		}
	}
	if _, stderr, code := weir(t, env, "cursor", "show", "bluesky"); code != cli.ExitRuntime || !strings.Contains(stderr, "has no cursor") {
		t.Errorf("show without a cursor: exit code %d:\n%s", code, stderr)
	}
	produce(300)
	if _, stderr, code := weir(t, env, "cursor", "rebuild", "bluesky", "--yes"); code != cli.ExitOK || !strings.Contains(stderr, "nothing to do") {
		t.Errorf("rebuild of a good cursor: exit code %d:\n%s", code, stderr)
	}
	good, _, _ := weir(t, env, "cursor", "show", "bluesky", "-o", "json")

	cl := dialOf(t, env, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "weir.cursors", Key: []byte("bluesky")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := weir(t, env, "produce", "bluesky")
	if code != cli.ExitRuntime || !strings.Contains(stderr, "has no cursor of bluesky") || !strings.Contains(stderr, "weir cursor rebuild bluesky") {
		t.Errorf("produce without its cursor: exit code %d:\n%s", code, stderr)
	}
	if stdout, _, code := weir(t, env, "verify"); code != cli.ExitFailed || !strings.Contains(stdout, "WRONG") {
		t.Errorf("verify without the cursor: exit code %d:\n%s", code, stdout)
	}
	_, stderr, code = weir(t, env, "cursor", "rebuild", "bluesky")
	if code != cli.ExitUsage || !strings.Contains(stderr, "add --yes") || !strings.Contains(stderr, "bluesky will go on after") {
		t.Errorf("rebuild that nobody confirms: exit code %d:\n%s", code, stderr)
	}
	if _, _, code := weir(t, env, "cursor", "show", "bluesky"); code != cli.ExitRuntime {
		t.Errorf("a cursor was written without a confirmation: exit code %d", code)
	}
	stdout, stderr, code := weir(t, env, "cursor", "rebuild", "bluesky", "--yes", "-o", "json")
	if code != cli.ExitOK {
		t.Fatalf("rebuild: exit code %d:\n%s", code, stderr)
	}
	var plan struct {
		Cursor struct{ Seqs map[string]int64 }
	}
	var was struct{ Seqs map[string]int64 }
	if json.Unmarshal([]byte(stdout), &plan) != nil || json.Unmarshal([]byte(good), &was) != nil ||
		was.Seqs["bluesky-events"] < 200 || plan.Cursor.Seqs["bluesky-events"] != was.Seqs["bluesky-events"] {
		t.Errorf("the cursor was\n%s\nand rebuild printed\n%s", good, stdout)
	}
	produce(300)
	verified(t, env)
	if code := consume.stop(t); code != cli.ExitOK {
		t.Errorf("consume: exit code %d:\n%s", code, consume.stderr)
	}
}

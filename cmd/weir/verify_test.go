package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
)

// dialOf connects a plain client to the brokers of the environment.
func dialOf(t *testing.T, env []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	stdout, stderr, _ := weir(t, env, "brokers", "-o", "json")
	var brokers []struct{ Address string }
	if err := json.Unmarshal([]byte(stdout), &brokers); err != nil || len(brokers) == 0 {
		t.Fatalf("weir brokers printed %q: %v\n%s", stdout, err, stderr)
	}
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers[0].Address))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestVerifyFails writes stored events again by hand, with the seq that they have:
// weir verify must fail, and count them.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	env := testEnv(t, "WEIR_RATE=300")
	up := start(t, env, "", "up", "--listen", "off")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	waitCounted(t, env, 50)
	verified(t, env)

	cl := dialOf(t, env, kgo.ConsumeTopics("bluesky-events"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var stored []*kgo.Record
	for len(stored) < 2 {
		f := cl.PollFetches(t.Context())
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		stored = append(stored, f.Records()...)
	}
	byHand := func(r *kgo.Record) {
		t.Helper()
		again := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: slices.Clone(r.Headers)}
		if err := cl.ProduceSync(t.Context(), again).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	byHand(stored[0])
	stdout, stderr, code := weir(t, env, "verify")
	if code != cli.ExitFailed || !strings.Contains(stdout, "WRONG") || strings.Contains(stderr, "nothing lost") {
		t.Errorf("weir verify after one record was written again: exit code %d\n%s%s", code, stdout, stderr)
	}
	byHand(stored[1])
	stdout, _, code = weir(t, env, "verify", "-o", "json")
	var report struct {
		OK      bool
		Bluesky struct {
			OK                        bool
			Doubled, Lost, Miscounted int64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if b := report.Bluesky; code != cli.ExitFailed || report.OK || b.OK || b.Doubled != 2 || b.Lost != 0 || b.Miscounted != 0 {
		t.Errorf("weir verify after two records were written again: exit code %d\n%s", code, stdout)
	}
}

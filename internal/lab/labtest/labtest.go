// Package labtest runs labs for real in tests.
package labtest

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/simulate"
)

// Perform runs an experiment on the engine that the environment asks for. It skips the test
// unless WEIR_TEST_LAB is set. The result does not depend on how busy the machine is, unless
// it is inconclusive.
func Perform(t *testing.T, e *lab.Experiment) *lab.Report {
	t.Helper()
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("runs for seconds to minutes: WEIR_TEST_LAB=1 go test ./internal/lab/...")
	}
	cfg := lab.Config{Dir: t.TempDir(), Version: "test", Log: slog.New(slog.DiscardHandler), Progress: func(s string) { t.Log(s) }}
	if os.Getenv("WEIR_TEST_KAFKA") == cluster.Apache {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Engine, cfg.KafkaCache, cfg.KafkaHome = cluster.Apache, filepath.Join(cache, "weir"), os.Getenv("KAFKA_HOME")
	}
	r, _, err := lab.Perform(t.Context(), cfg, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Measures {
		t.Logf("%-16s %-22s %10.1f %s", m.Case, m.Name, m.Value, m.Unit)
	}
	for _, c := range r.Checks {
		t.Logf("%s: %s: %s: want %s, got %s", c.Verdict, c.Case, c.Claim, c.Want, c.Got)
	}
	t.Logf("%s: %s", r.Verdict, r.Reason)
	return r
}

// LiveServer starts a Jetstream of posts that the lab does not know from inside, because it
// dials it over a real WebSocket, and returns its URL.
func LiveServer(t *testing.T, rate float64) string {
	t.Helper()
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("measures for some seconds: WEIR_TEST_LAB=1 go test -run Live ./internal/lab/...")
	}
	tl, err := simulate.OpenTimeline(simulate.TimelineConfig{World: "bluesky:7", Rate: rate, Variant: simulate.MixOf([]string{"app.bsky.feed.post"})})
	if err != nil {
		t.Fatal(err)
	}
	server, err := simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(7), Timeline: tl})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ctx, ln) })
	t.Cleanup(func() {
		stop()
		_ = server.Close()
		wg.Wait()
		_ = tl.Close()
	})
	return "ws://" + ln.Addr().String() + "/subscribe"
}

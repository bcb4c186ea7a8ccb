package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What franz-go's tests ask for and the embedded cluster does not have: topics of the
// brokers' own, such as __consumer_offsets (DESIGN.md, the table of differences).
const franzSkips = "^(TestConsumeRegex|TestConsumeRegexShareSkipsInternal|Test848RegexBrokerResolves)$"

// TestFranz runs the integration tests of franz-go, at the version that weir is built
// with, against the embedded cluster.
func TestFranz(t *testing.T) {
	if os.Getenv("WEIR_TEST_FRANZ") == "" {
		t.Skip("takes a minute: WEIR_TEST_FRANZ=1 go -C interop test -run Franz .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	c := clients{weir: weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}}
	c.start("embedded")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-skip", franzSkips, "github.com/twmb/franz-go/pkg/kgo")
	cmd.Dir = ".." // of the module that names the version
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+c.brokers, "KGO_TEST_RECORDS=50000", "KGO_LOG_LEVEL=none")
	raw, err := cmd.CombinedOutput()
	out := string(raw)
	var failed []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "--- FAIL") || strings.Contains(line, "_test.go:") && !strings.Contains(line, "deleting ") {
			failed = append(failed, line)
		}
	}
	if err != nil {
		t.Errorf("franz-go's tests: %v\n%s\n%s", err, strings.Join(failed, ""), out[max(0, len(out)-2000):])
	}
	// They skip what they take the cluster not to offer.
	for _, name := range []string{"TestTxnEtl", "TestTxnEtl/cooperative-sticky/static", "TestGroupETL", "TestGroupETL/sticky/848", "TestGroupETL/sticky/848/static", "TestTxnEtl/sticky/848/static", "TestShareGroupETL", "TestClient_Produce"} {
		if !strings.Contains(out, "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}

package cli

import (
	"fmt"
	"testing"

	"github.com/weir-project/weir/internal/tally"
)

func TestExitCodeOfAPolicy(t *testing.T) {
	if got := ExitCode(fmt.Errorf("open: %w", &tally.PolicyError{Addr: "x", Policy: "allkeys-lru"})); got != ExitRuntime {
		t.Errorf("a Redis that evicts: exit code %d, want %d", got, ExitRuntime)
	}
}

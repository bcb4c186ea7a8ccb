package main

import (
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/weir-project/weir/internal/cli"
)

// TestLearnCounterRefuses: the counter names what it does not know before it counts anything.
func TestLearnCounterRefuses(t *testing.T) {
	s := newGroupShell(t)
	s.fails(cli.ExitUsage, "", []string{"learn", "counter", "twice"}, `"twice"`, "at-least-once, exactly-once")
	s.fails(cli.ExitRuntime, "", []string{"learn", "counter", "exactly-once", "--topic", "nothing", "--redis",
		"redis://" + miniredis.RunT(t).Addr() + "/1"}, `topic "nothing"`, "weir topics")
}

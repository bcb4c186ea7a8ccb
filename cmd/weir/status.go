package main

import (
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// statusText is the status line of a stream: rate first, because it is what changes, in columns
// that stay where they are.
func statusText(s node.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s ", s.Name)
	if s.Simulated {
		b.WriteString("(simulated) ")
	}
	fmt.Fprintf(&b, "%8s/s", cli.RateText(s.Rate))
	if s.Total >= 0 {
		fmt.Fprintf(&b, "  total %13s", cli.Thousands(s.Total))
	}
	if s.Lag >= 0 {
		fmt.Fprintf(&b, "  lag %7s", cli.Thousands(s.Lag))
	}
	if s.Capacity > 0 {
		fmt.Fprintf(&b, "  queue %3d%%", (100*s.Queued+s.Capacity-1)/s.Capacity)
	}
	if s.State != "" {
		if s.Trouble {
			b.WriteString("  ! ")
		} else {
			b.WriteString("  ")
		}
		b.WriteString(visible.Text(s.State))
	}
	return b.String()
}

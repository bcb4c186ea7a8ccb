package main

import (
	"testing"
	"time"

	"github.com/weir-project/weir/internal/node"
)

func TestStatusLines(t *testing.T) {
	for _, c := range []struct {
		s    node.Status
		want string
	}{
		{node.Status{Name: "bluesky", Rate: 412.3, Total: 1234567, Lag: 12, Queued: 30, Capacity: 50000, State: "jetstream:443, reconnected 3m ago"},
			"bluesky        412/s  total     1,234,567  lag      12  queue   1%  jetstream:443, reconnected 3m ago"},
		{node.Status{Name: "wikipedia", Rate: 3.25, Total: 99, Lag: 0, Capacity: 10, State: "stream.wikimedia.org:443"},
			"wikipedia      3.2/s  total            99  lag       0  queue   0%  stream.wikimedia.org:443"},
		{node.Status{Name: "bluesky", Simulated: true, Total: -1, Lag: -1, Queued: 10, Capacity: 10, State: "stopped: 403 \x1b[2J", Trouble: true},
			`bluesky   (simulated)      0.0/s  queue 100%  ! stopped: 403 \x1b[2J`},
		{node.Status{Name: "bluesky", Rate: 100, Total: 7, Lag: 0, Capacity: 10, P50: 13_600 * time.Microsecond, P99: 25 * time.Millisecond, State: "jetstream:443"},
			"bluesky        100/s  total             7  lag       0  queue   0%  p50/p99 14/25 ms  jetstream:443"},
		{node.Status{Name: "wikipedia", Rate: 99999.6, Total: 5, Lag: -1, State: "group mine"},
			"wikipedia  100,000/s  total             5  group mine"},
	} {
		if got := statusText(c.s); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

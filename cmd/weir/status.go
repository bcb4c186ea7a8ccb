package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/visible"
)

// stream is what the status line of one stream shows at one moment.
type stream struct {
	name      string
	simulated bool
	// rate is events per second over the last seconds, committed to Kafka, or
	// counted where nothing is produced.
	rate float64
	// total is what is counted so far, over all runs; negative is unknown.
	total int64
	// lag is how many events of the topic are not counted yet; negative is unknown.
	lag int64
	// queued and capacity are of the queue between socket and Kafka, in events;
	// no capacity, no queue.
	queued, capacity int
	// state says in words how the stream is doing: connected to whom since
	// when, waiting for what, stopped why.
	state   string
	trouble bool // the state needs attention
}

// text is the status line: rate first, because it is what changes, in columns
// that stay where they are.
func (s stream) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s ", s.name)
	if s.simulated {
		b.WriteString("(simulated) ")
	}
	fmt.Fprintf(&b, "%8s/s", cli.RateText(s.rate))
	if s.total >= 0 {
		fmt.Fprintf(&b, "  total %13s", cli.Thousands(s.total))
	}
	if s.lag >= 0 {
		fmt.Fprintf(&b, "  lag %7s", cli.Thousands(s.lag))
	}
	if s.capacity > 0 {
		fmt.Fprintf(&b, "  queue %3d%%", (100*s.queued+s.capacity-1)/s.capacity)
	}
	if s.state != "" {
		if s.trouble {
			b.WriteString("  ! ")
		} else {
			b.WriteString("  ")
		}
		b.WriteString(visible.Text(s.state))
	}
	return b.String()
}

// Intervals of the status lines: redrawn in place on a terminal, and one plain
// line a stream on anything else.
const (
	redrawEvery = 500 * time.Millisecond
	plainEvery  = 10 * time.Second
	rateWindow  = 5 * time.Second
)

// rateMeter turns a counter that only grows into a rate over a short window.
type rateMeter struct {
	at    []time.Time
	count []int64
}

// observe notes the counter's value at a time and returns the rate per second.
func (r *rateMeter) observe(now time.Time, count int64) float64 {
	r.at, r.count = append(r.at, now), append(r.count, count)
	// One sample older than the window stays, so that the rate always covers it.
	for len(r.at) > 2 && now.Sub(r.at[1]) >= rateWindow {
		r.at, r.count = r.at[1:], r.count[1:]
	}
	span := now.Sub(r.at[0])
	if span <= 0 {
		return 0
	}
	return float64(count-r.count[0]) / span.Seconds()
}

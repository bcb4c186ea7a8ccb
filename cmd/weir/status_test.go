package main

import (
	"testing"
	"time"
)

func TestStatusLines(t *testing.T) {
	for _, c := range []struct {
		s    stream
		want string
	}{
		{stream{name: "bluesky", rate: 412.3, total: 1234567, lag: 12, queued: 30, capacity: 50000, state: "jetstream:443, reconnected 3m ago"},
			"bluesky        412/s  total     1,234,567  lag      12  queue   1%  jetstream:443, reconnected 3m ago"},
		{stream{name: "wikipedia", rate: 3.25, total: 99, lag: 0, capacity: 10, state: "stream.wikimedia.org:443"},
			"wikipedia      3.2/s  total            99  lag       0  queue   0%  stream.wikimedia.org:443"},
		{stream{name: "bluesky", simulated: true, total: -1, lag: -1, queued: 10, capacity: 10, state: "stopped: 403 \x1b[2J", trouble: true},
			`bluesky   (simulated)      0.0/s  queue 100%  ! stopped: 403 \x1b[2J`},
		{stream{name: "wikipedia", rate: 99999.6, total: 5, lag: -1, state: "group mine"},
			"wikipedia  100,000/s  total             5  group mine"},
	} {
		if got := c.s.text(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestRateMeter(t *testing.T) {
	var r rateMeter
	at := time.Unix(1_000_000, 0)
	if got := r.observe(at, 1000); got != 0 {
		t.Errorf("a first sample says %v/s", got)
	}
	for range 20 { // 100 a second, seen every half second
		at = at.Add(500 * time.Millisecond)
		r.observe(at, 1000+int64(at.Sub(time.Unix(1_000_000, 0)).Seconds()*100))
	}
	if got := r.observe(at.Add(500*time.Millisecond), 2050); got < 99 || got > 101 {
		t.Errorf("a steady 100/s shows as %v/s", got)
	}
	for i := 1; i <= 12; i++ { // silence
		at = at.Add(500 * time.Millisecond)
		if got := r.observe(at.Add(500*time.Millisecond), 2050); i == 12 && got != 0 {
			t.Errorf("after six seconds of silence: %v/s", got)
		}
	}
	if len(r.at) > 16 {
		t.Errorf("%d samples are kept", len(r.at))
	}
}

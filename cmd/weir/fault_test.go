package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cluster"
)

// TestTheStatusNamesTheFault: while the disk is full, clients find out only that no
// broker answers. The status names the disk and the way out.
func TestTheStatusNamesTheFault(t *testing.T) {
	t.Parallel()
	a := newApp(nil, strings.NewReader(""), newOutput(), newOutput())
	var fault error
	p := &pipeline{app: a, target: &target{kafka: []string{"127.0.0.1:1"}}, fault: func() error { return fault }}
	if err := p.produce(sources[0], &sourceFlags{}); err != nil {
		t.Fatal(err)
	}
	status := func() (string, string) {
		line := p.lines[0].stream(time.Now())
		return line.text(), p.local()[sources[0].name].Trouble
	}
	if text, trouble := status(); strings.Contains(text, "!") || trouble != "" {
		t.Errorf("without a fault the status is %q and %q", text, trouble)
	}
	const want = "waiting for Kafka: the disk of /data is full (12 kB free): free some space, or enlarge the disk (no space left on device)"
	fault = &cluster.DiskError{Dir: "/data", Free: 12 << 10, Err: errors.New("no space left on device")}
	if text, trouble := status(); !strings.HasSuffix(text, "! "+want) || trouble != want {
		t.Errorf("the status is %q and %q, want %q", text, trouble, want)
	}
	if err := (*engine)(nil).fault(); err != nil {
		t.Errorf("brokers of another process: %v", err)
	}
}

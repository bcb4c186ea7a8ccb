package watch

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// TestTheFaultOfTheBrokersIsTheProblem: what the brokers report about themselves is
// shown instead of what their silence looks like, and logged once, although the
// free space in the text changes.
func TestTheFaultOfTheBrokersIsTheProblem(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	insp, err := inspect.New(inspect.Config{Client: cl})
	if err != nil {
		t.Fatal(err)
	}
	var fault atomic.Pointer[error]
	w, err := New(Config{Inspector: insp, Interval: 10 * time.Millisecond, Fault: func() error {
		if f := fault.Load(); f != nil {
			return *f
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(run) }()
	defer func() { stop(); <-done }()
	until := func(want string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for s := w.State(); s == nil || s.Time == 0 || s.Cluster.Error != want; s = w.State() {
			if time.Now().After(deadline) {
				t.Fatalf("the problem is %q, want %q", s.Cluster.Error, want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("")
	for _, text := range []string{"the disk of /data is full (12 kB free): enlarge it", "the disk of /data is full (3 MB free): enlarge it"} {
		err := errors.New(text)
		fault.Store(&err)
		until(text)
	}
	fault.Store(nil)
	until("")
	var texts []string
	for _, e := range w.Log(100) {
		if e.Kind == LogError || e.Text == "the cluster answers again" {
			texts = append(texts, e.Text)
		}
	}
	if want := []string{"the disk of /data is full (12 kB free): enlarge it", "the cluster answers again"}; !slices.Equal(texts, want) {
		t.Errorf("the log is %q, want %q", texts, want)
	}
}

package watch

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// blackHole is a network in which one address stops to answer: connections stay
// open, what is sent is taken, and nothing ever comes back.
type blackHole struct {
	silent    atomic.Pointer[string]
	swallowed atomic.Int64 // bytes: the proof that it was asked
}

type holed struct {
	net.Conn
	hole *blackHole
	addr string
}

func (b *blackHole) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &holed{c, b, addr}, nil
}

func (c *holed) silent() bool {
	s := c.hole.silent.Load()
	return s != nil && *s == c.addr
}

// Read loses what was under way when the address fell silent.
func (c *holed) Read(p []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(p); err != nil || !c.silent() {
			return n, err
		}
	}
}

func (c *holed) Write(p []byte) (int, error) {
	if c.silent() {
		c.hole.swallowed.Add(int64(len(p)))
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// One of three brokers is silent: what the others know is shown and goes on, what it
// alone knows stays as of before, and the state says whose fault that is.
func TestABrokerThatDoesNotAnswerHoldsUpNothing(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(1, "a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const patience = 300 * time.Millisecond
	hole := &blackHole{}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(hole.dial), kgo.RequestTimeoutOverhead(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	healthy, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer healthy.Close()
	insp, err := inspect.New(inspect.Config{Client: cl, Timeout: 2 * patience})
	if err != nil {
		t.Fatal(err)
	}
	for i, topic := range []string{"a", "b", "c"} {
		if err := c.MoveTopicPartition(topic, 0, int32(i)); err != nil {
			t.Fatal(err)
		}
	}
	const groups = 12 // enough that each broker coordinates some
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	adm := kadm.NewClient(healthy)
	for i := range groups {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "a", Partition: 0, At: 0, LeaderEpoch: -1})
		if err := adm.CommitAllOffsets(ctx, fmt.Sprintf("group-%d", i), offsets); err != nil {
			t.Fatal(err)
		}
	}
	write := func(topics ...string) {
		t.Helper()
		for _, topic := range topics {
			if err := healthy.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("a", "b", "c")
	w, err := New(Config{Inspector: insp, Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(run) }()
	defer func() { stop(); <-done }()
	until := func(what string, ok func(*State) bool) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !ok(w.State()) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("never saw %s; the state is %s", what, w.Snapshot())
			}
		}
	}
	until("everything", func(s *State) bool {
		return len(s.Topics) == 3 && len(s.Groups) == groups && s.Topics["a"].Messages == 1 && s.Topics["b"].Messages == 1 && len(s.Cluster.Brokers) == 3 && s.Cluster.Error == ""
	})

	silent := c.ListenAddrs()[0] // it leads a
	hole.silent.Store(&silent)
	write("a", "b", "c", "b", "c")
	until("b and c going on", func(s *State) bool {
		return s.Topics["b"].Messages == 3 && s.Topics["c"].Messages == 3 && strings.Contains(s.Cluster.Error, "broker 0 does not answer")
	})
	asked := time.Now().UnixMilli()
	until("the groups, asked again and all of them there", func(s *State) bool {
		return s.Cluster.GroupsTime > asked && len(s.Groups) == groups
	})
	s := w.State()
	if s.Topics["a"].Messages != 1 || s.Topics["a"].Error == "" || s.Topics["b"].Error != "" {
		t.Errorf("a is %+v, b is %+v", s.Topics["a"], s.Topics["b"])
	}
	before := 0
	for _, g := range s.Groups {
		if strings.Contains(g.Error, "last known state") {
			before++
		}
	}
	if before == 0 || before == groups {
		t.Errorf("%d of %d groups are told to be of before: those of the silent broker should", before, groups)
	}
	for _, e := range w.Log(maxLog) {
		if strings.Contains(e.Text, "is gone") || strings.Contains(e.Text, "deleted") || strings.Contains(e.Text, "left") {
			t.Errorf("the log says %q", e.Text)
		}
	}
	if hole.swallowed.Load() == 0 {
		t.Error("the silent broker was never asked: the test proves nothing")
	}

	hole.silent.Store(nil)
	until("all of it again", func(s *State) bool { return s.Cluster.Error == "" && s.Topics["a"].Messages == 2 })
	until("the groups, without remarks", func(s *State) bool {
		for _, g := range s.Groups {
			if g.Error != "" {
				return false
			}
		}
		return len(s.Groups) == groups
	})
}

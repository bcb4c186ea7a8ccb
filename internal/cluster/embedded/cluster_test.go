package embedded

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestRecordsSurviveAClose(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 2, nil)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "t", 0, "a", "b")
	produce(t, cl, "t", 1, "c")
	cl.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("a second Close: %v", err)
	}

	c = open(t, Config{Dir: dir})
	if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("partition 0 holds %q", got)
	}
	if got := consume(t, c.Addrs(), "t", 1); !slices.Equal(got, []string{"c"}) {
		t.Errorf("partition 1 holds %q", got)
	}
}

func TestTopicsAreNotCreatedByAskingForThem(t *testing.T) {
	c := open(t, Config{})
	cl := client(t, c.Addrs())
	adm := kadm.NewClient(cl)
	topics, err := adm.ListTopics(testCtx(t), "nobody-made-this")
	if err != nil {
		t.Fatal(err)
	}
	if err := topics["nobody-made-this"].Err; err == nil {
		t.Error("asking for a topic made it")
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	_, err = Open(testCtx(t), Config{Dir: dir, Addrs: []string{"127.0.0.1:0", ln.Addr().String(), "127.0.0.1:0"}})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), ln.Addr().String()+": another program uses this port") {
		t.Fatalf("error %v does not name %s as taken", err, ln.Addr())
	}
	// The directory is free again, and not marked as if a run had died in it.
	c := open(t, Config{Dir: dir})
	if c.dir.unclean {
		t.Error("a start that failed at a port left the mark of a crash")
	}
}

func TestAddresses(t *testing.T) {
	for _, addrs := range [][]string{
		{"127.0.0.1:0"},
		{"127.0.0.1:0", "127.0.0.1", "127.0.0.1:0"},
		{"127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:0"},
		{"127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:0"},
		{"127.0.0.1:0", "no.such.host.invalid:0", "127.0.0.1:0"},
	} {
		if c, err := Open(testCtx(t), Config{Addrs: addrs}); err == nil {
			_ = c.Close()
			t.Errorf("addresses %q were accepted", addrs)
		}
	}
	c := open(t, Config{})
	seen := map[string]bool{}
	for _, a := range c.Addrs() {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "0" || seen[a] {
			t.Errorf("address %q", a)
		}
		seen[a] = true
	}
	bs, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	controllers := 0
	for i, b := range bs {
		if b.ID != int32(i) || !b.Alive || b.Addr != c.Addrs()[i] {
			t.Errorf("broker %d: %+v", i, b)
		}
		if b.ID == c.controllerID() {
			controllers++
		}
	}
	if controllers != 1 {
		t.Errorf("%d controllers", controllers)
	}
}

func TestAfterClose(t *testing.T) {
	c, err := Open(testCtx(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(testCtx(t), 0); err == nil {
		t.Error("a closed cluster's broker was killed")
	}
	if _, err := c.Brokers(t.Context()); err == nil {
		t.Error("a closed cluster described its brokers")
	}
	if err := c.Restart(testCtx(t), 0); err == nil {
		t.Error("a closed cluster's broker was restarted")
	}
	if _, err := net.Dial("tcp", c.Addrs()[0]); err == nil {
		t.Error("a closed cluster accepts connections")
	}
}

// The module's own cleaner must never run: it compacts in place, and its retention
// empties partitions and drops cursors.
func TestTheModuleDoesNotClean(t *testing.T) {
	c := open(t, Config{})
	cfgs, err := kadm.NewClient(client(t, c.Addrs())).DescribeBrokerConfigs(testCtx(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, kv := range cfgs[0].Configs {
		if kv.Key == "log.cleaner.backoff.ms" {
			ms, err := strconv.ParseInt(kv.MaybeValue(), 10, 64)
			found = found || err == nil && time.Duration(ms)*time.Millisecond > 10*365*24*time.Hour
		}
	}
	if !found {
		t.Errorf("the cleaner's interval is not years: %+v", cfgs[0].Configs)
	}
}

func TestProgressIsToldAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said lines
		p := newProgress(said.add)
		p.say("reading 5 MB of log")
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if got := said.get(); len(got) != 0 {
			t.Errorf("said %q within the first second", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := said.get(); len(got) != 2 || got[0] != "reading 5 MB of log (1 s)" {
			t.Errorf("said %q in two seconds", got)
		}
		p.stop()
	})
}

// Everything runs in a bubble of testing/synctest over a virtual network, as tests
// of other packages want it.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := newCluster(t.Context(), config{Config: Config{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}, listen: network.Listen})
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.Dialer(network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, -1, nil, "t"); err != nil {
			t.Error(err)
		}
		if err := c.Kill(t.Context(), 2); err != nil {
			t.Error(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err == nil {
			t.Error("a record without a topic was produced")
		}
		for i := range 10 {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte{byte(i)}}).FirstErr(); err != nil {
				t.Error(err)
			}
		}
		cl.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestCheckBuild: a program that was built without the brokers' other way to open files says so
// before it loses anything, and how to build one that works.
func TestCheckBuild(t *testing.T) {
	if err := checkBuild("linux"); err != nil {
		t.Errorf("on Linux: %v", err)
	}
	if err := checkBuild("windows"); err == nil || !strings.Contains(err.Error(), "go run ./ops/dist") {
		t.Errorf("on Windows, built with go build: %v", err)
	}
}

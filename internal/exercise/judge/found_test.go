package judge

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/exercise/program"
)

// The reason and the hint follow what the program printed last.
func TestWhyEnded(t *testing.T) {
	failed := program.Exit{Code: 1}
	for _, x := range []struct {
		output []string
		exit   program.Exit
		want   string
	}{
		{[]string{"  File \"main.py\", line 34", "    while running", "SyntaxError: expected ':'"}, failed, "not valid"},
		{[]string{"ModuleNotFoundError: No module named 'websockets'"}, failed, "not installed"},
		{[]string{"Error: Cannot find module 'kafkajs'", "    at Function.load", "Node.js v20.20.2"}, failed, "not installed"},
		{[]string{"KeyError: 'KAFKA_BROKERS'"}, failed, "no variable KAFKA_BROKERS"},
		{[]string{"KeyError: 'commit'"}, failed, "An error that the program does not handle"},
		{[]string{"ConnectionRefusedError: [Errno 111] Connection refused"}, failed, "No server listens"},
		{[]string{"2026/11/29 dial tcp 127.0.0.1:9092: connect: connection refused"}, failed, "No server listens"},
		{nil, program.Exit{}, "until it is asked to stop, because a stream has no end"},
		{nil, program.Exit{Code: -1, Signal: "killed"}, "An error that the program does not handle"},
	} {
		why, hint := whyEnded(complaint(x.output, x.exit), x.exit)
		if !strings.Contains(why, x.want) || hint == "" {
			t.Errorf("%q, %v: %q, %q", x.output, x.exit, why, hint)
		}
	}
}

// A client that waits no longer for a change that was stopped is noticed; one that weir itself
// cuts off is not.
func TestProxyLeft(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		redis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer redis.Close()
		p, err := openProxy("127.0.0.1:0", redis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		stopped := p.Before()
		client, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write([]byte("*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n")); err != nil {
			t.Fatal(err)
		}
		<-stopped
		if p.Left() {
			t.Error("the client has left before it did")
		}
		if leaves {
			_ = client.Close()
			for deadline := time.Now().Add(time.Minute); !p.Left(); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a client that has left is not noticed")
				}
			}
		}
		if err := p.Close(); err != nil { // waits for all connections
			t.Error(err)
		}
		if p.Left() != leaves {
			t.Errorf("left: %v, want %v", p.Left(), leaves)
		}
	}
}

// A program that counted few events is not taken for one that began at the end of the topic.
func TestOnlyLate(t *testing.T) {
	want, late := Counts{"create": 1915, "update": 24, "delete": 61}, Counts{"create": 480, "update": 6, "delete": 14}
	for _, x := range []struct {
		counts Counts
		only   bool
	}{
		{late, true},
		{Counts{"create": 472, "update": 6, "delete": 12}, true},
		{Counts{"create": 348, "update": 3, "delete": 14}, false}, // the events of one partition
		{Counts{"create": 490, "update": 6, "delete": 14}, false}, // more than there are
	} {
		if got := onlyLate(x.counts, late, want); got != x.only {
			t.Errorf("%v: %v", x.counts, got)
		}
	}
}

// Only a program that wrote slowly until its end was too slow.
func TestBehind(t *testing.T) {
	begun := time.Unix(1_800_000_000, 0)
	stored := func(n int, last time.Duration) []arrived {
		all := make([]arrived, n)
		all[n-1].at = begun.Add(last)
		return all
	}
	for _, x := range []struct {
		all       []arrived
		end       time.Duration
		perSecond float64
		late      bool
	}{
		{stored(3000, 60*time.Second), 60 * time.Second, 50, true},
		{stored(2400, 10*time.Second), 10 * time.Second, 240, false},
		{stored(500, 2*time.Second), 60 * time.Second, 0, false}, // it waited for something
		{nil, 60 * time.Second, 0, false},
	} {
		if per, late := behind(x.all, begun, begun.Add(x.end)); per != x.perSecond || late != x.late {
			t.Errorf("%d records in %v: %v, %v", len(x.all), x.end, per, late)
		}
	}
}

func TestShort(t *testing.T) {
	for key, want := range map[string]string{
		"did:plc:46lgfyzuokd6qkhjgjaylnjl": "did:plc:46lgfyzuokd6qkhjgjaylnjl",
		strings.Repeat("é", 100):           strings.Repeat("é", 60) + "…",
	} {
		if got := short(key); got != want {
			t.Errorf("%q: %q", key, got)
		}
	}
}

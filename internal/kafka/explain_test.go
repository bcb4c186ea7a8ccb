package kafka

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// place is a partition on brokers 1 to 3.
func place(topic string, leader int32, isr ...int32) kadm.TopicDetail {
	return kadm.TopicDetail{Topic: topic, Partitions: kadm.PartitionDetails{
		0: {Topic: topic, Leader: leader, Replicas: []int32{1, 2, 3}, ISR: isr},
	}}
}

// TestExplain holds what a person is told against what the cluster was found to be.
// That it is found on real brokers that die is TestApacheFailover's to show.
func TestExplain(t *testing.T) {
	all, two, one := map[int32]bool{1: true, 2: true, 3: true}, map[int32]bool{1: true, 3: true, 2: false}, map[int32]bool{1: true, 2: false, 3: false}
	for _, tt := range []struct {
		name   string
		topics []kadm.TopicDetail
		alive  map[int32]bool
		want   string
	}{
		{name: "all is well", topics: []kadm.TopicDetail{place("t", 1, 1, 2, 3)}, alive: all},
		{name: "a follower died", topics: []kadm.TopicDetail{place("t", 1, 1, 2, 3)}, alive: two},
		{"the leader died", []kadm.TopicDetail{place("t", 2, 1, 2, 3)}, two,
			"broker 2 does not answer, and its partitions have no new leader yet; it goes on by itself when Kafka has moved them, which takes some seconds"},
		// The controllers died with the brokers: nobody takes them out of the ISR any more.
		{"two died at once", []kadm.TopicDetail{place("t", 1, 1, 2, 3)}, one,
			"not enough in-sync replicas: 2 must have a record (min.insync.replicas) and 1 can, because brokers 2 and 3 do not answer; start one again (weir brokers restart 2, where weir runs them), and it goes on by itself"},
		{"two died, and were taken out", []kadm.TopicDetail{place("t", 1, 1)}, one,
			"not enough in-sync replicas: 2 must have a record (min.insync.replicas) and 1 can, because brokers 2 and 3 do not answer; start one again (weir brokers restart 2, where weir runs them), and it goes on by itself"},
		{"one is back and lags", []kadm.TopicDetail{place("t", 1, 1)}, all,
			"not enough in-sync replicas: 2 must have a record (min.insync.replicas) and 1 of 3 can at partition 0 of t; all brokers answer, and it goes on by itself when those that lag have caught up"},
		{"Kafka's own topic", []kadm.TopicDetail{place("t", 1, 1, 2, 3), place("__transaction_state", -1)}, all,
			"not enough in-sync replicas: 2 must have a record (min.insync.replicas) and 0 of 3 can at partition 0 of __transaction_state; all brokers answer, and it goes on by itself when those that lag have caught up"},
		{"nobody leads", []kadm.TopicDetail{place("t", -1, 1, 2)}, all,
			"partition 0 of t has no leader; it goes on by itself when a replica of it is back: see what its brokers print"},
		{"deleted", []kadm.TopicDetail{{Topic: "t", Err: kerr.UnknownTopicOrPartition}}, all,
			"the topic t does not exist, so it was deleted; the next weir up or weir cluster creates it, and what is then in it is counted after weir groups leave, reset and join"},
		{"the cursors are deleted", []kadm.TopicDetail{place("t", 1, 1, 2, 3), {Topic: "weir.cursors", Err: kerr.UnknownTopicOrPartition}}, all,
			"the topic weir.cursors does not exist, so it was deleted; the next weir up or weir cluster creates it, and weir cursor rebuild bluesky (or wikipedia) then makes the cursor again from the other topics"},
		{"the dead letters are deleted", []kadm.TopicDetail{place("t", 1, 1, 2, 3), {Topic: "weir.dead-letters", Err: kerr.UnknownTopicOrPartition}}, all,
			"the topic weir.dead-letters does not exist, so it was deleted; the next weir up or weir cluster creates it, and the stream then goes on; the dead letters that it had are lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := state{topics: []string{"t"}, md: kadm.Metadata{Topics: kadm.TopicDetails{}}, alive: tt.alive, least: map[string]int{"t": 2, "__transaction_state": 2}}
			for _, d := range tt.topics {
				s.md.Topics[d.Topic] = d
				if strings.HasPrefix(d.Topic, "weir.") {
					s.topics = append(s.topics, d.Topic)
				}
			}
			u := s.worst()
			switch {
			case u == nil && tt.want != "":
				t.Errorf("nothing is said, want %q", tt.want)
			case u != nil && u.Error() != tt.want:
				t.Errorf("said is %q, want %q", u.Error(), tt.want)
			}
		})
	}
}

// TestExplainNobody asks where nobody listens.
func TestExplainNobody(t *testing.T) {
	u, ok := Explain(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}, Opts: []kgo.Opt{kgo.RetryTimeout(1)}}, "t").(*UnavailableError)
	if !ok || !strings.HasPrefix(u.Cause, "no broker answers") {
		t.Errorf("said is %v", u)
	}
}

// TestExplainDescriptors: brokers are not blamed for what this process may not open.
func TestExplainDescriptors(t *testing.T) {
	full := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	u, ok := Explain(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}, Opts: []kgo.Opt{kgo.Dialer(full), kgo.RetryTimeout(1)}}, "t").(*UnavailableError)
	if !ok || !strings.Contains(u.Cause, "too many open files") || !strings.Contains(u.Out, "ulimit -n") {
		t.Errorf("said is %v", u)
	}
}

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reasons of an UnavailableError.
const (
	ReasonNoBroker = "no broker answers"
	ReasonReplicas = "not enough in-sync replicas"
	ReasonNoLeader = "no leader"
	ReasonNoTopic  = "no such topic"

	ReasonTransaction = "a transaction does not end"
)

// UnavailableError says why a cluster does not take or give records at present.
type UnavailableError struct {
	// Reason is one of the constants above.
	Reason string
	// Cause says what is so, Out what ends it.
	Cause, Out string
}

func (e *UnavailableError) Error() string { return e.Cause + "; " + e.Out }

// LogWaiting is the message of every log line about a Kafka that does not work at present.
// All parts of the program use the same message, so that the log shows it once.
const LogWaiting = "waiting for Kafka; nothing is lost, it goes on by itself"

const (
	// explainTimeout bounds the whole of Explain, answerTimeout how long a broker may
	// take to answer before it counts as one that does not.
	explainTimeout = 4 * time.Second
	answerTimeout  = time.Second
)

// Explain finds out why the cluster does not accept or return records of the topics. It
// asks which brokers answer, which of them lead, how many replicas are in sync, and how
// many have to be. Error codes do not show this: a leader that waits for a replica which
// was killed reports a timeout, and a killed leader reports nothing. The result is an
// *UnavailableError, or nil where the cluster looks well. It takes at most 4 s.
func Explain(ctx context.Context, c Config, topics ...string) error {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	cl, err := c.NewClient(kgo.RetryTimeout(answerTimeout), kgo.DialTimeout(answerTimeout))
	if err != nil {
		return nil // a wrong configuration is told by who uses it
	}
	defer cl.Close()
	s := state{topics: topics, alive: map[int32]bool{}, least: map[string]int{}}
	adm := kadm.NewClient(cl)
	// Groups and transactions need Kafka's own topics, which exist once they were used.
	s.md, err = adm.Metadata(ctx, append(slices.Clone(topics), topicOffsets, topicTransactions)...)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(*net.OpError)) {
			return nil // an answer, such as that this is not allowed
		}
		return &UnavailableError{ReasonNoBroker, "no broker answers at " + strings.Join(c.Brokers, ","), "start the cluster, and it goes on by itself"}
	}
	s.ask(ctx, cl)
	if configs, err := adm.DescribeTopicConfigs(ctx, s.md.Topics.Names()...); err == nil {
		for _, c := range configs {
			s.least[c.Name], _ = strconv.Atoi(value(c, "min.insync.replicas")) // 0 where it is not told
		}
	}
	if u := s.judge(); u != nil {
		return u
	}
	return nil
}

// state is what was found out about a cluster.
type state struct {
	topics []string // that must exist
	md     kadm.Metadata
	alive  map[int32]bool // of all brokers with a replica
	least  map[string]int // min.insync.replicas by topic
}

// ask finds out which brokers answer.
func (s *state) ask(ctx context.Context, cl *kgo.Client) {
	s.md.Topics.EachPartition(func(p kadm.PartitionDetail) {
		for _, id := range p.Replicas {
			s.alive[id] = false
		}
	})
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for _, id := range slices.Collect(maps.Keys(s.alive)) {
		wg.Go(func() {
			_, err := cl.Broker(int(id)).Request(ctx, kmsg.NewPtrApiVersionsRequest())
			mu.Lock()
			defer mu.Unlock()
			s.alive[id] = err == nil
		})
	}
	wg.Wait()
}

// judge returns what is worst, nil for nothing.
func (s *state) judge() *UnavailableError {
	for _, t := range s.topics {
		if d, ok := s.md.Topics[t]; !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return &UnavailableError{ReasonNoTopic, "the topic " + t + " does not exist, so it was deleted",
				"the next weir up or weir cluster creates it, and what is then in it is counted after weir groups leave, reset and join"}
		}
	}
	var few, led *kadm.PartitionDetail
	left := 0 // replicas in sync of few
	leaderless := map[int32]int{}
	for _, d := range s.md.Topics.Sorted() {
		for _, p := range d.Partitions.Sorted() {
			n := 0
			for _, id := range p.ISR {
				if s.alive[id] {
					n++
				}
			}
			if n < s.least[d.Topic] && (few == nil || n < left) {
				few, left = &p, n
			}
			if !s.alive[p.Leader] { // or nobody leads
				leaderless[p.Leader]++
				led = cmp.Or(led, &p)
			}
		}
	}
	down := s.down()
	switch {
	case few != nil && len(down) > 0:
		return &UnavailableError{ReasonReplicas,
			fmt.Sprintf("not enough in-sync replicas: %d must have a record (min.insync.replicas) and %d can, because %s not answer", s.least[few.Topic], left, doNot(down)),
			fmt.Sprintf("start one again (weir brokers restart %d, where weir runs them), and it goes on by itself", down[0])}
	case few != nil:
		return &UnavailableError{ReasonReplicas,
			fmt.Sprintf("not enough in-sync replicas: %d must have a record (min.insync.replicas) and %d of %d can at partition %d of %s", s.least[few.Topic], left, len(few.Replicas), few.Partition, few.Topic),
			"all brokers answer, and it goes on by itself when those that lag have caught up"}
	case led != nil && len(down) > 0:
		return &UnavailableError{ReasonNoLeader,
			fmt.Sprintf("%s not answer, and nobody leads its partitions instead yet", doNot(down)),
			"it goes on by itself when Kafka has moved them, which takes some seconds"}
	case led != nil:
		return &UnavailableError{ReasonNoLeader, fmt.Sprintf("nobody leads partition %d of %s", led.Partition, led.Topic),
			"it goes on by itself when a replica of it is back: see what its brokers print"}
	}
	return nil
}

// down are the brokers that do not answer, in order.
func (s *state) down() (ids []int32) {
	for _, id := range slices.Sorted(maps.Keys(s.alive)) {
		if !s.alive[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// doNot is "broker 2 does" or "brokers 2, 3 do".
func doNot(ids []int32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("broker %d does", ids[0])
	}
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = strconv.Itoa(int(id))
	}
	return "brokers " + strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1] + " do"
}

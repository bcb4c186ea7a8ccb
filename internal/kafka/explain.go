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
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnavailableError says why a cluster does not take or give records at present.
type UnavailableError struct {
	// Cause says what is so, Out what ends it.
	Cause, Out string
}

func (e *UnavailableError) Error() string { return e.Cause + "; " + e.Out }

// LogWaiting is the message of every log line about a Kafka that does not work at present.
// All parts of the program use the same message, so that the log shows it once.
const LogWaiting = "waiting for Kafka; weir keeps trying"

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
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) { // of this process: it cannot tell how brokers are
			return &UnavailableError{"weir can open no connection (too many open files)",
				"it goes on by itself when files are closed; raise the limit (ulimit -n 4096) before you start it again"}
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(*net.OpError)) {
			return nil // an answer, such as that this is not allowed
		}
		return &UnavailableError{"no broker answers at " + strings.Join(c.Brokers, ","), "start the cluster, and it goes on by itself"}
	}
	s.ask(ctx, cl)
	if configs, err := adm.DescribeTopicConfigs(ctx, s.md.Topics.Names()...); err == nil {
		for _, c := range configs {
			s.least[c.Name], _ = strconv.Atoi(value(c, "min.insync.replicas")) // 0 where it is not told
		}
	}
	if u := s.worst(); u != nil {
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

// afterwards says how a stream goes on when a topic that was deleted exists again.
func afterwards(topic string) string {
	switch topic {
	case TopicCursors:
		return "weir cursor rebuild bluesky (or wikipedia) then makes the cursor again from the other topics"
	case TopicDeadLetters:
		return "the stream then goes on; the dead letters that it had are lost"
	}
	return "what is then in it is counted after weir groups leave, reset and join"
}

// worst returns the worst fault, nil for none.
func (s *state) worst() *UnavailableError {
	for _, t := range s.topics {
		if d, ok := s.md.Topics[t]; !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return &UnavailableError{"the topic " + t + " does not exist, so it was deleted", "the next weir up or weir cluster creates it, and " + afterwards(t)}
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
	down := slices.DeleteFunc(slices.Sorted(maps.Keys(s.alive)), func(id int32) bool { return s.alive[id] })
	switch {
	case few != nil && len(down) > 0:
		return &UnavailableError{
			fmt.Sprintf("not enough in-sync replicas: %d must have a record (min.insync.replicas) and %d can, because %s not answer", s.least[few.Topic], left, doNot(down)),
			fmt.Sprintf("start one again (weir brokers restart %d, where weir runs them), and it goes on by itself", down[0])}
	case few != nil:
		return &UnavailableError{
			fmt.Sprintf("not enough in-sync replicas: %d must have a record (min.insync.replicas) and %d of %d can at partition %d of %s", s.least[few.Topic], left, len(few.Replicas), few.Partition, few.Topic),
			"all brokers answer, and it goes on by itself when those that lag have caught up"}
	case led != nil && len(down) > 0:
		return &UnavailableError{
			fmt.Sprintf("%s not answer, and its partitions have no new leader yet", doNot(down)),
			"it goes on by itself when Kafka has moved them, which takes some seconds"}
	case led != nil:
		return &UnavailableError{fmt.Sprintf("partition %d of %s has no leader", led.Partition, led.Topic),
			"it goes on by itself when a replica of it is back: see what its brokers print"}
	}
	return nil
}

// doNot is "broker 2 does" or "brokers 2, 3 do".
func doNot(ids []int32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("broker %d does", ids[0])
	}
	last := len(ids) - 1
	return fmt.Sprintf("brokers %s and %d do", numbers(ids[:last]), ids[last])
}

// numbers is "1, 2, 3".
func numbers(ids []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ", "), "[]")
}

// Unended explains why a transactional id cannot be had: the coordinator has decided on
// the end of its last transaction and does not bring it about. It does so for good when
// a partition refuses the marker of the end (Apache Kafka 4.3 gives up then, and begins
// again when the coordinator moves). nil where that is not so. It takes at most 4 s.
func Unended(ctx context.Context, cl *kgo.Client, transactionalID string) error {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	all, err := kadm.NewClient(cl).DescribeTransactions(ctx, transactionalID)
	if err != nil {
		return nil // without an answer there is nothing to explain
	}
	if d := all[transactionalID]; d.Err == nil && strings.HasPrefix(d.State, "Prepare") {
		return unended(d, time.Now())
	}
	return nil
}

func unended(d kadm.DescribedTransaction, now time.Time) *UnavailableError {
	var where []string
	for _, t := range d.Topics.Sorted() {
		where = append(where, fmt.Sprintf("%s %v", t.Topic, t.Partitions))
	}
	since := now.Sub(time.UnixMilli(d.StartTimestamp)).Round(time.Second)
	return &UnavailableError{
		fmt.Sprintf("broker %d does not end the last transaction of %s: it is in state %s, begun %v ago, and its markers are missing at %s",
			d.Coordinator, d.TxnID, d.State, since, strings.Join(where, ", ")),
		fmt.Sprintf("see what that broker prints, mend it (a message.timestamp.before.max.ms of a topic that refuses the markers, too?), "+
			"and start that broker again (weir brokers kill %d and restart %d, where weir runs them): it goes on by itself", d.Coordinator, d.Coordinator)}
}

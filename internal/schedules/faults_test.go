package schedules

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
)

// fault is one thing that goes wrong.
type fault struct {
	name string
	// source is the only one that has it; empty for both.
	source string
	// value chooses a parameter of a fault of upstream, whose plan has it from the beginning.
	value func(r *rand.Rand, rate float64) int64
	// inject does it, and returns what tells whether it has happened. nil for faults of upstream.
	inject func(s *stage, ph *phase) (fired func() bool)
}

func none(*rand.Rand, float64) int64 { return 0 }

func within(least, most time.Duration) func(*rand.Rand, float64) int64 {
	return func(r *rand.Rand, _ float64) int64 { return int64(least + time.Duration(r.Int64N(int64(most-least)))) }
}

// upstreamFaults are those of the World's servers.
var upstreamFaults = []fault{
	{name: simulate.FaultDuplicate, value: none},
	{name: simulate.FaultMalformed, value: none},
	{name: simulate.FaultTruncated, value: none},
	{name: simulate.FaultUnknown, value: none},
	{name: simulate.FaultOversize, value: func(*rand.Rand, float64) int64 { return 4<<20 + 1000 }},
	{name: simulate.FaultBinary, source: "bluesky", value: none},
	{name: simulate.FaultCut, value: none},
	{name: simulate.FaultClose, value: none},
	{name: simulate.FaultStall, value: func(r *rand.Rand, rate float64) int64 {
		if r.IntN(4) == 0 {
			return int64(70 * time.Second) // beyond the patience of both sources
		}
		return within(time.Second, 10*time.Second)(r, rate)
	}},
	{name: simulate.FaultSlow, value: within(time.Second, 4*time.Second)},
	{name: simulate.FaultError, value: none},
	{name: simulate.FaultRestart, value: within(100*time.Millisecond, 5*time.Second)},
	{name: simulate.FaultRenumber, source: "bluesky", value: func(r *rand.Rand, _ float64) int64 { return 1 + r.Int64N(4096) }},
	{name: simulate.FaultGap, value: func(r *rand.Rand, rate float64) int64 { return 10 + r.Int64N(int64(2*rate)) }},
	{name: simulate.FaultSwitch, source: "wikipedia", value: none},
	{name: simulate.Fault429, value: within(100*time.Millisecond, 4*time.Second)},
	{name: simulate.Fault503, value: within(100*time.Millisecond, 4*time.Second)},
}

// ingestFaults are those between an ingester and its brokers.
var ingestFaults = []fault{
	{name: "commit refused", inject: func(s *stage, ph *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: kafka.TransactionalID(s.src.name), Count: 2,
			Err: oneOf(ph, kerr.UnknownServerError, kerr.InvalidTxnState, kerr.InvalidProducerEpoch, kerr.TransactionAbortable,
				kerr.ConcurrentTransactions)})
	}},
	{name: "coordinator moved", inject: func(s *stage, _ *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn, kmsg.AddPartitionsToTxn},
			TxnID: kafka.TransactionalID(s.src.name), Count: 2, Err: kerr.NotCoordinator})
	}},
	{name: "write refused", inject: func(s *stage, ph *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: s.src.data, Count: 1, When: ofIngester,
			Err: oneOf(ph, kerr.UnknownServerError, kerr.NotLeaderForPartition, kerr.OutOfOrderSequenceNumber, kerr.InvalidTimestamp)})
	}},
	{name: "write timed out", inject: func(s *stage, _ *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: s.src.data, Count: 1, When: ofIngester, Err: kerr.RequestTimedOut})
	}},
	{name: "commit lost", inject: trapIngester(kmsg.EndTxn, loseRequest)},
	{name: "commit unheard", inject: trapIngester(kmsg.EndTxn, loseAnswer)},
	{name: "commit swallowed", inject: trapIngester(kmsg.EndTxn, swallow)},
	{name: "write lost", inject: trapIngester(kmsg.Produce, loseRequest)},
	{name: "write unheard", inject: trapIngester(kmsg.Produce, loseAnswer)},
	{name: "brokers away", inject: func(s *stage, ph *phase) func() bool {
		return s.away(s.working(), func(p *process) *link { return p.kafka }, ph.duration)
	}},
	{name: "leaders moved", inject: func(s *stage, _ *phase) func() bool { return s.moveLeaders() }},
}

// countFaults are those between a counter and its servers.
var countFaults = []fault{
	{name: "counts lost", inject: trapCounter(loseRequest)},
	{name: "counts unheard", inject: trapCounter(loseAnswer)},
	{name: "counts swallowed", inject: trapCounter(swallow)},
	{name: "redis away", inject: func(s *stage, ph *phase) func() bool {
		return s.away(s.counting(s.src.data), func(p *process) *link { return p.other }, ph.duration)
	}},
	{name: "redis restarted", inject: func(s *stage, _ *phase) func() bool {
		s.redis.close(s)
		s.startRedis()
		s.shake()
		return yes
	}},
	{name: "redis rewound", inject: func(s *stage, _ *phase) func() bool {
		s.redis.close(s)
		s.redis.putBack(s)
		s.rewound()
		s.startRedis()
		return yes
	}},
	{name: "redis flushed", inject: func(s *stage, _ *phase) func() bool {
		_, err := s.redis.raw.do("FLUSHALL")
		s.check(err)
		s.rewound()
		return yes
	}},
	{name: "reads refused", inject: func(s *stage, ph *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: s.src.data, Count: 3, When: ofCounter,
			Err: oneOf(ph, kerr.UnknownServerError, kerr.NotLeaderForPartition, kerr.KafkaStorageError)})
	}},
	{name: "group refused", inject: func(s *stage, ph *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group(s.src.data), Count: 1,
			Err: oneOf(ph, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.NotCoordinator)})
	}},
	{name: "offsets refused", inject: func(s *stage, ph *phase) func() bool {
		return s.refuse(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group(s.src.data), Count: 2,
			Err: oneOf(ph, kerr.UnknownServerError, kerr.CoordinatorNotAvailable, kerr.IllegalGeneration)})
	}},
	{name: "counter cut off", inject: func(s *stage, ph *phase) func() bool {
		return s.away(s.counting(s.src.data)[:1], func(p *process) *link { return p.kafka }, ph.duration)
	}},
	{name: "partitions moved", inject: func(s *stage, _ *phase) func() bool { return s.moveLeaders() }},
	{name: "another program aborted", inject: func(s *stage, ph *phase) func() bool {
		s.foreign(ph.duration)
		return yes
	}},
}

func yes() bool { return true }

func oneOf(ph *phase, errs ...*kerr.Error) *kerr.Error { return errs[ph.choice%len(errs)] }

// observerMaxBytes marks the observer's own requests: no other asks for so many bytes.
const observerMaxBytes = 64 << 20

func ofCounter(req kmsg.Request) bool {
	f, ok := req.(*kmsg.FetchRequest)
	return ok && f.MaxBytes != observerMaxBytes && f.MaxWaitMillis != scanWait
}

// scanWait marks the requests of those that read a part of a log, and are members of no group.
const scanWait = 250

// rewound notes that Redis has lost counts.
func (s *stage) rewound() {
	s.rewinds++
	s.rewoundAt = time.Now()
	s.shake()
}

func ofIngester(req kmsg.Request) bool {
	p, ok := req.(*kmsg.ProduceRequest)
	return ok && p.TransactionID != nil && *p.TransactionID != "another program"
}

// refuse lets brokers answer with an error.
func (s *stage) refuse(f kfake.Fault) func() bool {
	h := s.cluster.Fault(f)
	s.heal = append(s.heal, h.Remove)
	return func() bool { return h.Hits() > 0 }
}

// trapIngester loses a request of the ingester, or its answer.
func trapIngester(key kmsg.Key, loss loss) func(*stage, *phase) func() bool {
	return func(s *stage, _ *phase) func() bool {
		t := &trap{match: kafkaRequest(int16(key)), loss: loss}
		for _, p := range s.working() {
			p.kafka.arm(t)
		}
		return t.fired.Load
	}
}

func ofScript(b []byte) bool {
	return bytes.Contains(bytes.ToLower(b[:min(len(b), 64)]), []byte("evalsha"))
}

func trapCounter(loss loss) func(*stage, *phase) func() bool {
	return func(s *stage, _ *phase) func() bool {
		t := &trap{match: ofScript, loss: loss}
		p := s.counting(s.src.data)
		if len(p) == 0 {
			return func() bool { return false }
		}
		p[0].other.arm(t)
		return t.fired.Load
	}
}

// away cuts processes off from a server, for a while.
func (s *stage) away(all []*process, of func(*process) *link, d time.Duration) func() bool {
	if s.page != nil && len(all) > 0 {
		all = append(slices.Clone(all), s.page.process)
	}
	for _, p := range all {
		of(p).set(true)
	}
	s.shake()
	s.wait.Go(func() {
		time.Sleep(d)
		for _, p := range all {
			if !p.killed.Load() {
				of(p).set(false)
			}
		}
		s.shake()
	})
	return func() bool { return len(all) > 0 }
}

// moveLeaders gives every partition of the events another leader.
func (s *stage) moveLeaders() func() bool {
	s.shake()
	for _, topic := range []string{s.src.data, s.src.account, kafka.TopicCursors} {
		if topic == "" {
			continue
		}
		for _, p := range s.cluster.PartitionInfos(topic) {
			s.check(s.cluster.MoveTopicPartition(topic, p.Partition, (s.cluster.LeaderFor(topic, p.Partition)+1)%3))
		}
	}
	return yes
}

// Paths are what happens meanwhile, so what the pipeline goes on by.
const (
	pathItself   = "goes on by itself"
	pathStop     = "is stopped and started"
	pathKill     = "is killed and started"
	pathCrash    = "dies at a crash point"
	pathTakeover = "is taken over by another"
	pathJoin     = "is joined by another"
	pathLeave    = "leaves its group"
)

var (
	ingestPaths = []string{pathItself, pathStop, pathKill, pathCrash, pathTakeover}
	countPaths  = []string{pathItself, pathLeave, pathKill, pathCrash, pathJoin}
)

// startPoints are passed only when an ingester starts, the others in every transaction.
var startPoints = []string{"ingest: fenced", "ingest: cursor read", "ingest: claimed",
	"ingest: filter half rebuilt", "ingest: filter rebuilt"}

var ingestPoints = append([]string{"ingest: gathered", "ingest: begun", "ingest: half produced", "ingest: produced",
	"ingest: flushed", "ingest: committed", "ingest: accounted"}, startPoints...)

// countPoints are where a counter dies; it has no crash points, and all that leaves it passes its network.
var countPoints = []string{"count: before counts are sent", "count: before Redis answers", "count: before offsets are committed"}

// follow goes the way of a phase of an ingester.
func (s *stage) followIngest(ph *phase) {
	working := s.working()
	switch ph.path {
	case pathStop:
		for _, p := range working {
			p.stopping = true
			p.cancel()
		}
	case pathKill:
		for _, p := range working {
			p.kill()
		}
		ph.happened[pathKill] = len(working) > 0
		s.ingest()
	case pathTakeover:
		s.ingest()
	case pathCrash:
		s.arm(ph.point, ph.pass)
		for _, start := range startPoints {
			if start == ph.point {
				for _, p := range working {
					p.kill()
				}
				s.ingest()
			}
		}
	}
}

// followCount goes the way of a phase of the counters.
func (s *stage) followCount(ph *phase) {
	members := s.counting(s.src.data)
	if ph.path == pathJoin || len(members) == 0 {
		ph.happened[pathJoin] = len(members) > 0
		s.count(s.src.data)
		return
	}
	p := members[0]
	switch ph.path {
	case pathLeave:
		p.stopping = true
		p.cancel()
	case pathKill:
		p.kill()
		ph.happened[pathKill] = true
	case pathCrash:
		t := &trap{match: ofScript, loss: loseRequest}
		l := p.other
		switch ph.point {
		case countPoints[1]:
			t.loss = loseAnswer
		case countPoints[2]:
			t.match, l = kafkaRequest(int16(kmsg.OffsetCommit)), p.kafka
		}
		t.death = func() {
			p.point = ph.point
			p.kill()
		}
		l.arm(t)
		s.deaths = append(s.deaths, func() {
			if t.fired.Load() {
				s.cov.points[ph.point]++
				ph.happened[pathCrash] = true
			}
		})
	}
}

func (ph *phase) String() string {
	return fmt.Sprintf("%s at %v (%v, choice %d), %s at %v %s pass %d",
		ph.fault.name, ph.at, ph.duration, ph.choice, ph.path, ph.then, ph.point, ph.pass)
}

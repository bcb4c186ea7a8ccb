package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/cluster"
)

// kill ends a broker without warning. When the test is over, however it ended, all
// brokers run again, are in sync, and lead what they are to lead: the next test begins
// with a whole cluster.
func kill(t *testing.T, id int32) (restart func()) {
	t.Helper()
	up := false
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's has ended
		defer cancel()
		if t.Failed() {
			t.Log(report())
		}
		if !up {
			if err := kafka.Restart(ctx, id); err != nil {
				t.Error(err)
			}
		}
		reopenClients(t) // whose connections to the dead broker are found broken by the next request only
		if err := whole(ctx); err != nil {
			t.Errorf("%v\n%s", err, report())
		}
	})
	if err := kafka.KillHard(testCtx(t), id); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		up = true
		if err := kafka.Restart(testCtx(t), id); err != nil {
			t.Fatal(err)
		}
	}
}

// whole waits until every broker is there, every replica in sync and, on Apache Kafka,
// every partition led by its first replica: brokers that a slow machine held up have
// lost what they led, and get it back only minutes later.
func whole(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		why := missing(ctx)
		if why == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not whole: %s", why)
		}
	}
}

func missing(ctx context.Context) string {
	all, err := adm.Metadata(ctx)
	if err != nil {
		return err.Error()
	}
	if len(all.Brokers) != 3 {
		return fmt.Sprintf("%d brokers", len(all.Brokers))
	}
	moved := make(kadm.TopicsSet)
	for topic, d := range all.Topics {
		for _, p := range d.Partitions {
			if p.Err != nil || len(p.ISR) < len(p.Replicas) {
				return fmt.Sprintf("%s/%d has %v of %v in sync (%v)", topic, p.Partition, p.ISR, p.Replicas, p.Err)
			}
			if p.Leader != p.Replicas[0] {
				moved.Add(topic, p.Partition)
			}
		}
	}
	if kafka.Name() == cluster.Embedded || len(moved) == 0 {
		return ""
	}
	_, err = adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, moved)
	return fmt.Sprintf("of %d topics not all are led by who is to (%v)", len(moved), err)
}

// coordinatorOf returns who coordinates a group or transactional id.
func coordinatorOf(t *testing.T, txn bool, name string) int32 {
	t.Helper()
	found := adm.FindGroupCoordinators
	if txn {
		found = adm.FindTxnCoordinators
	}
	var id int32
	eventually(t, func() string {
		c := found(testCtx(t), name)[name]
		if c.Err != nil {
			return c.Err.Error()
		}
		id = c.NodeID
		return ""
	})
	return id
}

// A broker dies that leads a partition and coordinates a group and an open
// transaction. The leader moves and its epoch grows; nothing that was acknowledged
// is lost; the group goes on from its positions and the transaction to its end;
// when the broker is back it is in sync again (documentation, "Replication";
// KIP-101 and KIP-320 for leader epochs). Not parallel: others need the brokers.
func TestBrokerDies(t *testing.T) {
	victim := brokers(t)[1]
	var top string
	for top == "" || leader(t, top, 0) != victim {
		top = topic(t, 1)
	}
	strict := topic(t, 1, "min.insync.replicas", "3")
	group, txn := name(t), name(t)
	for ctx := testCtx(t); coordinatorOf(t, false, group) != victim || coordinatorOf(t, true, txn) != victim; {
		if coordinatorOf(t, false, group) != victim {
			group = name(t)
		} else {
			txn = name(t)
		}
		if ctx.Err() != nil {
			t.Fatalf("broker %d coordinates nothing", victim)
		}
	}
	produce(t, top, 0, "a", "b")
	if err := commitAt(t, group, top, 1, ""); err != nil {
		t.Fatal(err)
	}
	p := initProducer(t, txn, 10*time.Minute) // longer than anything here may take
	p.must(top, "open")
	before := detail(t, top, 0)
	l := newLedger()
	l.join(t, "a", group, top, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	eventually(t, func() string { // from 1 on, and "open" is read, too
		if at, _ := position(t, group, top, false); at != 3 {
			return fmt.Sprintf("the group's position is %d, want 3", at)
		}
		return ""
	})

	restart := kill(t, victim)
	var after kadm.PartitionDetail // of one answer: another broker may not have heard yet
	eventually(t, func() string {
		after = detail(t, top, 0)
		if after.Leader == victim || after.Leader < 0 || slices.Contains(after.ISR, victim) || slices.Contains(brokers(t), victim) {
			return fmt.Sprintf("leader %d, in sync %v, brokers %v", after.Leader, after.ISR, brokers(t))
		}
		return ""
	})
	if after.LeaderEpoch <= before.LeaderEpoch {
		t.Errorf("leader epoch %d after %d", after.LeaderEpoch, before.LeaderEpoch)
	}
	equal(t, "replicas, alive or not", len(after.Replicas), 3)
	equal(t, "offline replicas", fmt.Sprint(after.OfflineReplicas), fmt.Sprint([]int32{victim}))
	t.Run("leader epochs", func(t *testing.T) { leaderEpochs(t, top, before, after) })
	t.Run("in-sync replicas", func(t *testing.T) { inSync(t, strict, victim) })

	produce(t, top, 0, "c")
	p.must(top, "also open")
	p.commit()
	eventually(t, func() string {
		if got := show(read(t, top, 0, committed)); got != "0=a 1=b 2=open 3=c 4=also open" {
			return "read_committed: " + got
		}
		return ""
	})
	eventually(t, func() string {
		if c := coordinatorOf(t, false, group); c == victim {
			return fmt.Sprintf("the dead broker %d coordinates", c)
		}
		return ""
	})
	eventually(t, func() string { // from 1 on
		if n, _ := l.consumed(); n != 4 {
			return fmt.Sprintf("%d records consumed, want 4", n)
		}
		return ""
	})
	for _, committed := range []int{1, 2} { // what was read when the broker died may come again
		equal(t, fmt.Sprintf("how often record %d was consumed, whose position the group had", committed), l.times(0, committed), 1)
	}
	restart()
	eventually(t, func() string {
		if d := detail(t, top, 0); len(d.ISR) != 3 || len(d.OfflineReplicas) != 0 {
			return fmt.Sprintf("in sync are %v", d.ISR)
		}
		return ""
	})
	var set kadm.TopicsSet
	set.Add(top, 0)
	eventually(t, func() string { // the first replica is preferred
		rs, err := adm.ElectLeaders(testCtx(t), kadm.ElectPreferredReplica, set)
		if err == nil && rs[top][0].Err != nil && !errors.Is(rs[top][0].Err, kerr.ElectionNotNeeded) {
			err = rs[top][0].Err
		}
		if d := detail(t, top, 0); err != nil || d.Leader != victim {
			return fmt.Sprintf("leader %d, want %d (%v)", d.Leader, victim, err)
		}
		return ""
	})
	for _, n := range []string{top, strict} {
		produce(t, n, 0, "end")
	}
}

// leaderEpochs: who asks with an epoch of the past is fenced, with one of the future
// told to wait, and where an epoch ended is known (KIP-320).
func leaderEpochs(t *testing.T, top string, before, after kadm.PartitionDetail) {
	with := func(epoch int32) int16 {
		t.Helper()
		return fetch(t, after.Leader, top, 0, 0, uncommitted, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch }).ErrorCode
	}
	eventually(t, func() string { // the leader itself may hear of it after others
		if c := with(after.LeaderEpoch); c != 0 {
			return fmt.Sprint("fetch with the current epoch: ", kerr.ErrorForCode(c))
		}
		return ""
	})
	code(t, "fetch with the epoch before", with(before.LeaderEpoch), kerr.FencedLeaderEpoch)
	code(t, "fetch with a later epoch", with(after.LeaderEpoch+5), kerr.UnknownLeaderEpoch)
	ends := func(epoch int32) (int32, int64) {
		t.Helper()
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = top
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.CurrentLeaderEpoch, rp.LeaderEpoch = after.LeaderEpoch, epoch
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(testCtx(t), raw.Broker(int(after.Leader)))
		if err != nil {
			t.Fatal(err)
		}
		p := resp.Topics[0].Partitions[0]
		code(t, "OffsetForLeaderEpoch", p.ErrorCode, nil)
		return p.LeaderEpoch, p.EndOffset
	}
	epoch, end := ends(before.LeaderEpoch)
	equal(t, "epoch before", epoch, before.LeaderEpoch)
	equal(t, "where it ended", end, 3)
	_, end = ends(after.LeaderEpoch)
	equal(t, "where the current one ends", end, 3)
	for _, b := range brokers(t) {
		if b != after.Leader && b != before.Leader { // which is dead
			code(t, "produce to who does not lead", produceTo(t, b, top), kerr.NotLeaderForPartition)
		}
	}
}

func produceTo(t *testing.T, broker int32, topic string) int16 {
	t.Helper()
	req := produceRequest(topic, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{"x"}}.bytes())
	resp, err := req.RequestWith(testCtx(t), raw.Broker(int(broker)))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

// inSync: acks=all needs min.insync.replicas of them, acks=1 the leader alone
// (topic config min.insync.replicas).
func inSync(t *testing.T, top string, dead int32) {
	eventually(t, func() string {
		if d := detail(t, top, 0); d.Leader < 0 || slices.Contains(d.ISR, dead) {
			return fmt.Sprintf("leader %d, in sync %v", d.Leader, d.ISR)
		}
		return ""
	})
	with := func(acks int16) int16 {
		t.Helper()
		cl := client(t, kgo.MaxVersions(rawVersions()), kgo.RequiredAcks(map[int16]kgo.Acks{-1: kgo.AllISRAcks(), 1: kgo.LeaderAck()}[acks]), kgo.DisableIdempotentWrite())
		return settled(t, func() int16 { // the new leader itself may hear of it last
			req := produceRequest(top, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{"x"}}.bytes())
			req.Acks = acks
			resp, err := req.RequestWith(testCtx(t), cl.Broker(int(leader(t, top, 0))))
			if err != nil {
				t.Fatal(err)
			}
			return resp.Topics[0].Partitions[0].ErrorCode
		})
	}
	want := kerr.NotEnoughReplicas
	if differs(t, "replication") {
		want = nil
	}
	code(t, "acks=all with two of three in sync", with(-1), want)
	code(t, "acks=1 with two of three in sync", with(1), nil)
}

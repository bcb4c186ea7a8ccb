package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderCounts returns how many partitions each broker leads, by what clients are told.
func leaderCounts(t *testing.T, c *Cluster, topics ...string) [Size]int {
	t.Helper()
	var n [Size]int
	md, err := kadm.NewClient(client(t, c.live())).ListTopics(testCtx(t), topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range md {
		for _, p := range d.Partitions {
			if p.Err != nil {
				t.Fatalf("%s/%d: %v", p.Topic, p.Partition, p.Err)
			}
			n[p.Leader]++
		}
	}
	return n
}

func (c *Cluster) live() []string {
	var addrs []string
	for _, b := range c.brokers {
		if b.alive() {
			addrs = append(addrs, b.addr.String())
		}
	}
	return addrs
}

func TestLeadersArePlacedEvenly(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	for i := range 8 {
		topic := fmt.Sprintf("six-%d", i)
		createTopic(t, c.Addrs(), topic, 6, nil)
		if n := leaderCounts(t, c, topic); n != [Size]int{2, 2, 2} {
			t.Errorf("%s: leaders %v", topic, n)
		}
	}
	for i := range 6 {
		createTopic(t, c.Addrs(), fmt.Sprintf("one-%d", i), 1, nil)
	}
	if n := leaderCounts(t, c); n != [Size]int{18, 18, 18} {
		t.Errorf("all topics: leaders %v", n)
	}
	adm := kadm.NewClient(client(t, c.Addrs()))
	if r, err := adm.UpdatePartitions(testCtx(t), 9, "six-0"); err != nil || r["six-0"].Err != nil {
		t.Fatal(err, r["six-0"].Err)
	}
	if n := leaderCounts(t, c, "six-0"); n != [Size]int{3, 3, 3} {
		t.Errorf("after adding partitions: leaders %v", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	if n := leaderCounts(t, c); n != [Size]int{19, 19, 19} {
		t.Errorf("after a restart: leaders %v", n)
	}
}

func TestAKilledBrokerIsGone(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 6, nil)
	ctx := testCtx(t)
	for id := range int32(Size) {
		nc, err := send1(t, c.Addrs()[id], kmsg.NewPtrApiVersionsRequest())
		if err == nil {
			err = response(nc) // it is admitted, and waits for nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Kill(ctx, id); err != nil {
			t.Fatal(err)
		}
		_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("broker %d: an open connection ended with %v, not with a reset", id, err)
		}
		_ = nc.Close()
		if nc, err := net.DialTimeout("tcp", c.Addrs()[id], time.Second); err == nil {
			_ = nc.Close()
			t.Errorf("broker %d accepts connections after it was killed", id)
		}
		if err := c.Kill(ctx, id); !errors.Is(err, errDead) {
			t.Errorf("killing a dead broker: %v", err)
		}
		req := kmsg.NewPtrMetadataRequest()
		resp, err := req.RequestWith(ctx, client(t, c.live()))
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Brokers) != Size-1 || resp.ControllerID == id {
			t.Errorf("with broker %d dead: %d brokers, controller %d", id, len(resp.Brokers), resp.ControllerID)
		}
		for _, p := range resp.Topics[0].Partitions {
			if p.Leader == id || slices.Contains(p.ISR, id) || !slices.Contains(p.OfflineReplicas, id) || len(p.Replicas) != Size {
				t.Errorf("with broker %d dead: leader %d, replicas %v, in sync %v, offline %v", id, p.Leader, p.Replicas, p.ISR, p.OfflineReplicas)
			}
		}
		if n := leaderCounts(t, c, "t"); n[id] != 0 || slices.Max(n[:]) != 3 {
			t.Errorf("with broker %d dead: leaders %v", id, n)
		}
		// What only the controller may do, whoever that was.
		createTopic(t, c.live(), fmt.Sprintf("made-without-%d", id), 3, nil)
		if n := leaderCounts(t, c, fmt.Sprintf("made-without-%d", id)); n[id] != 0 {
			t.Errorf("a topic made with broker %d dead: leaders %v", id, n)
		}
		if err := c.Restart(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(ctx, id); !errors.Is(err, errAlive) {
			t.Errorf("restarting a live broker: %v", err)
		}
		if n := leaderCounts(t, c, "t"); n != [Size]int{2, 2, 2} {
			t.Errorf("after broker %d came back: leaders %v", id, n)
		}
		if n := leaderCounts(t, c, fmt.Sprintf("made-without-%d", id)); n != [Size]int{1, 1, 1} {
			t.Errorf("a topic made meanwhile: leaders %v", n)
		}
	}
	for _, id := range []int32{-1, Size} {
		if err := c.Kill(ctx, id); !errors.Is(err, errNoBroker) {
			t.Errorf("killing broker %d: %v", id, err)
		}
	}
}

func TestTheLastBrokerCanBeKilled(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 3, nil)
	ctx := testCtx(t)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "t", 0, "before")
	for id := range int32(Size) {
		if err := c.Kill(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if bs, err := c.Brokers(t.Context()); err != nil || bs[0].Alive || bs[1].Alive || bs[2].Alive {
		t.Errorf("brokers %+v, %v", bs, err)
	}
	done := make(chan error, 1)
	cl.Produce(ctx, &kgo.Record{Topic: "t", Value: []byte("after")}, func(_ *kgo.Record, err error) { done <- err })
	if err := c.Restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("what was produced while all were dead: %v", err)
	}
	if n := leaderCounts(t, c, "t"); n != [Size]int{0, 3, 0} {
		t.Errorf("with one broker back: leaders %v", n)
	}
	createTopic(t, c.live(), "made-by-the-only-one", 1, nil)
	if got := consume(t, c.live(), "t", 0); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("read %q", got)
	}
	for _, id := range []int32{0, 2} {
		if err := c.Restart(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if n := leaderCounts(t, c, "t"); n != [Size]int{1, 1, 1} {
		t.Errorf("with all back: leaders %v", n)
	}
}

func TestThePortWasTakenMeanwhile(t *testing.T) {
	c := open(t, Config{})
	ctx := testCtx(t)
	if err := c.Kill(ctx, 1); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", c.Addrs()[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, 1); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), c.Addrs()[1]) {
		t.Errorf("restart on a taken port: %v", err)
	}
	_ = ln.Close()
	if err := c.Restart(ctx, 1); err != nil {
		t.Errorf("restart once the port is free: %v", err)
	}
}

// Groups and transactional ids, ones that existed and ones that are new, find a
// live coordinator with one and with two brokers dead.
func TestCoordinatorsLive(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	ctx := testCtx(t)
	find := func(name string, kind int8) {
		t.Helper()
		for _, version := range []int16{2, 4} {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.Version = version
			req.CoordinatorKey, req.CoordinatorType, req.CoordinatorKeys = name, kind, []string{name}
			alive := c.aliveIDs()
			raw, err := client(t, c.live()).Broker(int(alive[0])).Request(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			resp := raw.(*kmsg.FindCoordinatorResponse)
			node, code := resp.NodeID, resp.ErrorCode
			if len(resp.Coordinators) > 0 {
				node, code = resp.Coordinators[0].NodeID, resp.Coordinators[0].ErrorCode
			}
			if code != 0 || !slices.Contains(alive, node) {
				t.Errorf("coordinator of %q with %v alive: broker %d, error %v", name, alive, node, kerr.ErrorForCode(code))
			}
		}
	}
	commit := func(group string) {
		t.Helper()
		adm := kadm.NewClient(client(t, c.live()))
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "t", At: 1, LeaderEpoch: -1})
		if err := adm.CommitAllOffsets(ctx, group, o); err != nil {
			t.Errorf("commit of %q with %v alive: %v", group, c.aliveIDs(), err)
		}
	}
	for i := range 6 {
		commit(fmt.Sprintf("group-%d", i))
		find(fmt.Sprintf("txn-%d", i), 1)
	}
	for _, dead := range []int32{2, 0} {
		if err := c.Kill(ctx, dead); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			commit(fmt.Sprintf("group-%d", i))
			commit(fmt.Sprintf("new-with-%d-dead-%d", dead, i))
		}
		for i := range 6 {
			find(fmt.Sprintf("txn-%d", i), 1)
		}
	}
}

// A consumer whose partition changed its leader asks where its epoch ended. Told
// -1, or 0, it starts over.
func TestAnEpochEndsAtTheHighWatermark(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	ctx := testCtx(t)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "t", 0, "a", "b", "c")
	ask := func(epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		t.Helper()
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version, req.ReplicaID = 4, -1
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = "t"
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.CurrentLeaderEpoch, rp.LeaderEpoch = -1, epoch
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		raw, err := client(t, c.live()).Broker(int(c.leader(t, "t", 0))).Request(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		p := raw.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := c.partitionInfo(partition{"t", 0}).Epoch
	leader := c.leader(t, "t", 0)
	if err := c.Kill(ctx, leader); err != nil {
		t.Fatal(err)
	}
	if p := ask(first); p.EndOffset != 3 || p.LeaderEpoch != first {
		t.Errorf("nothing written since: epoch %d ends at %d of epoch %d, want 3 of %d", first, p.EndOffset, p.LeaderEpoch, first)
	}
	produce(t, cl, "t", 0, "d")
	if p := ask(first); p.EndOffset != 3 {
		t.Errorf("one written since: epoch %d ends at %d, want 3", first, p.EndOffset)
	}
	if p := ask(first + 100); p.EndOffset != -1 {
		t.Errorf("an epoch that nobody knows ends at %d", p.EndOffset)
	}
}

// Leader epochs never fall, or clients refuse the metadata: not after a clean
// close of a partition without records, which the module forgets.
func TestLeaderEpochsDoNotFall(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "empty", 3, nil)
	ctx := testCtx(t)
	for id := range int32(Size) {
		if err := errors.Join(c.Kill(ctx, id), c.Restart(ctx, id)); err != nil {
			t.Fatal(err)
		}
	}
	var before [3]int32
	for i := range before {
		before[i] = c.partitionInfo(partition{"empty", int32(i)}).Epoch
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	for i := range before {
		if got := c.partitionInfo(partition{"empty", int32(i)}).Epoch; got < before[i] || before[i] == 0 {
			t.Errorf("partition %d: epoch %d after %d", i, got, before[i])
		}
	}
}

// Producers, a transactional producer and a consumer group go on through a series
// of kills: nothing is lost, and nothing is stored twice. A consumer that commits by
// itself may get records again that it had not committed when its coordinator was killed:
// Kafka promises such a consumer at least once. Only a second offset is a duplicate.
func TestClientsGoOnThroughKills(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "plain", 6, nil)
	createTopic(t, c.Addrs(), "txn", 6, nil)
	ctx := testCtx(t)
	stop, halt := context.WithCancel(ctx)
	defer halt()

	// Where each value lies in the log, and how often records were delivered again.
	type place struct {
		partition int32
		offset    int64
	}
	got := make(map[string]map[place]bool)
	again := 0
	var mu sync.Mutex
	consumer := client(t, c.Addrs(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("plain", "txn"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.AutoCommitInterval(100*time.Millisecond))
	changed := make(chan struct{}, 1)
	reading, stopReading := context.WithCancel(ctx)
	var readers sync.WaitGroup
	readers.Go(func() {
		for reading.Err() == nil {
			fs := consumer.PollFetches(reading)
			mu.Lock()
			fs.EachRecord(func(r *kgo.Record) {
				v, at := string(r.Value), place{r.Partition, r.Offset}
				if got[v] == nil {
					got[v] = make(map[place]bool, 1)
				}
				if got[v][at] {
					again++
				}
				got[v][at] = true
			})
			mu.Unlock()
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})

	var writers sync.WaitGroup
	sent := make([][]string, 2)
	writers.Go(func() {
		cl := client(t, c.Addrs())
		for i := 0; stop.Err() == nil; i++ {
			v := fmt.Sprintf("plain-%d", i)
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "plain", Key: []byte(v), Value: []byte(v)}).FirstErr(); err != nil {
				t.Errorf("produce %s: %v", v, err)
				return
			}
			sent[0] = append(sent[0], v)
		}
	})
	writers.Go(func() {
		cl := client(t, c.Addrs(), kgo.TransactionalID("tx"))
		for i := 0; stop.Err() == nil; i++ {
			if err := cl.BeginTransaction(); err != nil {
				t.Errorf("begin: %v", err)
				return
			}
			var rs []*kgo.Record
			for j := range 8 {
				v := fmt.Sprintf("txn-%d-%d", i, j)
				rs = append(rs, &kgo.Record{Topic: "txn", Key: []byte(v), Value: []byte(v)})
			}
			if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
				t.Errorf("produce in transaction %d: %v", i, err)
				return
			}
			if err := cl.EndTransaction(ctx, i%4 != 3); err != nil {
				t.Errorf("end transaction %d: %v", i, err)
				return
			}
			for _, r := range rs {
				if i%4 != 3 {
					sent[1] = append(sent[1], string(r.Value))
				}
			}
		}
	})

	progress := func(n int) {
		t.Helper()
		mu.Lock()
		base := len(got)
		mu.Unlock()
		for {
			mu.Lock()
			now := len(got)
			mu.Unlock()
			if now >= base+n {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatal("the consumer makes no progress")
			}
		}
	}
	for round := range 6 {
		id := int32(round % Size)
		progress(200)
		if err := c.Kill(ctx, id); err != nil {
			t.Fatal(err)
		}
		progress(200)
		if round == 4 { // and once with only one left
			if err := c.Kill(ctx, (id+1)%Size); err != nil {
				t.Fatal(err)
			}
			progress(200)
			if err := c.Restart(ctx, (id+1)%Size); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Restart(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	halt()
	writers.Wait()
	want := append(sent[0], sent[1]...)
	for {
		mu.Lock()
		missing := slices.ContainsFunc(want, func(v string) bool { return len(got[v]) == 0 })
		mu.Unlock()
		if !missing {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("records are lost")
		}
	}
	stopReading()
	readers.Wait()
	consumer.Close()
	for v, places := range got {
		if len(places) != 1 {
			t.Errorf("%s is stored %d times: %v", v, len(places), places)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d records came, %d were acknowledged", len(got), len(want))
	}
	t.Logf("%d plain and %d transactional records, %d delivered again", len(sent[0]), len(sent[1]), again)
}

package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/weir-project/weir/internal/crash"
)

// child runs this process as a cluster in place of the tests, when they ask for it.
func child() bool {
	dir := os.Getenv("WEIR_TEST_CLUSTER_DIR")
	if dir == "" {
		return false
	}
	if at := os.Getenv("WEIR_TEST_CLUSTER_DIES_AT"); at != "" {
		crash.SetHook(func(point string) {
			if point == at {
				if self, err := os.FindProcess(os.Getpid()); err == nil {
					_ = self.Kill()
				}
				select {}
			}
		})
	}
	cfg := config{Config: Config{Dir: dir, Addrs: strings.Split(os.Getenv("WEIR_TEST_CLUSTER_ADDRS"), ",")}}
	archives := strings.HasPrefix(os.Getenv("WEIR_TEST_CLUSTER_DIES_AT"), "archive: ")
	if archives {
		cfg.maxBatches = small(dir).maxBatches
	}
	c, err := newCluster(context.Background(), cfg)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(c.Addrs(), ","))
	if archives {
		fmt.Println("error", c.Enforce(context.Background()))
		os.Exit(1)
	}
	select {}
}

// process is a cluster in a process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	addrs []string
}

// start runs a cluster on dir; addrs may be nil for any. It dies at the named
// crash point, if that is not empty.
func start(t *testing.T, dir string, addrs []string, diesAt string) *process {
	t.Helper()
	if addrs == nil {
		addrs = []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testCtx(t), exe)
	cmd.Env = append(os.Environ(), "WEIR_TEST_CLUSTER_DIR="+dir, "WEIR_TEST_CLUSTER_ADDRS="+strings.Join(addrs, ","), "WEIR_TEST_CLUSTER_DIES_AT="+diesAt)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("the child said %q, %v", line, err)
	}
	p.addrs = strings.Split(strings.TrimSpace(line), ",")
	return p
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	p.wait()
}

// wait waits for a death by SIGKILL, its own or ours.
func (p *process) wait() {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		p.t.Fatalf("the child ended with %v, not by SIGKILL", err)
	}
}

// transact produces values to partitions 0 and 1 of topic t in a new transaction
// and leaves it open.
func transact(t *testing.T, cl *kgo.Client, values ...string) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		produce(t, cl, "t", 0, v)
		produce(t, cl, "t", 1, v)
	}
}

func commit(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, addrs []string, when string, want ...string) {
	t.Helper()
	for part := range int32(2) {
		if got := consume(t, addrs, "t", part); !slices.Equal(got, want) {
			t.Errorf("%s: partition %d shows %q, want %q", when, part, got, want)
		}
	}
}

// Killed with a transaction open, twice: its records are never shown, and neither
// the next transaction of the same producer nor another death brings them back.
func TestAnOpenTransactionIsAborted(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "")
	createTopic(t, p.addrs, "t", 2, nil)
	tx := func(addrs []string) *kgo.Client {
		return client(t, addrs, manual(), kgo.TransactionalID("tx"))
	}
	cl := tx(p.addrs)
	transact(t, cl, "committed-1")
	commit(t, cl)
	transact(t, cl, "open-1", "open-1b")
	p.kill()
	cl.Close()

	p = start(t, dir, nil, "")
	expect(t, p.addrs, "after the first death", "committed-1")
	cl = tx(p.addrs)
	transact(t, cl, "committed-2")
	commit(t, cl)
	expect(t, p.addrs, "after a new transaction", "committed-1", "committed-2")
	transact(t, cl, "open-2")
	p.kill()
	cl.Close()

	p = start(t, dir, nil, "")
	expect(t, p.addrs, "after the second death", "committed-1", "committed-2")
	cl = tx(p.addrs)
	transact(t, cl, "committed-3")
	commit(t, cl)
	p.kill()
	cl.Close()

	c := open(t, Config{Dir: dir})
	expect(t, c.Addrs(), "after the third death", "committed-1", "committed-2", "committed-3")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	if c.dir.unclean {
		t.Error("a close in order left the mark of a crash")
	}
	expect(t, c.Addrs(), "after a close in order", "committed-1", "committed-2", "committed-3")
}

// A producer that outlives the brokers must not be told that what was aborted is
// committed: the module would take its commit for one that it has answered.
func TestAProducerThatOutlivesTheBrokersIsFenced(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "")
	createTopic(t, p.addrs, "t", 2, nil)
	cl := client(t, p.addrs, manual(), kgo.TransactionalID("tx"))
	transact(t, cl, "committed")
	commit(t, cl)
	transact(t, cl, "open")
	addrs := p.addrs
	p.kill()
	p = start(t, dir, addrs, "")
	if err := cl.EndTransaction(testCtx(t), kgo.TryCommit); err == nil {
		t.Error("the commit of an aborted transaction was confirmed")
	} else if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("the commit ended with %v, want fenced", err)
	}
	expect(t, p.addrs, "after the death", "committed")
}

// The module ends a transaction one partition after the other. Killed before or
// after that, a commit that was asked for is carried out, everywhere.
func TestACommitIsAllOrNothing(t *testing.T) {
	for _, point := range []string{"cluster: commit noted", "cluster: transaction ended"} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			p := start(t, dir, nil, "")
			createTopic(t, p.addrs, "t", 2, nil)
			p.kill()
			p = start(t, dir, nil, point)
			cl := client(t, p.addrs, manual(), kgo.TransactionalID("tx"))
			transact(t, cl, "a", "b")
			ctx, cancel := context.WithCancel(testCtx(t))
			go func() { _ = cl.EndTransaction(ctx, kgo.TryCommit) }()
			p.wait()
			cancel()
			c := open(t, Config{Dir: dir})
			expect(t, c.Addrs(), "after the death", "a", "b")
		})
	}
}

// Killed between the two markers: the second one was never written.
func TestAHalfWrittenCommitIsCompleted(t *testing.T) {
	for _, noted := range []bool{true, false} {
		t.Run(fmt.Sprint("noted ", noted), func(t *testing.T) {
			dir := t.TempDir()
			p := start(t, dir, nil, "")
			createTopic(t, p.addrs, "t", 2, nil)
			p.kill()
			p = start(t, dir, nil, "cluster: transaction ended")
			cl := client(t, p.addrs, manual(), kgo.TransactionalID("tx"))
			transact(t, cl, "a")
			ctx, cancel := context.WithCancel(testCtx(t))
			go func() { _ = cl.EndTransaction(ctx, kgo.TryCommit) }()
			p.wait()
			cancel()
			// A marker is a batch of 78 bytes.
			shorten(t, filepath.Join(dir, segmentPath("t", 1, 0)), 78)
			shorten(t, strings.TrimSuffix(filepath.Join(dir, segmentPath("t", 1, 0)), ".dat")+".idx", indexEntry)
			if !noted {
				if err := os.Truncate(filepath.Join(dir, journalName), 0); err != nil {
					t.Fatal(err)
				}
			}
			c := open(t, Config{Dir: dir})
			if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, []string{"a"}) {
				t.Errorf("partition 0 shows %q", got)
			}
			want := []string{"a"}
			if !noted { // the proof that the note is what does it
				want = nil
			}
			if got := consume(t, c.Addrs(), "t", 1); !slices.Equal(got, want) {
				t.Errorf("partition 1 shows %q, want %q", got, want)
			}
		})
	}
}

func shorten(t *testing.T, path string, by int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-by); err != nil {
		t.Fatal(err)
	}
}

// A commit that has ended is crossed out. Otherwise a death would commit the next transaction of a
// producer that keeps its epoch, as all did before KIP-890.
func TestAnEndedCommitIsCrossedOut(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "")
	createTopic(t, p.addrs, "t", 2, nil)
	cl := client(t, p.addrs, manual(), kgo.TransactionalID("tx"), kgo.MaxVersions(kversion.V3_6_0()))
	transact(t, cl, "committed")
	id, epoch, err := cl.ProducerID(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, cl)
	transact(t, cl, "open")
	if now, e, err := cl.ProducerID(testCtx(t)); err != nil || now != id || e != epoch {
		t.Fatalf("the producer is %d of epoch %d, then %d of epoch %d (%v)", id, epoch, now, e, err)
	}
	p.kill()
	c := open(t, Config{Dir: dir})
	expect(t, c.Addrs(), "after the death", "committed")
}

// Positions that a transaction carries are committed with it.
func TestOffsetsOfACommitSurvive(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "")
	createTopic(t, p.addrs, "t", 2, nil)
	produce(t, client(t, p.addrs, manual()), "t", 0, "in")
	p.kill()
	p = start(t, dir, nil, "cluster: commit noted")
	cl := client(t, p.addrs, manual(), kgo.TransactionalID("tx"))
	transact(t, cl, "out")
	id, epoch, err := cl.ProducerID(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = "tx", id, epoch, "g"
	if r, err := add.RequestWith(testCtx(t), cl); err != nil || r.ErrorCode != 0 {
		t.Fatal(err, kerr.ErrorForCode(r.ErrorCode))
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = "tx", "g", id, epoch, -1
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = "t", topicID(t, p.addrs, "t")
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = 1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	if r, err := req.RequestWith(testCtx(t), cl); err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, r)
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	go func() { _ = cl.EndTransaction(ctx, kgo.TryCommit) }()
	p.wait()
	cancel()
	c := open(t, Config{Dir: dir})
	offsets, err := kadm.NewClient(client(t, c.Addrs())).FetchOffsets(testCtx(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("t", 0); !ok || o.At != 1 {
		t.Errorf("the group stands at %v, want 1", o.At)
	}
}

func topicID(t *testing.T, addrs []string, topic string) kadm.TopicID {
	t.Helper()
	md, err := kadm.NewClient(client(t, addrs)).ListTopics(testCtx(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return md[topic].ID
}

// Killed at random moments under load: every acknowledged record is there, in
// order, once.
func TestAKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	var acked []string
	for round := range 4 {
		p := start(t, dir, nil, "")
		if round == 0 {
			createTopic(t, p.addrs, "t", 2, nil)
		}
		cl := client(t, p.addrs, manual())
		// The moment is given by the traffic: some hundred records in.
		for i := range 150 + 37*round {
			v := strconv.Itoa(round) + "-" + strconv.Itoa(i)
			produce(t, cl, "t", 0, v)
			acked = append(acked, v)
		}
		cl.Produce(testCtx(t), &kgo.Record{Topic: "t", Value: []byte("unacknowledged"), Partition: 1}, nil)
		p.kill()
		cl.Close()
	}
	c := open(t, Config{Dir: dir})
	if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, acked) {
		t.Errorf("%d records are there, %d were acknowledged", len(got), len(acked))
	}
}

// An idempotent producer that outlives the brokers sends again what it got no
// answer to. What had been written is not written twice.
func TestAnIdempotentProducerDoublesNothing(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 1, nil)
	// A close in order leaves windows that are out of date at the next death.
	produce(t, client(t, c.Addrs(), manual()), "t", 0, "early")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, nil, "")
	cl := client(t, p.addrs)
	init := kmsg.NewPtrInitProducerIDRequest()
	who, err := init.RequestWith(testCtx(t), cl)
	if err != nil || who.ErrorCode != 0 {
		t.Fatal(err, who)
	}
	send := func(cl *kgo.Client, leader int32, sequence int32) (int64, error) {
		t.Helper()
		rec := kmsg.Record{Value: []byte("v")}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b := kmsg.RecordBatch{
			PartitionLeaderEpoch: -1, Magic: 2, ProducerID: who.ProducerID, ProducerEpoch: who.ProducerEpoch,
			FirstSequence: sequence, NumRecords: 1, Records: rec.AppendTo(nil),
		}
		b.Length = int32(len(b.AppendTo(nil)) - batchPrefix)
		b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], castagnoli))
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = 9, -1, 1000
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = "t"
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Records = b.AppendTo(nil)
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		raw, err := cl.Broker(int(leader)).Request(testCtx(t), req)
		if err != nil {
			t.Fatal(err)
		}
		answer := raw.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		return answer.BaseOffset, kerr.ErrorForCode(answer.ErrorCode)
	}
	leaderOf := func(addrs []string) int32 {
		md, err := kadm.NewClient(client(t, addrs)).ListTopics(testCtx(t), "t")
		if err != nil {
			t.Fatal(err)
		}
		return md["t"].Partitions[0].Leader
	}
	for i := range int32(7) {
		if at, err := send(cl, leaderOf(p.addrs), i); err != nil || at != int64(i)+1 {
			t.Fatalf("sequence %d: offset %d, %v", i, at, err)
		}
	}
	p.kill()
	c = open(t, Config{Dir: dir})
	cl = client(t, c.Addrs())
	for i := int32(2); i < 7; i++ { // as many as a client may have in flight
		if at, err := send(cl, leaderOf(c.Addrs()), i); err != nil || at != int64(i)+1 {
			t.Errorf("sequence %d again: offset %d, %v", i, at, err)
		}
	}
	if at, err := send(cl, leaderOf(c.Addrs()), 8); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("a sequence number left out: offset %d, %v", at, err)
	}
	if at, err := send(cl, leaderOf(c.Addrs()), 7); err != nil || at != 8 {
		t.Errorf("the next one: offset %d, %v", at, err)
	}
}

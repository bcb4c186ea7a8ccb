package conformance

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer speaks the protocol of a producer with an id, transactional where txn
// is not empty, one request at a time and without a client's helpful repetitions.
type producer struct {
	t     *testing.T
	txn   string
	id    int64
	epoch int16
	seq   map[string]int32 // next sequence number of partition 0 of each topic
	ahead time.Duration    // of now: the time of its records
}

// initProducer obtains a producer id; a transactional id that had one is fenced.
func initProducer(t *testing.T, txn string, timeout time.Duration) *producer {
	t.Helper()
	p := &producer{t: t, txn: txn, seq: make(map[string]int32)}
	code(t, "InitProducerID", p.init(timeout), nil)
	return p
}

func (p *producer) init(timeout time.Duration) int16 {
	p.t.Helper()
	return p.initFrom(timeout, -1, -1)
}

// initFrom is init by a client that names the producer id and epoch that it has.
func (p *producer) initFrom(timeout time.Duration, id int64, epoch int16) int16 {
	p.t.Helper()
	return settled(p.t, func() int16 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = int32(timeout.Milliseconds())
		req.ProducerID, req.ProducerEpoch = id, epoch
		if p.txn != "" {
			req.TransactionalID = &p.txn
		}
		resp, err := req.RequestWith(testCtx(p.t), raw)
		if err != nil {
			p.t.Fatalf("InitProducerID: %v", err)
		}
		if resp.ErrorCode == 0 {
			p.id, p.epoch, p.seq = resp.ProducerID, resp.ProducerEpoch, make(map[string]int32)
		}
		return resp.ErrorCode
	})
}

// write sends values to partition 0 in one batch and returns the answer's code.
func (p *producer) write(topic string, values ...string) int16 {
	p.t.Helper()
	return settled(p.t, func() int16 {
		resp := send(p.t, topic, 0, batch{id: p.id, epoch: p.epoch, sequence: p.seq[topic], transactional: p.txn != "",
			values: values, timestamp: time.Now().Add(p.ahead)}.bytes(),
			func(r *kmsg.ProduceRequest) {
				if p.txn != "" {
					r.TransactionID = &p.txn
				}
			})
		if resp.ErrorCode == 0 {
			p.seq[topic] += int32(len(values))
		}
		return resp.ErrorCode
	})
}

// must is write that has to be accepted.
func (p *producer) must(topic string, values ...string) {
	p.t.Helper()
	eventually(p.t, func() string { // on a busy machine brokers fall out of sync for a moment; nothing is stored then
		c := p.write(topic, values...)
		if c == kerr.NotEnoughReplicas.Code {
			return "too few replicas are in sync"
		}
		code(p.t, "produce", c, nil)
		return ""
	})
}

// end ends the transaction and takes over the epoch that comes with the answer (KIP-890).
func (p *producer) end(commit bool) int16 {
	p.t.Helper()
	return settled(p.t, func() int16 {
		resp := p.endOnce(commit)
		if resp.ErrorCode == 0 && resp.ProducerEpoch != p.epoch {
			p.id, p.epoch, p.seq = resp.ProducerID, resp.ProducerEpoch, make(map[string]int32)
		}
		return resp.ErrorCode
	})
}

func (p *producer) endOnce(commit bool) *kmsg.EndTxnResponse {
	p.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.txn, p.id, p.epoch, commit
	var resp *kmsg.EndTxnResponse
	eventually(p.t, func() string {
		var err error
		if resp, err = req.RequestWith(testCtx(p.t), raw); errors.Is(err, syscall.ECONNREFUSED) {
			return err.Error() // nothing was sent: a broker has not heard yet that the coordinator is dead
		} else if err != nil {
			p.t.Fatalf("EndTxn: %v", err)
		}
		return ""
	})
	return resp
}

// commit and abort have to be accepted.
func (p *producer) commit() { p.t.Helper(); code(p.t, "commit", p.end(true), nil) }
func (p *producer) abort()  { p.t.Helper(); code(p.t, "abort", p.end(false), nil) }

// offset puts a consumer group's position into the transaction.
func (p *producer) offset(group, topic string, at int64, change ...func(*kmsg.TxnOffsetCommitRequest)) int16 {
	p.t.Helper()
	return settled(p.t, func() int16 {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = p.txn, group, p.id, p.epoch, -1
		rt := kmsg.NewTxnOffsetCommitRequestTopic()
		rt.Topic = topic
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Offset = at
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		for _, f := range change {
			f(req)
		}
		resp, err := req.RequestWith(testCtx(p.t), raw)
		if err != nil {
			p.t.Fatalf("TxnOffsetCommit: %v", err)
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	})
}

// The broker keeps the sequence numbers of each producer and partition: a batch
// that comes again is acknowledged with the offset that it has, and written once;
// a hole is refused (KIP-98, "Idempotent Producer Guarantees").
func TestIdempotentProducer(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, "", time.Minute)
	first := batch{id: p.id, epoch: p.epoch, sequence: 0, values: []string{"a", "b"}}.bytes()
	one := send(t, top, 0, first)
	code(t, "first batch", one.ErrorCode, nil)
	second := send(t, top, 0, batch{id: p.id, epoch: p.epoch, sequence: 2, values: []string{"c"}}.bytes())
	code(t, "second batch", second.ErrorCode, nil)
	equal(t, "offset of the second", second.BaseOffset, one.BaseOffset+2)

	again := send(t, top, 0, first)
	code(t, "the first batch again", again.ErrorCode, nil)
	equal(t, "its offset", again.BaseOffset, one.BaseOffset)
	hole := send(t, top, 0, batch{id: p.id, epoch: p.epoch, sequence: 4, values: []string{"e"}}.bytes())
	code(t, "a batch after a hole", hole.ErrorCode, kerr.OutOfOrderSequenceNumber)
	equal(t, "log", show(read(t, top, 0, uncommitted)), "0=a 1=b 2=c")
}

// Of each producer the last five batches are remembered, because as many may be
// under way (KIP-98; max.in.flight.requests.per.connection).
func TestFiveBatchesAreRemembered(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, "", time.Minute)
	for seq := range int32(5) {
		code(t, "batch", send(t, top, 0, batch{id: p.id, epoch: p.epoch, sequence: seq, values: []string{"x"}}.bytes()).ErrorCode, nil)
	}
	for seq := range int32(5) {
		resp := send(t, top, 0, batch{id: p.id, epoch: p.epoch, sequence: seq, values: []string{"x"}}.bytes())
		code(t, "batch again", resp.ErrorCode, nil)
		equal(t, "its offset", resp.BaseOffset, int64(seq))
	}
	_, end := offsets(t, top, 0)
	equal(t, "high watermark", end, 5)
}

// A producer's newer epoch begins at sequence 0 and shuts out the older one (KIP-98).
func TestEpochOfAProducer(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, "", time.Minute)
	at := func(epoch int16, seq int32) int16 {
		t.Helper()
		return send(t, top, 0, batch{id: p.id, epoch: epoch, sequence: seq, values: []string{"x"}}.bytes()).ErrorCode
	}
	code(t, "epoch 0", at(0, 0), nil)
	code(t, "epoch 1 in the middle", at(1, 5), kerr.OutOfOrderSequenceNumber)
	code(t, "epoch 1 from its beginning", at(1, 0), nil)
	code(t, "epoch 0 afterwards", at(0, 1), kerr.InvalidProducerEpoch)
}

// Two producers do not share their sequence numbers, and ids are given once.
func TestProducerIDsAreUnique(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	seen := make(map[int64]bool)
	for range 5 {
		p := initProducer(t, "", time.Minute)
		if seen[p.id] {
			t.Fatalf("producer id %d was given twice", p.id)
		}
		seen[p.id] = true
		p.must(top, "x")
	}
	_, end := offsets(t, top, 0)
	equal(t, "high watermark", end, 5)
}

// A batch whose checksum does not fit is refused (message format v2, field crc).
func TestDamagedBatch(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	b := batch{id: -1, epoch: -1, sequence: -1, values: []string{"value"}}.bytes()
	b[len(b)-2] ^= 1
	code(t, "a damaged batch", send(t, top, 0, b).ErrorCode, kerr.CorruptMessage)
	_, end := offsets(t, top, 0)
	equal(t, "high watermark", end, 0)
}

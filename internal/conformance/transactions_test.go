package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/cluster"
)

// Each transaction ends with a control record in every partition that it wrote
// to, which takes an offset and is delivered to nobody; read_committed leaves out
// what was aborted, read_uncommitted does not (KIP-98; consumer config isolation.level).
func TestReadCommitted(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "a", "b")
	p.commit()
	p.must(top, "lost", "too")
	p.abort()
	p.must(top, "c")
	p.commit()
	eventually(t, func() string {
		if _, end := offsets(t, top, 0); end != 8 || stable(t, top, 0) != 8 {
			return fmt.Sprintf("high watermark %d, last stable offset %d, want 8 and 8", end, stable(t, top, 0))
		}
		return ""
	})
	equal(t, "read_committed", show(read(t, top, 0, committed)), "0=a 1=b 6=c")
	if !archives() { // aborted records are not archived
		equal(t, "read_uncommitted", show(read(t, top, 0, uncommitted)), "0=a 1=b 3=lost 4=too 6=c")
	}
}

// A response that ends at the request's own limit of bytes lists the aborted transactions
// in it like any other (KIP-98): without the list a client delivers aborted records.
func TestAbortedAreListedInAFullResponse(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "lost")
	p.abort()
	p.must(top, strings.Repeat("x", 10_000))
	p.commit()
	eventually(t, func() string {
		if lso := stable(t, top, 0); lso != 4 {
			return fmt.Sprintf("last stable offset %d, want 4", lso)
		}
		return ""
	})
	for _, most := range []int32{1, 200, 5_000, 1 << 20} {
		f := fetch(t, leader(t, top, 0), top, 0, 0, committed, func(r *kmsg.FetchRequest) { r.MaxBytes = most })
		if len(f.RecordBatches) == 0 {
			t.Errorf("at most %d bytes: nothing", most)
		}
		if archives() { // aborted records are not archived
			equal(t, "committed", show(read(t, top, 0, committed)), "2="+strings.Repeat("x", 10_000))
			continue
		}
		if len(f.AbortedTransactions) != 1 || f.AbortedTransactions[0].FirstOffset != 0 {
			t.Errorf("at most %d bytes: %d bytes of batches, aborted transactions %+v", most, len(f.RecordBatches), f.AbortedTransactions)
		}
	}
}

// The last stable offset stays before the first record of an open transaction,
// also for what others wrote behind it (KIP-98, "Last Stable Offset").
func TestLastStableOffset(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{true, false} {
		t.Run(map[bool]string{true: "commit", false: "abort"}[commit], func(t *testing.T) {
			t.Parallel()
			top := topic(t, 1)
			produce(t, top, 0, "before")
			early, late := initProducer(t, name(t), time.Minute), initProducer(t, name(t), time.Minute)
			early.must(top, "open")
			produce(t, top, 0, "plain")
			late.must(top, "late")
			late.commit()
			eventually(t, func() string {
				if _, end := offsets(t, top, 0); end != 5 {
					return fmt.Sprintf("high watermark %d, want 5", end)
				}
				return ""
			})
			equal(t, "last stable offset", stable(t, top, 0), 1)
			equal(t, "read_committed", show(read(t, top, 0, committed)), "0=before")
			equal(t, "read_uncommitted", show(read(t, top, 0, uncommitted)), "0=before 1=open 2=plain 3=late")
			f := fetch(t, leader(t, top, 0), top, 0, 0, committed)
			equal(t, "a fetch's last stable offset", f.LastStableOffset, 1)
			equal(t, "a fetch's high watermark", f.HighWatermark, 5)

			code(t, "end", early.end(commit), nil)
			eventually(t, func() string {
				if lso := stable(t, top, 0); lso != 6 {
					return fmt.Sprintf("last stable offset %d, want 6", lso)
				}
				return ""
			})
			want := "0=before 2=plain 3=late"
			if commit {
				want = "0=before 1=open 2=plain 3=late"
			}
			equal(t, "read_committed afterwards", show(read(t, top, 0, committed)), want)
		})
	}
}

// A transaction over several partitions and topics is visible everywhere or nowhere.
func TestTransactionOverTopics(t *testing.T) {
	t.Parallel()
	tops := []string{topic(t, 1), topic(t, 1), topic(t, 1)}
	p := initProducer(t, name(t), time.Minute)
	for round, commit := range []bool{true, false, true} {
		for _, top := range tops {
			p.must(top, fmt.Sprint(round))
		}
		code(t, "end", p.end(commit), nil)
	}
	for _, top := range tops {
		eventually(t, func() string {
			if got := show(read(t, top, 0, committed)); got != "0=0 4=2" {
				return fmt.Sprintf("read_committed of %s: %s", top, got)
			}
			return ""
		})
	}
}

// Who obtains the producer id of a transactional id fences whoever had it, and
// ends what that one left open by aborting it (KIP-98, "Fencing Zombies"; the
// codes are those of KIP-588).
func TestFencing(t *testing.T) {
	t.Parallel()
	top, txn := topic(t, 1), name(t)
	zombie := initProducer(t, txn, time.Minute)
	zombie.must(top, "kept")
	zombie.commit()
	zombie.must(top, "left open")
	heir := initProducer(t, txn, time.Minute)
	equal(t, "producer id", heir.id, zombie.id)
	if heir.epoch <= zombie.epoch {
		t.Errorf("epoch %d after %d", heir.epoch, zombie.epoch)
	}
	code(t, "the zombie produces", zombie.write(top, "zombie"), kerr.InvalidProducerEpoch)
	code(t, "the zombie commits", zombie.end(true), kerr.ProducerFenced)
	code(t, "the zombie aborts", zombie.end(false), kerr.ProducerFenced)
	refusal := kerr.InvalidProducerEpoch
	if differs(t, "error-codes") {
		refusal = kerr.ProducerFenced
	}
	code(t, "the zombie commits offsets", zombie.offset(name(t), top, 1), refusal)
	heir.must(top, "new")
	heir.commit()
	eventually(t, func() string {
		if got := show(read(t, top, 0, committed)); got != "0=kept 4=new" {
			return "read_committed: " + got
		}
		return ""
	})
}

// A client library's view of the same: the older of two producers ends with
// a fatal error and loses its records, the newer one works.
func TestFencedClient(t *testing.T) {
	t.Parallel()
	top, txn := topic(t, 1), name(t)
	begin := func(value string) *kgo.Client {
		cl := client(t, kgo.TransactionalID(txn), kgo.DefaultProduceTopic(top))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(testCtx(t), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	old := begin("old")
	young := begin("young")
	if err := old.EndTransaction(testCtx(t), kgo.TryCommit); err == nil {
		t.Error("the fenced client committed")
	}
	if err := young.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		rs := read(t, top, 0, committed)
		if len(rs) != 1 || string(rs[0].Value) != "young" {
			return "read_committed: " + show(rs)
		}
		return ""
	})
}

// The coordinator aborts a transaction that is open for longer than its timeout,
// and fences its producer (transaction.timeout.ms; KIP-588).
func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	top, txn := topic(t, 1), name(t)
	p := initProducer(t, txn, 500*time.Millisecond)
	p.must(top, "too slow")
	eventually(t, func() string {
		if lso := stable(t, top, 0); lso != 2 {
			return fmt.Sprintf("last stable offset %d, want 2 (record and marker)", lso)
		}
		return ""
	})
	equal(t, "read_committed", show(read(t, top, 0, committed)), "")
	// It has the epoch before the current one, as who asks again has (KIP-890): for
	// another outcome than there was.
	code(t, "a commit after the timeout", p.end(true), kerr.InvalidTxnState)
	code(t, "a record after the timeout", p.write(top, "later"), kerr.InvalidProducerEpoch)
	p.init(time.Minute)
	p.must(top, "again")
	p.commit()
	eventually(t, func() string {
		if rs := read(t, top, 0, committed); len(rs) != 1 || string(rs[0].Value) != "again" {
			return "read_committed: " + show(rs)
		}
		return ""
	})
}

// A timeout beyond transaction.max.timeout.ms (15 min) is refused.
func TestTransactionTimeoutTooLong(t *testing.T) {
	t.Parallel()
	p := &producer{t: t, txn: name(t)}
	code(t, "an hour", p.init(time.Hour), kerr.InvalidTransactionTimeout)
}

// The second version of the protocol gives every transaction an epoch of its own,
// so that no late record of one ends in the next, and an end that is asked for
// again is answered again (KIP-890, part 2).
func TestEpochOfATransaction(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "a")
	old := *p
	p.commit()
	equal(t, "producer id after the commit", p.id, old.id)
	equal(t, "epoch after the commit", p.epoch, old.epoch+1)
	retry := settled(t, func() int16 { return old.endOnce(true).ErrorCode })
	code(t, "the commit again", retry, nil)
	other := settled(t, func() int16 { return old.endOnce(false).ErrorCode })
	if other == 0 {
		t.Error("what was committed could be aborted")
	}
	code(t, "a late record of the transaction", old.write(top, "late"), kerr.InvalidProducerEpoch)
	p.must(top, "b")
	before := p.epoch
	p.abort()
	equal(t, "epoch after the abort", p.epoch, before+1)
	eventually(t, func() string {
		if got := show(read(t, top, 0, committed)); got != "0=a" || stable(t, top, 0) != 4 {
			return fmt.Sprintf("read_committed: %s to %d", got, stable(t, top, 0))
		}
		return ""
	})
}

// Clients of the first version announce partitions themselves and keep their
// epoch; what was not announced is not taken (KIP-98; KIP-890, part 1).
func TestFirstVersionOfTransactions(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	v11 := func(value string) int16 {
		t.Helper()
		return settled(t, func() int16 {
			req := produceRequest(top, 0, batch{id: p.id, epoch: p.epoch, sequence: p.seq[top], transactional: true, values: []string{value}}.bytes())
			req.TransactionID = &p.txn
			resp, err := old.Broker(int(leader(t, top, 0))).Request(testCtx(t), req)
			if err != nil {
				t.Fatal(err)
			}
			return resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		})
	}
	refused := v11("too early")
	if kerr.ErrorForCode(refused) == kerr.TransactionAbortable && kafka.Name() == cluster.Apache {
		// A broker asks the coordinator for many transactions at once, and answers all of
		// them in the words of the first one's version (AddPartitionsToTxnManager).
		refused = kerr.InvalidTxnState.Code
	}
	code(t, "a record for a partition that was not announced", refused, kerr.InvalidTxnState)
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = p.txn, p.id, p.epoch
	at := kmsg.NewAddPartitionsToTxnRequestTopic()
	at.Topic, at.Partitions = top, []int32{0}
	add.Topics = append(add.Topics, at)
	code(t, "announce", settled(t, func() int16 {
		resp, err := add.RequestWith(testCtx(t), old)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	}), nil)
	code(t, "a record", v11("a"), nil)
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = p.txn, p.id, p.epoch, true
	code(t, "commit", settled(t, func() int16 {
		resp, err := end.RequestWith(testCtx(t), old)
		if err != nil {
			t.Fatal(err)
		}
		return resp.ErrorCode
	}), nil)
	eventually(t, func() string {
		if got := show(read(t, top, 0, committed)); got != "0=a" || stable(t, top, 0) != 2 {
			return fmt.Sprintf("read_committed: %s to %d", got, stable(t, top, 0))
		}
		return ""
	})
}

// Nothing open can be committed (KIP-98, INVALID_TXN_STATE), and an id that no
// producer has belongs to nobody.
func TestEndOfNothing(t *testing.T) {
	t.Parallel()
	p := initProducer(t, name(t), time.Minute)
	code(t, "commit of nothing", p.end(true), kerr.InvalidTxnState)
	p.txn = name(t)
	refusal := kerr.InvalidProducerIDMapping
	if differs(t, "error-codes") {
		refusal = kerr.InvalidTxnState
	}
	code(t, "commit of an unknown transactional id", p.end(true), refusal)
}

// What is open can be listed, described and looked for in partitions (KIP-664).
func TestTransactionsAreDescribed(t *testing.T) {
	t.Parallel()
	top, txn := topic(t, 1), name(t)
	produce(t, top, 0, "plain")
	p := initProducer(t, txn, 50*time.Second)
	state := func() kadm.DescribedTransaction {
		t.Helper()
		ds, err := adm.DescribeTransactions(testCtx(t), txn)
		if err != nil {
			t.Fatal(err)
		}
		return ds[txn]
	}
	equal(t, "state of one that wrote nothing", state().State, "Empty")
	p.must(top, "open")
	d := state()
	equal(t, "state", d.State, "Ongoing")
	equal(t, "producer id", d.ProducerID, p.id)
	equal(t, "timeout", d.TimeoutMillis, 50_000)
	if ps := d.Topics[top]; len(d.Topics) != 1 || len(ps) != 1 {
		t.Errorf("partitions %v, want one of %s", d.Topics, top)
	}
	if age := time.Since(time.UnixMilli(d.StartTimestamp)); age < -time.Minute || age > patience {
		t.Errorf("it began %v ago", age)
	}
	for _, c := range []struct {
		states []string
		want   bool
	}{{nil, true}, {[]string{"Ongoing"}, true}, {[]string{"CompleteCommit"}, false}} {
		list, err := adm.ListTransactions(testCtx(t), []int64{p.id}, c.states)
		if err != nil {
			t.Fatal(err)
		}
		if _, found := list[txn]; found != c.want {
			t.Errorf("listed among states %v: %v, want %v", c.states, found, c.want)
		}
	}
	var set kadm.TopicsSet
	set.Add(top, 0)
	producers, err := adm.DescribeProducers(testCtx(t), set)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(producers[top].Partitions[0].ActiveProducers.Sorted(), func(a kadm.DescribedProducer) bool { return a.ProducerID == p.id })
	if i < 0 {
		t.Fatalf("producer %d is not among those of the partition", p.id)
	}
	equal(t, "first offset of its transaction", producers[top].Partitions[0].ActiveProducers.Sorted()[i].CurrentTxnStartOffset, 1)
	known := 2 // with the idempotent producer of the first record
	if differs(t, "active-producers") {
		known = 1
	}
	equal(t, "producers of the partition", len(producers[top].Partitions[0].ActiveProducers), known)
	p.commit()
	ended := "CompleteCommit"
	if differs(t, "ended-transactions") {
		ended = "Empty"
	}
	eventually(t, func() string {
		if s := state().State; s != ended {
			return "state " + s + ", want " + ended
		}
		return ""
	})
	ds, err := adm.DescribeTransactions(testCtx(t), name(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		failed(t, "one that there is not", d.Err, kerr.TransactionalIDNotFound)
	}
}

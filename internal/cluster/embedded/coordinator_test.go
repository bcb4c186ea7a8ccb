package embedded

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The transactions of a killed broker belong to others at once. Tools ask every broker for those that it
// coordinates, and do not ask for coordinators first.
func TestACoordinatorMovesAtAKill(t *testing.T) {
	c := open(t, Config{})
	ctx := testCtx(t)
	cl := client(t, c.Addrs())
	var want []string
	for i := range 6 {
		id := fmt.Sprint("tx-", i)
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
		if resp, err := req.RequestWith(ctx, cl); err != nil || resp.ErrorCode != 0 {
			t.Fatal(err, resp)
		}
		want = append(want, id)
	}
	moved := false
	for _, dead := range []int32{2, 0} {
		for _, id := range want {
			moved = moved || c.coordinatorOf(id) == dead
		}
		if err := c.Kill(ctx, dead); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range c.aliveIDs() {
			raw, err := client(t, c.live()).Broker(int(b)).Request(ctx, kmsg.NewPtrListTransactionsRequest())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range raw.(*kmsg.ListTransactionsResponse).TransactionStates {
				got = append(got, s.TransactionalID)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("brokers %v list %q, want %q", c.aliveIDs(), got, want)
		}
	}
	if !moved {
		t.Error("no broker that was killed coordinated anything")
	}
}

// A client that allows few bytes gets a response that is cut in the middle of a partition. It must name
// the aborted transactions of what it has all the same, or the client delivers aborted records.
func TestACutFetchNamesWhatWasAborted(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	cl := client(t, c.Addrs(), manual(), kgo.TransactionalID("tx"), kgo.MaxProduceRequestsInflightPerBroker(1))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "t", 0, slices.Repeat([]string{"aborted"}, 20)...) // a batch each
	if err := cl.EndTransaction(testCtx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	req := &kmsg.FetchRequest{Version: 11, ReplicaID: -1, MaxBytes: 300, IsolationLevel: 1, SessionEpoch: -1,
		Topics: []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}}}}
	resp, err := rawFetch(t, c, req)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatal(err, resp)
	}
	p := resp.Topics[0].Partitions[0]
	if a := p.AbortedTransactions; len(p.RecordBatches) == 0 || len(a) != 1 || a[0].FirstOffset != 0 {
		t.Errorf("%d bytes of an aborted transaction, and the aborted ones are %+v", len(p.RecordBatches), a)
	}
}

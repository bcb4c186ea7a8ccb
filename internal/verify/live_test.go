package verify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/tally"
)

// TestLive verifies a pipeline that works on: an ingester that commits without a
// pause and aborts now and then, another program whose transactions are open most
// of the time, and a counter. Whatever the moment, nothing is wrong with it.
func TestLive(t *testing.T) {
	// Not the bare module: where a fetch ends inside a partition, it leaves out which transactions were aborted.
	cluster, err := embedded.Open(t.Context(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	h := newHouseOn(t, cluster.Addrs())
	for parts, names := range map[int32][]string{dataParts: {dataTopic}, 2: {"bluesky-accounts", "weir.dead-letters", "weir.cursors"}} {
		made, err := h.admin.CreateTopics(t.Context(), parts, 1, nil, names...)
		if err := errors.Join(err, made.Error()); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	// Each finishes what it has begun: a transaction that is left open hides the
	// cursor until it times out.
	run := func(name string, work func(context.Context, *rand.Rand) error) {
		rnd := rand.New(rand.NewPCG(seed, uint64(len(name))))
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := work(t.Context(), rnd); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	var commits, aborts int
	run("ingester", func(ctx context.Context, rnd *rand.Rand) error {
		items := make([]item, 1+rnd.IntN(12))
		for i := range items {
			items[i] = item{partition: rnd.Int32N(dataParts), kind: []string{"create", "update", "delete"}[rnd.IntN(3)]}
			if rnd.IntN(8) == 0 {
				items[i].topic, items[i].partition = "bluesky-accounts", rnd.Int32N(2)
			}
			if rnd.IntN(20) == 0 {
				items[i].topic, items[i].partition, items[i].kind = "weir.dead-letters", 0, "malformed"
			}
		}
		if rnd.IntN(10) > 0 {
			commits++
			return h.transaction(ctx, true, true, items...)
		}
		aborts++
		seqs, counts, events := h.seqs, h.counts, h.events
		h.seqs, h.counts = map[string]int64{}, map[string]map[string]int64{}
		for topic, n := range seqs {
			h.seqs[topic], h.counts[topic] = n, map[string]int64{}
			for kind, n := range counts[topic] {
				h.counts[topic][kind] = n
			}
		}
		err := h.transaction(ctx, true, false, items...)
		h.seqs, h.counts, h.events = seqs, counts, events
		return err
	})
	others := h.client(kgo.TransactionalID("others"))
	run("another program", func(ctx context.Context, rnd *rand.Rand) error {
		if err := others.BeginTransaction(); err != nil {
			return err
		}
		err := others.ProduceSync(ctx, &kgo.Record{Topic: dataTopic, Partition: rnd.Int32N(dataParts), Value: fmt.Appendf(nil, `{"kind":"other%d"}`, rnd.IntN(3))}).FirstErr()
		return errors.Join(err, others.EndTransaction(ctx, kgo.TransactionEndTry(rnd.IntN(4) > 0)))
	})
	counter := newCounter(t, h)
	run("counter", func(work context.Context, _ *rand.Rand) error { return counter.step(ctx, work) })

	checked := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && !t.Failed(); checked++ {
		if got := h.verify(); !got.OK || got.Unverifiable+got.Trimmed > 0 {
			t.Errorf("verification %d: %+v", checked, got)
		}
	}
	cancel()
	wg.Wait()
	last := h.verify()
	if !last.OK || last.Events == 0 || last.Foreign == 0 || last.DeadLetters == 0 {
		t.Errorf("in the end: %+v", last)
	}
	if checked < 2 || commits < 20 || aborts == 0 {
		t.Errorf("%d verifications of %d commits and %d aborts prove nothing", checked, commits, aborts)
	}
	t.Logf("%d verifications during %d commits and %d aborts; %d events", checked, commits, aborts, last.Events)
}

// counter counts a topic as weir does: counts and position in one step, then the
// offset to Kafka.
type counter struct {
	h     *house
	cl    *kgo.Client
	id    string
	begun map[int32]bool
	next  map[int32]int64
}

func newCounter(t *testing.T, h *house) *counter {
	t.Helper()
	return &counter{h: h, id: h.topicID(dataTopic), begun: map[int32]bool{}, next: map[int32]int64{},
		cl: h.client(kgo.ConsumeTopics(dataTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))}
}

// step counts one batch; poll ends waiting for it.
func (c *counter) step(poll, ctx context.Context) error {
	fetches := c.cl.PollRecords(poll, 50)
	batches := map[int32]*tally.Batch{}
	fetches.EachRecord(func(r *kgo.Record) {
		b := batches[r.Partition]
		if b == nil {
			b = &tally.Batch{Group: group, Topic: dataTopic, Partition: r.Partition, TopicID: c.id, From: c.next[r.Partition], Counts: map[string]int64{}}
			batches[r.Partition] = b
		}
		kind := classify(r.Value)
		for _, header := range r.Headers {
			if header.Key == "kind" {
				kind = string(header.Value)
			}
		}
		b.Counts[kind]++
		b.Next = r.Offset + 1
	})
	offsets := kadm.Offsets{}
	for p, b := range batches {
		if !c.begun[p] {
			if _, err := c.h.store.Begin(ctx, group, dataTopic, p, c.id, 0); err != nil {
				return err
			}
			c.begun[p] = true
		}
		results, err := c.h.store.Apply(ctx, []tally.Batch{*b})
		if err != nil {
			return err
		}
		if results[0].Err != nil {
			return results[0].Err
		}
		c.next[p] = b.Next
		offsets.AddOffset(dataTopic, p, b.Next, -1)
	}
	if len(offsets) == 0 {
		return nil
	}
	return c.h.admin.CommitAllOffsets(ctx, group, offsets)
}

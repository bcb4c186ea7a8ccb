package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareGroup returns the name of a new share group that reads from the beginning
// (KIP-932: by default it reads what comes after it began).
func shareGroup(t *testing.T, configs ...string) string {
	t.Helper()
	if archives() {
		t.Skip("the beginning of every topic is archived, where a new share group does not begin: see the difference share-archive")
	}
	group := name(t)
	groupSettings(t, group, append([]string{"share.auto.offset.reset", "earliest"}, configs...)...)
	return group
}

// delivery is a record that a share consumer got.
type delivery struct {
	value string
	count int32
}

// next polls a share consumer until it has n records.
func next(t *testing.T, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	var all []*kgo.Record
	for ctx := testCtx(t); len(all) < n; {
		fs := cl.PollRecords(ctx, n-len(all))
		if err := fs.Err0(); err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, fs.Records()...)
	}
	return all
}

func deliveries(rs []*kgo.Record) map[delivery]int {
	m := make(map[delivery]int)
	for _, r := range rs {
		m[delivery{string(r.Value), r.DeliveryCount()}]++
	}
	return m
}

func flushAcks(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.FlushAcks(testCtx(t)); err != nil {
		t.Fatal(err)
	}
}

// A record that is accepted is done; one that is released is delivered again, with
// a higher count; one that is rejected never again (KIP-932).
func TestShareAcknowledgements(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t)
	produce(t, top, 0, "accept", "release", "reject")
	cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	for _, r := range next(t, cl, 3) {
		equal(t, "count of a first delivery", r.DeliveryCount(), 1)
		switch string(r.Value) {
		case "accept":
			r.Ack(kgo.AckAccept)
		case "release":
			r.Ack(kgo.AckRelease)
		case "reject":
			r.Ack(kgo.AckReject)
		}
	}
	flushAcks(t, cl)
	again := next(t, cl, 1)
	if want := map[delivery]int{{"release", 2}: 1}; !maps.Equal(deliveries(again), want) {
		t.Fatalf("delivered again: %v, want %v", deliveries(again), want)
	}
	again[0].Ack(kgo.AckAccept)
	flushAcks(t, cl)
	produce(t, top, 0, "last")
	last := next(t, cl, 1)
	if want := map[delivery]int{{"last", 1}: 1}; !maps.Equal(deliveries(last), want) {
		t.Errorf("delivered in the end: %v, want %v", deliveries(last), want)
	}
}

// A record that is released again and again is given up at the limit of
// deliveries (group config share.delivery.count.limit, 5 by default).
func TestShareDeliveryLimit(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t)
	produce(t, top, 0, "poison")
	cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	for n := range int32(5) {
		r := next(t, cl, 1)[0]
		equal(t, "value", string(r.Value), "poison")
		equal(t, "delivery", r.DeliveryCount(), n+1)
		r.Ack(kgo.AckRelease)
		flushAcks(t, cl)
	}
	produce(t, top, 0, "good")
	equal(t, "the next record", string(next(t, cl, 1)[0].Value), "good")
}

// Who keeps a record for longer than the lock's duration loses it to others (group
// config share.record.lock.duration.ms).
func TestShareLock(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t, "share.record.lock.duration.ms", "1000") // the embedded cluster has the brokers' 4 s
	produce(t, top, 0, "a")
	// Which does not fetch ahead, or it would get the record again itself.
	slow := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top), kgo.ShareMaxRecordsStrict())
	equal(t, "first delivery", next(t, slow, 1)[0].DeliveryCount(), 1)
	other := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	r := next(t, other, 1)[0]
	equal(t, "value", string(r.Value), "a")
	equal(t, "delivery", r.DeliveryCount(), 2)
	r.Ack(kgo.AckAccept)
	flushAcks(t, other)
}

// A share group may have more members than partitions, and all of them work; each
// record is one member's at a time.
func TestShareMembersBeyondPartitions(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t)
	const members, records = 3, 300
	var mu sync.Mutex
	by := make(map[int]int)
	counts := make(map[string]int)
	ctx, stop := context.WithCancel(testCtx(t))
	defer stop()
	var wg sync.WaitGroup
	for m := range members {
		cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top), kgo.ShareMaxRecords(5), kgo.ShareMaxRecordsStrict())
		wg.Go(func() {
			for ctx.Err() == nil {
				fs := cl.PollRecords(ctx, 5)
				mu.Lock()
				fs.EachRecord(func(r *kgo.Record) { by[m]++; counts[string(r.Value)]++; r.Ack(kgo.AckAccept) })
				mu.Unlock()
				_ = cl.FlushAcks(ctx) // what is not acknowledged is seen as delivered twice
			}
		})
	}
	eventually(t, func() string { // all members are assigned the partition
		ds, err := adm.DescribeShareGroups(testCtx(t), group)
		if err != nil || len(ds[group].Members) != members {
			return fmt.Sprintf("%d members (%v)", len(ds[group].Members), err)
		}
		for _, m := range ds[group].Members {
			if len(m.Assignment) != 1 {
				return "a member has no partition"
			}
		}
		return ""
	})
	cl := client(t, kgo.DefaultProduceTopic(top), kgo.MaxBufferedRecords(1<<16), kgo.ProducerLinger(0))
	for i := range records {
		if err := cl.ProduceSync(testCtx(t), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(counts) != records {
			return fmt.Sprintf("%d of %d records delivered", len(counts), records)
		}
		return ""
	})
	stop()
	wg.Wait()
	if len(by) < 2 {
		t.Errorf("of %d members only %d got records", members, len(by))
	}
	for v, n := range counts {
		if n != 1 {
			t.Errorf("record %s was delivered %d times, although each delivery was accepted", v, n)
		}
	}
}

// What a member holds when it goes is delivered to others (KIP-932).
func TestShareMemberLeaves(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t)
	produce(t, top, 0, "a")
	first := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	held := next(t, first, 1)[0]
	held.Ack(kgo.AckRelease)
	first.LeaveGroup()
	second := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	r := next(t, second, 1)[0]
	equal(t, "value", string(r.Value), "a")
	if n := r.DeliveryCount(); n < 2 || n > 3 {
		t.Errorf("delivery %d: want 2, or 3 where the first member was given it again before it left", n)
	}
}

// Share groups are listed as such, have a start offset for each partition and can be
// sent back to an earlier one while they are empty (KIP-932).
func TestShareGroupOffsets(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	group := shareGroup(t)
	produce(t, top, 0, "a", "b", "c")
	cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	for _, r := range next(t, cl, 3) {
		r.Ack(kgo.AckAccept)
	}
	flushAcks(t, cl)
	list, err := adm.ListGroupsByType(testCtx(t), []string{"share"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := list[group]; !ok {
		t.Error("it is not listed among share groups")
	}
	back := func() error {
		t.Helper()
		var os kadm.Offsets
		os.Add(kadm.Offset{Topic: top, At: 1})
		rs, err := adm.AlterShareGroupOffsets(testCtx(t), group, os)
		if err != nil {
			return err
		}
		return rs[top][0]
	}
	failed(t, "with members", back(), kerr.NonEmptyGroup)
	cl.LeaveGroup()
	eventually(t, func() string {
		if err := back(); err != nil {
			return err.Error()
		}
		return ""
	})
	os, err := adm.DescribeShareGroupOffsets(testCtx(t), group)
	if err = errors.Join(err, os[group].Err, os[group].Offsets.Error()); err != nil {
		t.Fatal(err)
	}
	equal(t, "start offset", os[group].Offsets[top][0].StartOffset, 1)
	produce(t, top, 0, "d")
	want := "b"
	if !differs(t, "share-offsets") {
		want = "d"
	}
	again := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	equal(t, "first record afterwards", string(next(t, again, 1)[0].Value), want)
}

// What brokers offer beyond the first Kafka 4 is switched on: transactions with an
// epoch each (KIP-890), the new group protocol (KIP-848), share groups (KIP-932).
func TestFeatures(t *testing.T) {
	t.Parallel()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	levels := make(map[string]int16)
	for _, f := range resp.FinalizedFeatures {
		levels[f.Name] = f.MaxVersionLevel
	}
	for name, least := range map[string]int16{"transaction.version": 2, "group.version": 1, "share.version": 1} {
		if levels[name] < least {
			t.Errorf("%s is %d, want at least %d", name, levels[name], least)
		}
	}
}

// A new share group whose share.auto.offset.reset is earliest begins where the log begins (KIP-932).
// It gets every record from there on.
func TestShareGroupOfManyBatches(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), shareGroup(t)
	const n = 120
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	produce(t, top, 0, want...)
	enforce(t)
	equal(t, "records", len(read(t, top, 0, uncommitted)), n)
	cl := client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(top))
	first := next(t, cl, 1)[0]
	if differs(t, "share-archive") {
		if first.Offset < 10 || first.Offset > n-20 {
			t.Errorf("it begins at %d, want the oldest record outside of the archive", first.Offset)
		}
	} else {
		equal(t, "its first record", first.Offset, 0)
	}
	// What it has not acknowledged is not archived under it, however much follows.
	produce(t, top, 0, want...)
	enforce(t)
	got := map[int64]bool{first.Offset: true}
	first.Ack(kgo.AckAccept)
	for int64(len(got)) < 2*n-first.Offset {
		for _, r := range next(t, cl, 1) { // some of them again, when their locks have expired
			got[r.Offset] = true
			r.Ack(kgo.AckAccept)
		}
	}
}

package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// position returns what a group has committed of partition 0, -1 where nothing.
func position(t *testing.T, group, topic string, requireStable bool) (int64, int16) {
	t.Helper()
	var at int64
	c := settled(t, func() int16 {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.RequireStable = requireStable
		rg := kmsg.NewOffsetFetchRequestGroup()
		rg.Group = group
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.Partitions = topic, []int32{0}
		rg.Topics = append(rg.Topics, rt)
		req.Groups = append(req.Groups, rg)
		resp, err := req.RequestWith(testCtx(t), raw)
		if err != nil {
			t.Fatal(err)
		}
		g := resp.Groups[0]
		if g.ErrorCode != 0 {
			return g.ErrorCode
		}
		at = g.Topics[0].Partitions[0].Offset
		return g.Topics[0].Partitions[0].ErrorCode
	})
	return at, c
}

// Positions that belong to a transaction count when it is committed, not before
// and not when it is aborted (KIP-98); who asks for stable ones is told to wait
// meanwhile (KIP-447, UNSTABLE_OFFSET_COMMIT).
func TestOffsetsInTransactions(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	want := func(when string, at int64) {
		t.Helper()
		eventually(t, func() string {
			if got, c := position(t, group, top, true); c != 0 || got != at {
				return fmt.Sprintf("%s the position is %d (%v), want %d", when, got, kerr.ErrorForCode(c), at)
			}
			return ""
		})
	}
	p := initProducer(t, name(t), time.Minute)
	want("at first", -1)
	p.must(top, "a")
	code(t, "offset", p.offset(group, top, 5), nil)
	got, c := position(t, group, top, false)
	code(t, "position while it is open", c, nil)
	equal(t, "position while it is open", got, -1)
	_, c = position(t, group, top, true)
	code(t, "stable position while it is open", c, kerr.UnstableOffsetCommit)
	p.commit()
	want("after the commit", 5)
	code(t, "offset", p.offset(group, top, 9), nil)
	p.abort()
	want("after the abort", 5)
}

// Positions of a group with members are taken from members alone, and of the
// current generation (KIP-447).
func TestOffsetsInTransactionsOfAMember(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	cl := client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(top))
	poll(t, cl)
	var member string
	var generation int32
	eventually(t, func() string {
		member, generation = cl.GroupMetadata()
		if member == "" || generation < 1 {
			return "the member has not joined"
		}
		return ""
	})
	p := initProducer(t, name(t), time.Minute)
	as := func(member string, generation int32) int16 {
		t.Helper()
		return p.offset(group, top, 1, func(r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = member, generation })
	}
	code(t, "a member that there is not", as("nobody", generation), kerr.UnknownMemberID)
	code(t, "another generation", as(member, generation+1), kerr.IllegalGeneration)
	code(t, "the member", as(member, generation), nil)
	p.commit()
	eventually(t, func() string {
		if got, c := position(t, group, top, true); c != 0 || got != 1 {
			return fmt.Sprintf("position %d (%v), want 1", got, kerr.ErrorForCode(c))
		}
		return ""
	})
}

// Consume, transform, produce: each input has exactly one committed output,
// whichever transactions are given up in between (KIP-98, KIP-447).
func TestConsumeTransformProduce(t *testing.T) {
	t.Parallel()
	in, out, group := topic(t, 1), topic(t, 1), name(t)
	const n = 60
	for i := range n {
		produce(t, in, 0, fmt.Sprint(i))
	}
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(kafka.Addrs()...), kgo.TransactionalID(name(t)), kgo.ConsumerGroup(group), kgo.ConsumeTopics(in),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DefaultProduceTopic(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done, given := 0, 0
	for ctx := testCtx(t); done < n; {
		fs := s.PollRecords(ctx, 10)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		if fs.NumRecords() == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { s.Produce(ctx, &kgo.Record{Value: r.Value}, nil) })
		commit := given%2 == 1 // every second time
		given++
		ok, err := s.End(ctx, kgo.TransactionEndTry(commit))
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			done += fs.NumRecords()
		}
	}
	eventually(t, func() string {
		var got []string
		for _, r := range read(t, out, 0, committed) {
			got = append(got, string(r.Value))
		}
		if len(got) != n {
			return fmt.Sprintf("%d outputs, want %d", len(got), n)
		}
		for i, v := range got {
			if v != fmt.Sprint(i) {
				return fmt.Sprintf("output %d is %s", i, v)
			}
		}
		return ""
	})
}

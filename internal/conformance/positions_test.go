package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// commitAt commits a position from outside of a group.
func commitAt(t *testing.T, group, topic string, at int64, metadata string) error {
	t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, At: at, LeaderEpoch: -1, Metadata: metadata})
	var failure error
	eventually(t, func() string {
		rs, err := adm.CommitOffsets(testCtx(t), group, os)
		if failure = errors.Join(err, rs.Error()); errors.Is(failure, kerr.CoordinatorNotAvailable) || errors.Is(failure, kerr.NotCoordinator) || errors.Is(failure, kerr.CoordinatorLoadInProgress) {
			return failure.Error()
		}
		return ""
	})
	return failure
}

// Positions can be stored without members, with a note; those of a group with
// members are its members' alone (protocol guide, OffsetCommit).
func TestPositionsFromOutside(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	at, c := position(t, group, top, false)
	code(t, "position of a group that there is not", c, nil)
	equal(t, "position of a group that there is not", at, -1)
	if err := commitAt(t, group, top, 42, "a note"); err != nil {
		t.Fatal(err)
	}
	os, err := adm.FetchOffsets(testCtx(t), group)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := os.Lookup(top, 0)
	equal(t, "position", o.At, 42)
	equal(t, "note", o.Metadata, "a note")
	answered(t, "a note of 5,000 bytes", commitAt(t, group, top, 42, strings.Repeat("x", 5000)), lenient(t, kerr.OffsetMetadataTooLarge))
	failed(t, "a topic that there is not", commitAt(t, group, name(t), 1, ""), kerr.UnknownTopicOrPartition)

	l := newLedger()
	a := l.join(t, "a", group, top, kgo.Balancers(kgo.RangeBalancer()))
	l.rests(t, map[string]int{"a": 1})
	failed(t, "from outside of a group with members", commitAt(t, group, top, 7, ""), kerr.UnknownMemberID)
	a.stop()
	eventually(t, func() string {
		if err := commitAt(t, group, top, 7, ""); err != nil {
			return err.Error()
		}
		return ""
	})
}

// Older clients ask for one group at a time, and are told the same (OffsetFetch up
// to version 7).
func TestPositionsForOlderClients(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	cl := client(t, kgo.MaxVersions(kversion.V2_5_0()))
	ask := func() (int64, int16) {
		t.Helper()
		var at int64
		c := settled(t, func() int16 {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group, req.RequireStable = group, true
			rt := kmsg.NewOffsetFetchRequestTopic()
			rt.Topic, rt.Partitions = top, []int32{0}
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(testCtx(t), cl)
			if err != nil {
				t.Fatal(err)
			}
			if resp.ErrorCode != 0 {
				return resp.ErrorCode
			}
			at = resp.Topics[0].Partitions[0].Offset
			return resp.Topics[0].Partitions[0].ErrorCode
		})
		return at, c
	}
	at, c := ask()
	code(t, "position of a group that there is not", c, nil)
	equal(t, "position of a group that there is not", at, -1)
	p := initProducer(t, name(t), time.Minute)
	code(t, "offset in a transaction", p.offset(group, top, 3), nil)
	_, c = ask()
	code(t, "stable position while the transaction is open", c, kerr.UnstableOffsetCommit)
	p.commit()
	eventually(t, func() string {
		if at, c := ask(); at != 3 || c != 0 {
			return fmt.Sprintf("position %d (%v), want 3", at, kerr.ErrorForCode(c))
		}
		return ""
	})
}

// A group is Empty without members and Dead when it is gone; it can be deleted
// when it is empty, and positions of topics that nobody subscribes to always
// (KIP-229, KIP-496, KIP-518).
func TestGroupsEnd(t *testing.T) {
	t.Parallel()
	top, group, l := topic(t, 1), name(t), newLedger()
	a := l.join(t, "a", group, top, kgo.Balancers(kgo.RangeBalancer()))
	l.rests(t, map[string]int{"a": 1})
	remove := func() error {
		t.Helper()
		rs, err := adm.DeleteGroups(testCtx(t), group)
		if err != nil {
			return err
		}
		return rs[group].Err
	}
	failed(t, "delete a group with members", remove(), kerr.NonEmptyGroup)
	var set kadm.TopicsSet
	set.Add(top, 0)
	gone, err := adm.DeleteOffsets(testCtx(t), group, set)
	if err != nil {
		t.Fatal(err)
	}
	failed(t, "delete positions of a topic that is subscribed to", gone.Error(), kerr.GroupSubscribedToTopic)
	listed := func(state string) bool {
		t.Helper()
		gs, err := adm.ListGroups(testCtx(t), state)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := gs[group]
		return ok
	}
	eventually(t, func() string {
		if !listed("Stable") || listed("Empty") {
			return "it is not listed as stable"
		}
		return ""
	})
	a.stop()
	eventually(t, func() string {
		if listed("Stable") || !listed("Empty") {
			return "it is not listed as empty"
		}
		return ""
	})
	if err := commitAt(t, group, top, 1, ""); err != nil {
		t.Fatal(err)
	}
	if gone, err = adm.DeleteOffsets(testCtx(t), group, set); err != nil || gone.Error() != nil {
		t.Fatal(err, gone.Error())
	}
	if at, _ := position(t, group, top, false); at != -1 {
		t.Errorf("the deleted position is %d", at)
	}
	if err := commitAt(t, group, top, 1, ""); err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	failed(t, "delete it again", remove(), kerr.GroupIDNotFound)
	ds, err := adm.DescribeGroups(testCtx(t), group)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "state of what is gone", ds[group].State, "Dead")
}

// A group that has no members left can go on under the other protocol (KIP-848,
// "Upgrade"), with the positions that it had.
func TestGroupChangesItsProtocol(t *testing.T) {
	t.Parallel()
	top, group, l := topic(t, 1), name(t), newLedger()
	produce(t, top, 0, "a", "b", "c")
	a := l.join(t, "a", group, top, kgo.Balancers(kgo.RangeBalancer()))
	eventually(t, func() string {
		if n, _ := l.consumed(); n != 3 {
			return fmt.Sprintf("%d records consumed", n)
		}
		return ""
	})
	a.stop()
	produce(t, top, 0, "d")
	l.join(t, "b", group, top, kgo.ServerSideBalancer())
	l.rests(t, map[string]int{"b": 1})
	eventually(t, func() string {
		if n, twice := l.consumed(); n != 4 || twice != 0 {
			return fmt.Sprintf("%d records consumed, %d twice, want 4 and 0", n, twice)
		}
		return ""
	})
	list, err := adm.ListGroupsByType(testCtx(t), []string{"consumer"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := list[group]; !ok {
		t.Error("it is not listed among those of the new protocol")
	}
}

// The coordinator is the same whoever is asked, and other brokers say that they
// are not it (protocol guide, FindCoordinator).
func TestCoordinators(t *testing.T) {
	t.Parallel()
	group := name(t)
	if err := commitAt(t, group, topic(t, 1), 1, ""); err != nil {
		t.Fatal(err)
	}
	found := make(map[int32]bool)
	var coordinator int32
	for _, b := range brokers(t) {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKeys = []string{group}
		resp, err := req.RequestWith(testCtx(t), plain.Broker(int(b)))
		if err != nil {
			t.Fatal(err)
		}
		code(t, "find coordinator", resp.Coordinators[0].ErrorCode, nil)
		coordinator = resp.Coordinators[0].NodeID
		found[coordinator] = true
	}
	equal(t, "different answers", len(found), 1)
	for _, b := range brokers(t) {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = group, "x", 1
		resp, err := plain.Broker(int(b)).Request(testCtx(t), req)
		if err != nil {
			t.Fatal(err)
		}
		if c := resp.(*kmsg.HeartbeatResponse).ErrorCode; (c == kerr.NotCoordinator.Code) == (b == coordinator) {
			t.Errorf("broker %d, where %d coordinates, answers %v", b, coordinator, kerr.ErrorForCode(c))
		}
	}
}

// A consumer that assigns its partitions itself may have a group.instance.id: it is no
// member, so that the id does not matter (confluent-kafka and kafka-python send it).
func TestPositionsWithAnInstanceID(t *testing.T) {
	t.Parallel()
	top, group, instance := topic(t, 1), name(t), "instance"
	commit := func(at int64, member string, generation int32) int16 {
		t.Helper()
		return settled(t, func() int16 {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.MemberID, req.Generation, req.InstanceID = group, member, generation, &instance
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic = top
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Offset = at
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(testCtx(t), raw)
			if err != nil {
				t.Fatal(err)
			}
			return resp.Topics[0].Partitions[0].ErrorCode
		})
	}
	for at := range int64(2) { // of a group that there is not, and of one that there is
		code(t, "commit without a group's members", commit(at, "", -1), nil)
		got, _ := position(t, group, top, false)
		equal(t, "position", got, at)
	}
	l := newLedger()
	l.join(t, "a", group, top, kgo.Balancers(kgo.RangeBalancer()))
	l.rests(t, map[string]int{"a": 1})
	code(t, "commit from outside of a group with members", commit(7, "", -1), kerr.UnknownMemberID)
	code(t, "commit of a member that there is not", commit(7, "nobody", 1), kerr.UnknownMemberID)
}

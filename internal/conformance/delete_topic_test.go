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
)

// remove deletes a topic and waits until no broker knows it.
func remove(t *testing.T, topic string) {
	t.Helper()
	if _, err := adm.DeleteTopic(testCtx(t), topic); err != nil {
		t.Fatal(err)
	}
	gone(t, topic)
}

func gone(t *testing.T, topic string) {
	t.Helper()
	eventually(t, func() string {
		for _, b := range brokers(t) {
			req := kmsg.NewPtrMetadataRequest()
			rt := kmsg.NewMetadataRequestTopic()
			rt.Topic = &topic
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(testCtx(t), plain.Broker(int(b)))
			if err != nil || resp.Topics[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
				return fmt.Sprintf("broker %d still knows topic %s (%v)", b, topic, err)
			}
		}
		return ""
	})
}

// Requests about a deleted topic name it as unknown.
func TestRequestsAboutADeletedTopic(t *testing.T) {
	t.Parallel()
	top, group := topic(t, 1), name(t)
	produce(t, top, 0, "a")
	lead := leader(t, top, 0)
	answered(t, "commit", commitAt(t, group, top, 1, ""), nil)
	remove(t, top)
	code(t, "fetch", fetch(t, lead, top, 0, 0, uncommitted).ErrorCode, kerr.UnknownTopicOrPartition)
	code(t, "produce", produceTo(t, lead, top), kerr.UnknownTopicOrPartition)
	code(t, "DeleteRecords", trimAt(t, lead, top, 0, 1).ErrorCode, kerr.UnknownTopicOrPartition)
	failed(t, "settings", alter(t, top, change(kadm.SetConfig, "retention.ms", "1000")), kerr.UnknownTopicOrPartition)
	if err := commitAt(t, group, top, 1, ""); !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) {
		t.Errorf("commit: %v", err) // a client that knows the topic names it by its ID
	}
	rs, err := adm.DescribeTopicConfigs(testCtx(t), top)
	if err == nil {
		_, err = rs.On(top, func(r *kadm.ResourceConfig) error { return r.Err })
	}
	failed(t, "describe settings", err, kerr.UnknownTopicOrPartition)
}

// A topic can be named by its ID, not by both, and each of several has an answer of its own
// (KIP-516).
func TestDeleteTopicsByID(t *testing.T) {
	t.Parallel()
	first, second := topic(t, 1), topic(t, 1)
	list, err := adm.ListTopics(testCtx(t), first)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(topics ...kmsg.DeleteTopicsRequestTopic) []kmsg.DeleteTopicsResponseTopic {
		t.Helper()
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Topics, req.TimeoutMillis = topics, 15000
		resp, err := req.RequestWith(testCtx(t), plain)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Topics
	}
	byID := kmsg.DeleteTopicsRequestTopic{TopicID: list[first].ID}
	got := ask(kmsg.DeleteTopicsRequestTopic{Topic: &first, TopicID: list[first].ID})
	code(t, "by name and ID", got[0].ErrorCode, kerr.InvalidRequest)
	nobody := name(t)
	codes := make(map[string]int16)
	for _, a := range ask(byID, kmsg.DeleteTopicsRequestTopic{Topic: &second}, kmsg.DeleteTopicsRequestTopic{Topic: &nobody},
		kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{1}}) {
		if a.Topic == nil || *a.Topic == "" {
			codes["id"] = a.ErrorCode
		} else {
			codes[*a.Topic] = a.ErrorCode
		}
	}
	code(t, "by ID", codes[first], nil)
	code(t, "by name", codes[second], nil)
	code(t, "a name that does not exist", codes[nobody], kerr.UnknownTopicOrPartition)
	code(t, "an ID that does not exist", codes["id"], kerr.UnknownTopicID)
	gone(t, first)
	gone(t, second)
}

// Deleting a topic under a group deletes the offsets that were committed for it, and not those of
// other topics. The members go on with the other topics.
func TestDeletedUnderAConsumer(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, other, group, l := topic(t, 2), topic(t, 1), name(t), newLedger()
			produce(t, top, 0, "a")
			produce(t, other, 0, "b")
			l.join(t, "a", group, top, append(p.opts, kgo.ConsumeTopics(top, other), kgo.MetadataMaxAge(200*time.Millisecond))...)
			committed := func(top string, want int64) {
				t.Helper()
				eventually(t, func() string {
					if at, c := position(t, group, top, false); at != want || c != 0 {
						return fmt.Sprintf("committed offset %d of %s (%v), want %d", at, top, kerr.ErrorForCode(c), want)
					}
					return ""
				})
			}
			committed(top, 1)
			committed(other, 1)
			remove(t, top)
			eventually(t, func() string {
				os, err := adm.FetchOffsets(testCtx(t), group)
				if err != nil {
					return err.Error()
				}
				if o, ok := os.Lookup(top, 0); ok {
					return fmt.Sprintf("the group still has offset %d of the deleted topic", o.At)
				}
				return ""
			})
			produce(t, other, 0, "c")
			committed(other, 2)
		})
	}
}

// A member of a group reads a topic that is created again under its name from where its reset
// policy says, because the offsets of the old topic are deleted with it.
func TestRecreatedUnderAGroup(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, group, l := topic(t, 1), name(t), newLedger()
			produce(t, top, 0, "a", "b", "c")
			a := l.join(t, "a", group, top, p.opts...)
			eventually(t, func() string {
				if at, _ := position(t, group, top, false); at != 3 {
					return fmt.Sprintf("committed offset %d, want 3", at)
				}
				return ""
			})
			a.stop()
			remove(t, top)
			if err := create(t, top, 1, 3); err != nil {
				t.Fatal(err)
			}
			known(t, top, 1)
			at, c := position(t, group, top, false)
			code(t, "committed offset of the new topic", c, nil)
			equal(t, "committed offset of the new topic", at, -1)
			produce(t, top, 0, "d")
			l.join(t, "b", group, top, p.opts...)
			eventually(t, func() string {
				if l.times(0, 0) != 2 { // a of the old topic and d of the new one
					return "the new topic's first record is not consumed"
				}
				return ""
			})
		})
	}
}

// A transaction with records in a topic that is deleted meanwhile ends, and its other records are
// committed.
func TestDeletedInATransaction(t *testing.T) {
	t.Parallel()
	top, other := topic(t, 1), topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "a")
	p.must(other, "b")
	remove(t, top)
	p.commit()
	eventually(t, func() string {
		if got := show(read(t, other, 0, committed)); got != "0=b" {
			return fmt.Sprintf("the other topic has %q, want 0=b", got)
		}
		return ""
	})
	p.must(other, "c")
	p.commit()
}

// Every character that a topic's name may have works in every request; a name that is not
// allowed is rejected, and one request may mix both.
func TestNamesOfTopics(t *testing.T) {
	t.Parallel()
	for _, n := range []string{".hidden", "_", "-", "...", "__two_underscores", "A.b-C_9", strings.Repeat("x", 249)} {
		if err := create(t, n, 1, 3); err != nil {
			t.Fatalf("create %q: %v", n, err)
		}
		known(t, n, 1)
		produce(t, n, 0, "a", "b")
		equal(t, "log of "+n, show(read(t, n, 0, uncommitted)), "0=a 1=b")
		group := name(t)
		answered(t, "commit", commitAt(t, group, n, 1, ""), nil)
		at, _ := position(t, group, n, false)
		equal(t, "committed offset of "+n, at, 1)
		answered(t, "set", alter(t, n, change(kadm.SetConfig, "retention.ms", "5000000")), nil)
		becomes(t, n, "retention.ms", "5000000")
		answered(t, "delete records of "+n, trim(t, n, 1), nil)
		remove(t, n)
	}
	for _, n := range []string{"a/b", "a b", "a\\b", "ü", "a:b", "a\x00b", "<b>", "a%2Fb", "..", strings.Repeat("x", 250)} {
		failed(t, fmt.Sprintf("create %q", n), create(t, n, 1, 3), kerr.InvalidTopicException)
		list, err := adm.ListTopics(testCtx(t), n)
		if err != nil {
			t.Fatal(err)
		}
		if e := list[n].Err; !errors.Is(e, kerr.InvalidTopicException) && !errors.Is(e, kerr.UnknownTopicOrPartition) {
			t.Errorf("metadata of %q: %v", n, e)
		}
		_, err = adm.DeleteTopic(testCtx(t), n)
		failed(t, fmt.Sprintf("delete %q", n), err, kerr.UnknownTopicOrPartition)
	}
	good := name(t)
	rs, err := adm.CreateTopics(testCtx(t), 1, 3, nil, good, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "the good one of two", rs[good].Err, nil)
	failed(t, "the other", rs["a/b"].Err, kerr.InvalidTopicException)
}

// Partitions can be added on chosen brokers, or only as a question; what cannot be added leaves
// the topic as it is (KIP-195).
func TestCreatePartitionsAnswers(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	ids := brokers(t)
	ask := func(count int32, validate bool, assign ...[]int32) *kerr.Error {
		t.Helper()
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis, req.ValidateOnly = 15000, validate
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = top, count
		for _, replicas := range assign {
			rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
		}
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(testCtx(t), plain)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := errors.AsType[*kerr.Error](kerr.ErrorForCode(resp.Topics[0].ErrorCode))
		return e
	}
	equal(t, "zero", ask(0, false), kerr.InvalidPartitions)
	equal(t, "a negative number", ask(-1, false), kerr.InvalidPartitions)
	equal(t, "two new ones, one of them assigned", ask(3, false, ids[:1]), kerr.InvalidReplicaAssignment)
	equal(t, "a broker that does not exist", ask(2, false, []int32{99}), kerr.InvalidReplicaAssignment)
	equal(t, "only a question", ask(4, true), nil)
	known(t, top, 1)
	equal(t, "with an assignment", ask(2, false, []int32{ids[1], ids[2], ids[0]}), nil)
	known(t, top, 2)
	produce(t, top, 1, "a")
	equal(t, "the new partition", show(read(t, top, 1, uncommitted)), "0=a")
}

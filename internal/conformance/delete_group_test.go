package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteGroups deletes groups in one request a coordinator, and returns the error of each.
func deleteGroups(t *testing.T, groups ...string) map[string]error {
	t.Helper()
	rs, err := adm.DeleteGroups(testCtx(t), groups...)
	if err != nil && len(rs) == 0 {
		t.Fatal(err)
	}
	out := make(map[string]error)
	for g, r := range rs {
		out[g] = r.Err
	}
	return out
}

// Groups of every kind can be deleted while they have no members, several at once, and each has
// its own answer (KIP-229, KIP-848, KIP-932).
func TestDeleteGroups(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a")
	nobody, offsetsOnly := name(t), name(t)
	answered(t, "commit", commitAt(t, offsetsOnly, top, 1, ""), nil)
	groups := []string{nobody, offsetsOnly}
	want := map[string]*kerr.Error{nobody: kerr.GroupIDNotFound, offsetsOnly: nil}
	var stops []func()
	for _, p := range protocols()[3:] {
		group, l := name(t), newLedger()
		m := l.join(t, "a", group, top, p.opts...)
		l.rests(t, map[string]int{"a": 1})
		stops = append(stops, m.stop)
		groups, want[group] = append(groups, group), kerr.NonEmptyGroup
	}
	share := shareGroup(t)
	cl := client(t, kgo.ShareGroup(share), kgo.ConsumeTopics(top))
	next(t, cl, 1)
	groups, want[share] = append(groups, share), kerr.NonEmptyGroup

	got := deleteGroups(t, groups...)
	for g, w := range want {
		answered(t, "delete "+g, got[g], w)
	}
	for _, stop := range stops {
		stop()
	}
	flushAcks(t, cl)
	cl.Close()
	for _, g := range groups[2:] {
		eventually(t, func() string {
			if err := deleteGroups(t, g)[g]; err != nil {
				return fmt.Sprintf("delete %s: %v", g, err)
			}
			return ""
		})
		failed(t, "delete "+g+" again", deleteGroups(t, g)[g], kerr.GroupIDNotFound)
	}
	at, c := position(t, offsetsOnly, top, false)
	code(t, "offset of a deleted group", c, nil)
	equal(t, "offset of a deleted group", at, -1)
	answered(t, "a group of the same name begins anew", commitAt(t, offsetsOnly, top, 1, ""), nil)
}

// A group without a name is not a group.
func TestDeleteTheGroupWithoutAName(t *testing.T) {
	t.Parallel()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{""}
	for _, b := range brokers(t) {
		resp, err := plain.Broker(int(b)).Request(testCtx(t), req)
		if err != nil {
			t.Fatal(err)
		}
		if c := resp.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode; c != kerr.InvalidGroupID.Code &&
			c != kerr.NotCoordinator.Code && c != kerr.GroupIDNotFound.Code {
			t.Errorf("broker %d: %v", b, kerr.ErrorForCode(c))
		}
	}
}

// deleteOffset deletes the committed offset of one partition, and returns the error of the group
// or of the partition.
func deleteOffset(t *testing.T, group, topic string, part int32) error {
	t.Helper()
	var set kadm.TopicsSet
	set.Add(topic, part)
	rs, err := adm.DeleteOffsets(testCtx(t), group, set)
	if err != nil {
		return err
	}
	return rs.Error()
}

// Offsets of single partitions can be deleted, except for topics that a member is subscribed to
// (KIP-496).
func TestDeleteOffsets(t *testing.T) {
	t.Parallel()
	top, other, group := topic(t, 2), topic(t, 1), name(t)
	failed(t, "of a group that does not exist", deleteOffset(t, group, top, 0), kerr.GroupIDNotFound)
	var os kadm.Offsets
	for p := range int32(2) {
		os.Add(kadm.Offset{Topic: top, Partition: p, At: 7, LeaderEpoch: -1})
	}
	answered(t, "commit", commitAt(t, group, other, 3, ""), nil)
	rs, err := adm.CommitOffsets(testCtx(t), group, os)
	if err = errors.Join(err, rs.Error()); err != nil {
		t.Fatal(err)
	}
	left := func(want string) {
		t.Helper()
		all, err := adm.FetchOffsets(testCtx(t), group)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, o := range all.Offsets().Sorted() {
			if o.At >= 0 {
				have = append(have, fmt.Sprintf("%s/%d=%d", map[string]string{top: "top", other: "other"}[o.Topic], o.Partition, o.At))
			}
		}
		equal(t, "offsets", strings.Join(have, " "), want)
	}
	answered(t, "of one partition", deleteOffset(t, group, top, 1), nil)
	answered(t, "of a partition without an offset", deleteOffset(t, group, top, 1), nil)
	failed(t, "of a topic that does not exist", deleteOffset(t, group, name(t), 0), kerr.UnknownTopicOrPartition)
	failed(t, "of a partition that does not exist", deleteOffset(t, group, top, 9), kerr.UnknownTopicOrPartition)
	eventually(t, func() string {
		if at, _ := position(t, group, top, false); at != 7 {
			return fmt.Sprintf("committed offset %d, want 7", at)
		}
		return ""
	})
	answered(t, "of the other topic", deleteOffset(t, group, other, 0), nil)
	left("top/0=7")
}

// Offsets of topics that a running group has left behind can be deleted, those of its own topics
// cannot.
func TestDeleteOffsetsOfARunningGroup(t *testing.T) {
	t.Parallel()
	for _, p := range protocols()[3:] {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			top, before, group, l := topic(t, 1), topic(t, 1), name(t), newLedger()
			answered(t, "commit", commitAt(t, group, before, 5, ""), nil)
			m := l.join(t, "a", group, top, p.opts...)
			l.rests(t, map[string]int{"a": 1})
			failed(t, "of a topic that is consumed", deleteOffset(t, group, top, 0), kerr.GroupSubscribedToTopic)
			if p.typed == "consumer" && differs(t, "running-offsets") {
				failed(t, "of a topic that was consumed", deleteOffset(t, group, before, 0), kerr.NonEmptyGroup)
				m.stop()
				eventually(t, func() string {
					if err := deleteOffset(t, group, before, 0); err != nil {
						return err.Error()
					}
					return ""
				})
			} else {
				answered(t, "of a topic that was consumed", deleteOffset(t, group, before, 0), nil)
			}
			at, _ := position(t, group, before, false)
			equal(t, "deleted offset", at, -1)
		})
	}
}

// oddGroups are names that a group may have: Kafka allows any text.
var oddGroups = []string{"with space", "with/slash", "dots.and_more-", "ünïcode", "日本語", "🎉",
	"<b>markup</b>", "%2F..%2F", "a\nb", "tab\tquote\"'", "$(id)", ".", "..",
	"__consumer_offsets", strings.Repeat("long", 250)}

// A group may have any name, in every request.
func TestNamesOfGroups(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a", "b")
	for _, odd := range oddGroups {
		group := odd
		answered(t, fmt.Sprintf("commit as %q", group), commitAt(t, group, top, 1, ""), nil)
		at, c := position(t, group, top, false)
		code(t, "committed offset", c, nil)
		equal(t, fmt.Sprintf("committed offset of %q", group), at, 1)
		listing, err := adm.ListGroups(testCtx(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := listing[group]; !ok {
			t.Errorf("%q is not listed", group)
		}
		for _, p := range protocols()[3:] {
			l := newLedger()
			m := l.join(t, "a", group, top, p.opts...)
			l.rests(t, map[string]int{"a": 1})
			failed(t, fmt.Sprintf("delete %q with a member", group), deleteGroups(t, group)[group], kerr.NonEmptyGroup)
			m.stop()
		}
		eventually(t, func() string {
			if err := deleteGroups(t, group)[group]; err != nil {
				return fmt.Sprintf("delete %q: %v", group, err)
			}
			return ""
		})
		failed(t, fmt.Sprintf("delete %q again", group), deleteGroups(t, group)[group], kerr.GroupIDNotFound)
	}
}

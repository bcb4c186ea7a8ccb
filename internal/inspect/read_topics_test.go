package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// other is a record of the topic other, which has one partition.
func other(ms int) *kgo.Record {
	r := at(0, ms)
	r.Topic = "other"
	return r
}

// both reads the topics tape and other.
func (b *bench) both(ctx context.Context, q inspect.Query, each func(inspect.Message)) ([]string, map[string]inspect.Progress) {
	b.t.Helper()
	var got []string
	p, err := b.ReadTopics(ctx, []string{topic, "other"}, q, func(m inspect.Message) error {
		got = append(got, string(m.Value))
		if each != nil {
			each(m)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return got, p
}

func TestReadTopics(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 4), at(0, 7), at(1, 2), at(1, 5), other(3), other(6), other(8), other(9))
	for name, c := range map[string]struct {
		q    inspect.Query
		want []string
	}{
		"oldest":            {inspect.Query{}, numbers(1, 2, 3, 4, 5, 6, 7, 8, 9)},
		"newest":            {inspect.Query{From: inspect.Newest(4)}, numbers(6, 7, 8, 9)},
		"newest of all":     {inspect.Query{From: inspect.Newest(90)}, numbers(1, 2, 3, 4, 5, 6, 7, 8, 9)},
		"newest before":     {inspect.Query{From: inspect.Newest(2), Until: inspect.AtTime(epoch.Add(6 * time.Millisecond))}, numbers(4, 5)},
		"filter":            {inspect.Query{Filter: &inspect.Filter{Regexp: "^[37]$"}}, numbers(3, 7)},
		"newest that match": {inspect.Query{From: inspect.Newest(1), Filter: &inspect.Filter{Regexp: "^[1-5]$"}}, numbers(5)},
		"until":             {inspect.Query{Until: inspect.AtOffset(1)}, numbers(1, 2, 3)},
	} {
		got, p := b.both(t.Context(), c.q, nil)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if n := p[topic].Matched + p["other"].Matched; n != int64(len(c.want)) {
			t.Errorf("%s: says it matched %d", name, n)
		}
	}
	got, p := b.both(t.Context(), inspect.Query{MaxMessages: 4}, nil)
	if !slices.Equal(got, numbers(1, 2, 3, 4)) || p["other"].Stopped != inspect.StoppedLimit {
		t.Errorf("limit: %v %+v", got, p)
	}
	if p["other"].Next[0] != 1 || p[topic].Next[0] != 2 || p[topic].Next[1] != 1 {
		t.Errorf("after the limit reading goes on at %v and %v", p[topic].Next, p["other"].Next)
	}
	mine := errors.New("mine")
	for _, from := range []inspect.Target{inspect.Oldest(), inspect.Newest(3)} {
		_, err := b.ReadTopics(t.Context(), []string{topic, "other"}, inspect.Query{From: from}, func(inspect.Message) error { return mine })
		if !errors.Is(err, mine) {
			t.Errorf("the callback's error came back as %v", err)
		}
		_, err = b.ReadTopics(t.Context(), []string{topic, "nope"}, inspect.Query{From: from}, func(inspect.Message) error { return nil })
		if !errors.Is(err, inspect.ErrNoTopic) {
			t.Errorf("an unknown topic: %v", err)
		}
	}
}

// TestFollowTopics: the bounded part comes merged, and then what is written to either topic.
func TestFollowTopics(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), other(2), at(1, 3))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var later sync.WaitGroup
	defer later.Wait()
	n := 0
	got, p := b.both(ctx, inspect.Query{Follow: true}, func(inspect.Message) {
		switch n++; n {
		case 3:
			later.Go(func() { b.write(other(10)) })
		case 4:
			later.Go(func() { b.write(at(2, 11)) })
		case 5:
			cancel()
		}
	})
	if !slices.Equal(got, numbers(1, 2, 3, 10, 11)) {
		t.Errorf("%v", got)
	}
	if p[topic].Matched != 3 || p["other"].Matched != 2 || p[topic].Next[2] != 1 || p["other"].Next[0] != 2 {
		t.Errorf("%+v", p)
	}
}

// member reads as a member of the group and returns the values.
func (b *bench) member(ctx context.Context, m inspect.Membership, each func(inspect.Message) error) ([]string, inspect.MemberProgress, error) {
	b.t.Helper()
	var got []string
	m.Group = "readers"
	if m.Topics == nil {
		m.Topics = []string{topic, "other"}
	}
	m.Open = func(_ context.Context, opts ...kgo.Opt) (*kgo.Client, error) { return b.cfg.NewClient(opts...) }
	if m.Flush == nil {
		m.Flush = func() error { return nil }
	}
	p, err := b.ReadAsMember(ctx, m, func(msg inspect.Message) error {
		got = append(got, string(msg.Value))
		if each != nil {
			return each(msg)
		}
		return nil
	})
	slices.Sort(got)
	return got, p, err
}

// committed returns the group's offsets as the cluster stores them.
func (b *bench) committed() string {
	b.t.Helper()
	list, err := b.admin.FetchOffsets(b.t.Context(), "readers")
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	list.Each(func(o kadm.OffsetResponse) { out = append(out, fmt.Sprintf("%s/%d=%d", o.Topic, o.Partition, o.At)) })
	slices.Sort(out)
	return fmt.Sprint(out)
}

// TestReadAsMember: a group reads everything once, over several runs, and its offsets are
// committed past the markers of transactions.
func TestReadAsMember(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 2), other(3))
	b.transaction(true, at(1, 4))
	b.transaction(false, at(1, 5), at(2, 6))
	got, p, err := b.member(t.Context(), inspect.Membership{}, nil)
	if err != nil || !slices.Equal(got, numbers(1, 2, 3, 4)) || p.Matched != 4 || p.Assigned != 4 || p.Waited {
		t.Fatalf("%v %+v %v", got, p, err)
	}
	if want := "[other/0=1 tape/0=2 tape/1=4 tape/2=2]"; b.committed() != want {
		t.Errorf("committed %s, want %s", b.committed(), want)
	}
	if got, _, err := b.member(t.Context(), inspect.Membership{}, nil); err != nil || got != nil {
		t.Errorf("the second run read %v %v", got, err)
	}
	b.write(at(2, 7), other(8))
	if got, _, err := b.member(t.Context(), inspect.Membership{}, nil); err != nil || !slices.Equal(got, numbers(7, 8)) {
		t.Errorf("the third run read %v %v", got, err)
	}
	b.write(at(0, 9))
	b.trim(0, 3)
	if got, _, err := b.member(t.Context(), inspect.Membership{Filter: &inspect.Filter{Key: new("nobody")}}, nil); err != nil || got != nil {
		t.Errorf("a filter let %v through: %v", got, err)
	}
	if got, _, err := b.member(t.Context(), inspect.Membership{}, nil); err != nil || got != nil {
		t.Errorf("what a filter did not let through came again: %v %v", got, err)
	}
}

// TestMemberLimit: after N messages exactly those are committed, and nothing is committed
// that could not be written.
func TestMemberLimit(t *testing.T) {
	b := newBench(t)
	for ms := range 20 {
		b.write(at(0, 10+ms))
	}
	one := inspect.Membership{Topics: []string{topic}, MaxMessages: 5}
	got, p, err := b.member(t.Context(), one, nil)
	if err != nil || !slices.Equal(got, numbers(10, 11, 12, 13, 14)) || p.Matched != 5 {
		t.Fatalf("%v %+v %v", got, p, err)
	}
	full := errors.New("disk full")
	one.Flush = func() error { return full }
	if _, _, err := b.member(t.Context(), one, nil); !errors.Is(err, full) {
		t.Errorf("a failed write: %v", err)
	}
	if want := "[tape/0=5]"; b.committed() != want {
		t.Errorf("committed %s, want %s", b.committed(), want)
	}
	one.Flush, one.MaxMessages = nil, 0
	if got, _, err := b.member(t.Context(), one, nil); err != nil || len(got) != 15 || got[0] != "15" {
		t.Errorf("the rest: %v %v", got, err)
	}
	if _, _, err := b.member(t.Context(), inspect.Membership{Topics: []string{"nope"}}, nil); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("an unknown topic: %v", err)
	}
}

// TestMemberFollows goes on with new messages until the context ends, and
// commits what it read last.
func TestMemberFollows(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var later sync.WaitGroup
	defer later.Wait()
	n := 0
	got, _, err := b.member(ctx, inspect.Membership{Topics: []string{topic}, Follow: true}, func(inspect.Message) error {
		switch n++; n {
		case 2:
			later.Go(func() { b.write(at(2, 3)) })
		case 3:
			cancel()
		}
		return nil
	})
	if err != nil || !slices.Equal(got, numbers(1, 2, 3)) {
		t.Errorf("%v %v", got, err)
	}
	if want := "[tape/0=1 tape/1=1 tape/2=1]"; b.committed() != want {
		t.Errorf("committed %s, want %s", b.committed(), want)
	}
}

// More topics than one command may read are refused before anything is asked.
func TestTooManyTopics(t *testing.T) {
	b := newBench(t)
	names := make([]string, inspect.MaxTopics+1)
	_, err := b.Inspector.ReadTopics(t.Context(), names, inspect.Query{}, func(inspect.Message) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "17 topics at once, at most 16") {
		t.Errorf("%v", err)
	}
}

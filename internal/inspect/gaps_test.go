package inspect_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// gapsOf reads with Gaps and returns what was explained, by offset in partition 0.
func (b *bench) gapsOf(q inspect.Query) map[int64]inspect.Gap {
	b.t.Helper()
	q.Topic, q.Gaps, q.Partitions = topic, true, []int32{0}
	got := map[int64]inspect.Gap{}
	if _, err := b.Read(b.t.Context(), q, func(m inspect.Message) error {
		if m.Gap != nil {
			got[m.Offset] = *m.Gap
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return got
}

// Offsets without messages are explained, where reading begins and ends between them too.
func TestGaps(t *testing.T) {
	b := newBench(t)
	b.transaction(true, at(0, 1), at(0, 2))  // offsets 0, 1; marker 2
	b.transaction(false, at(0, 3), at(0, 4)) // 3, 4; marker 5
	b.write(at(0, 6))                        // 6
	aborted := make([]*kgo.Record, 100)      // 7 to 106; marker 107
	for i := range aborted {                 // more than Newest looks at in one step
		aborted[i] = at(0, 10+i)
	}
	b.transaction(false, aborted...)
	b.write(at(0, 200), at(0, 201)) // 108, 109
	committed := map[int64]inspect.Gap{6: {First: 2, Last: 5, Markers: 2, Aborted: 2}, 108: {First: 7, Last: 107, Markers: 1, Aborted: 100}}
	for name, c := range map[string]struct {
		q    inspect.Query
		want map[int64]inspect.Gap
	}{
		"oldest":      {inspect.Query{}, committed},
		"newest":      {inspect.Query{From: inspect.Newest(99)}, committed},
		"newest few":  {inspect.Query{From: inspect.Newest(3)}, committed},
		"in the gap":  {inspect.Query{From: inspect.AtOffset(4)}, map[int64]inspect.Gap{6: {First: 4, Last: 5, Markers: 1, Aborted: 1}, 108: committed[108]}},
		"uncommitted": {inspect.Query{Uncommitted: true}, map[int64]inspect.Gap{3: {First: 2, Last: 2, Markers: 1}, 6: {First: 5, Last: 5, Markers: 1}, 108: {First: 107, Last: 107, Markers: 1}}},
		"filtered":    {inspect.Query{Filter: &inspect.Filter{Contains: "2"}}, map[int64]inspect.Gap{}},
	} {
		if got := b.gapsOf(c.q); !maps.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestGapText(t *testing.T) {
	for want, g := range map[string]inspect.Gap{
		"offset 2 holds no message: 1 transaction marker": {First: 2, Last: 2, Markers: 1},
		"offsets 2-9 hold no messages: 2 transaction markers, 1 record of an aborted transaction, 5 offsets whose records or transaction markers are no longer in the log (compacted or archived)": {First: 2, Last: 9, Markers: 2, Aborted: 1, Missing: 5},
	} {
		if got := fmt.Sprint(g); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Offsets that compaction has emptied are told from those of transactions.
func TestGapsOfCompaction(t *testing.T) {
	b := newBench(t)
	policy := "compact"
	if _, err := b.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "cleanup.policy", Value: &policy}}, topic); err != nil {
		t.Fatal(err)
	}
	recent := func(key string) *kgo.Record { // not old enough for retention
		return &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte("v"), Timestamp: time.Now()}
	}
	b.write(recent("a"), recent("b"), recent("c"), recent("a")) // offsets 0 to 3 in one batch
	b.write(recent("b"))
	b.write(recent("z")) // the newest batch is never compacted
	b.cluster.Compact()
	want := map[int64]inspect.Gap{2: {First: 0, Last: 1, Missing: 2}}
	values, _ := b.read(inspect.Query{Partitions: []int32{0}})
	if len(values) == 6 {
		t.Fatal("nothing was compacted")
	}
	if got := b.gapsOf(inspect.Query{}); !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v; the values are %q", got, want, values)
	}
}

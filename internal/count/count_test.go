package count

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

func TestCountsByHeaderAndByValue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.start("")
	r.produce(40)
	r.transaction(40, false) // aborted: read_uncommitted would count it
	r.produce(8)
	header := func(v string) []kgo.RecordHeader { return []kgo.RecordHeader{{Key: "kind", Value: []byte(v)}} }
	r.write(true,
		&kgo.Record{Value: []byte(`{"op":"create"}`)},
		&kgo.Record{Value: nil},
		&kgo.Record{Value: []byte("")},
		&kgo.Record{Value: []byte("{not json")},
		&kgo.Record{Value: []byte("x"), Headers: header("")},
		&kgo.Record{Value: nil, Headers: header("tombstone")},
		&kgo.Record{Value: []byte("{}"), Headers: header("bad\xff")},
		&kgo.Record{Value: []byte("{}"), Headers: header(strings.Repeat("k", event.MaxKind+1))},
		&kgo.Record{Value: []byte("{}"), Headers: header("next")},
	)
	r.want["create"]++
	r.want[event.MalformedKind] = 5
	r.want["tombstone"] = 1
	r.want[event.OtherKind] = 1
	r.want["next"] = 1
	r.counted("everything is counted")
	r.settled(m)
	s := m.Stats()
	if s.Events != 40+8+9 || s.Batches == 0 || s.LastBatch.IsZero() || s.Rebalances < 1 || s.Refusals != 0 || len(s.Partitions) != parts {
		t.Errorf("stats: %+v", s)
	}
	if s.Latency <= 0 || s.Latency > patience {
		t.Errorf("latency %v", s.Latency)
	}
	if s.EndToEnd.Count != 0 || s.Sink.Count == 0 || s.Sink.Count > s.Batches {
		t.Errorf("%d end to end of records that do not say when they arrived, %d calls for %d batches", s.EndToEnd.Count, s.Sink.Count, s.Batches)
	}
	// What arrived an hour ago waited an hour, whatever its timestamp says.
	arrived := func(at string, n int) (out []*kgo.Record) {
		for range n {
			out = append(out, &kgo.Record{Value: []byte("{}"), Headers: append(header("late"), kgo.RecordHeader{Key: "received", Value: []byte(at)})})
		}
		return out
	}
	hour := fmt.Sprint(time.Now().Add(-time.Hour).UnixMicro())
	r.write(true, slices.Concat(arrived(hour, 7), arrived("never", 1), arrived(hour, 2), arrived("-5", 1), arrived(fmt.Sprint(time.Now().UnixMicro()), 3))...)
	r.want["late"] = 14
	r.counted("what says when it arrived is counted")
	r.eventually("and the counter knows it", func() bool { return m.Stats().Events == 40+8+9+14 })
	late := m.Stats().EndToEnd
	if late.Count != 12 || late.Seconds < 9*3600 || late.Seconds > 9*3600+12*patience.Seconds() {
		t.Errorf("end to end: %d that waited %v s in all, want 12 and about %d", late.Count, late.Seconds, 9*3600)
	}
}

// Every tool computes lag as the end of the log minus the committed offset; with
// markers at the end the last record + 1 is not the end.
func TestCommittedOffsetsShowNoLagOnAnIdleTopic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.start("")
	check := func(what string) {
		t.Helper()
		r.eventually(what, func() bool {
			lag, err := r.adm.Lag(ctx, group)
			described := lag[group]
			if err != nil || described.Error() != nil {
				return false
			}
			l, n := described.Lag.Total(), 0
			for _, p := range described.Lag[topic] {
				if p.Commit.At < 0 || p.Err != nil {
					return false
				}
				n++
			}
			return l == 0 && n == parts
		})
	}
	check("an empty topic has no lag")
	r.produce(10)
	r.counted("all")
	check("after a commit marker")
	r.transaction(6, false)
	check("after aborted records and their marker")
	r.settled(m)
	for _, p := range m.Stats().Partitions {
		if p.Lag != 0 || p.Next != p.HighWatermark || p.Next == 0 {
			t.Errorf("%+v", p)
		}
	}
}

func TestGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(30)
	m := r.start("")
	r.counted("from the start of the log")
	m.stop()
	r.produce(30)
	m = r.start("")
	r.counted("after a restart")
	// Kafka's own offsets are not what counts: wrong ones change nothing.
	m.stop()
	var zero kadm.Offsets
	for p := range int32(parts) {
		zero.AddOffset(topic, p, 0, -1)
	}
	r.eventually("the group is empty", func() bool {
		_, err := r.adm.CommitOffsets(ctx, group, zero)
		return err == nil
	})
	r.produce(7)
	m = r.start("")
	r.counted("after wrong offsets in Kafka")
	r.settled(m)
}

func TestDrainsQuicklyAndLeavesTheGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(2000)
	m := r.start("")
	r.eventually("counting", func() bool { return m.Stats().Events > 0 })
	begun := time.Now()
	m.stop()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	groups, err := r.adm.DescribeGroups(ctx, group)
	if err != nil || groups[group].State != "Empty" {
		t.Errorf("the group is %q (%v), not empty", groups[group].State, err)
	}
	m = r.start("")
	begun = time.Now()
	r.counted("the rest")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the next member took %v", took)
	}
	r.settled(m)
}

func TestDrainWithoutRedisGivesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	y := newRelay(t, r.redis.Addr())
	m := r.start(y.addr())
	r.produce(20)
	r.counted("first")
	y.hold(true)
	r.produce(20)
	r.eventually("waits for Redis", func() bool { return y.waiting() > 0 })
	begun := time.Now()
	m.stop()
	if took := time.Since(begun); took > 4*quick.answer {
		t.Errorf("took %v", took)
	}
	y.hold(false)
	m = r.start("")
	r.counted("nothing lost")
	r.settled(m)
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	store := &tally.Store{}
	for _, cfg := range []Config{
		{}, {Store: store, Topic: "t", Group: "g"}, {Store: store, Topic: "t", Classify: classify}, {Store: store, Group: "g", Classify: classify},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	c, err := New(Config{Store: store, Topic: "t", Group: "g", Classify: classify, Kafka: kafka.Config{Brokers: []string{"nonsense"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error is %v", err)
	}
}

func TestKindsAllocateNothing(t *testing.T) {
	var k kinds
	recs := make([]*kgo.Record, 16)
	for i := range recs {
		recs[i] = &kgo.Record{Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "seq", Value: []byte("1")}, {Key: "kind", Value: []byte(kindOf(i))}}}
	}
	count := func() {
		for _, r := range recs {
			k.record(r, classify)
		}
	}
	count()
	if n := testing.AllocsPerRun(100, count); n != 0 {
		t.Errorf("%v allocations", n)
	}
	k.reset()
	if len(k.counts()) != 0 || k.total != 0 {
		t.Error("reset leaves counts")
	}
	count()
	if got := k.counts(); !maps.Equal(got, map[string]int64{"create": 8, "delete": 4, "update": 4}) {
		t.Errorf("%v", got)
	}
}

// Names that somebody invents for each record take bounded memory.
func TestKindsAreBounded(t *testing.T) {
	var k kinds
	for i := range 100_000 {
		k.add(fmt.Appendf(nil, "kind-%d", i))
		if i%5000 == 4999 {
			var sum int64
			for _, n := range k.counts() {
				sum += n
			}
			if sum != 5000 || len(k.counts()) > tally.MaxKinds+2 {
				t.Fatalf("%d counted under %d names", sum, len(k.counts()))
			}
			k.reset()
		}
		if len(k.names) > tally.MaxKinds+2 {
			t.Fatalf("%d names", len(k.names))
		}
	}
}

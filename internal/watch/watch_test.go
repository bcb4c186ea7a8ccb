package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apply is RFC 7396, written from its pseudo-code, apart from the code under test.
func apply(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = apply(t[k], v)
		}
	}
	return t
}

// parse keeps numbers as they are written: offsets need all 64 bits.
func parse(t *testing.T, b []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// stripNulls removes members that are null: to a merge patch they are absent.
func stripNulls(v any) any {
	if m, ok := v.(map[string]any); ok {
		for k, e := range m {
			if e == nil {
				delete(m, k)
			} else {
				stripNulls(e)
			}
		}
	}
	return v
}

func randomState(r *rand.Rand) *State {
	s := &State{Time: r.Int64N(3), Mode: []string{"live", ""}[r.IntN(2)], Cluster: Cluster{Brokers: map[string]*Broker{}},
		Streams: map[string]*Stream{}, Topics: map[string]*Topic{}, Groups: map[string]*Group{}}
	for i := range r.IntN(4) {
		s.Cluster.Brokers[fmt.Sprint(i)] = &Broker{Alive: r.IntN(2) == 0, Leaders: r.IntN(2)}
		s.Topics[fmt.Sprint("t", r.IntN(5))] = &Topic{Messages: r.Int64N(2) + 1<<60, Groups: []string{"a", "b"}[:r.IntN(3)]}
		g := &Group{Lag: r.Int64N(2), Positions: map[string]map[string]int64{}}
		if r.IntN(2) == 0 {
			g.Positions["t"] = map[string]int64{fmt.Sprint(r.IntN(2)): r.Int64N(2)}
		}
		if r.IntN(2) == 0 {
			f := float64(r.IntN(2))
			g.LagSeconds = &f
		}
		s.Groups[fmt.Sprint("g", r.IntN(3))] = g
		st := &Stream{Counts: map[string]int64{fmt.Sprint("k", r.IntN(3)): r.Int64N(2)}}
		if r.IntN(2) == 0 {
			st.Queue = &Queue{Events: r.IntN(2)}
		}
		s.Streams[fmt.Sprint("s", r.IntN(2))] = st
	}
	return s
}

func TestPatchesMakeTheNextState(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	from := randomState(r)
	changed := 0
	for range 500 {
		to := randomState(r)
		before, _ := json.Marshal(from)
		after, _ := json.Marshal(to)
		patch := diff(before, after)
		if patch == nil {
			patch = json.RawMessage("{}")
		}
		got := stripNulls(apply(parse(t, before), parse(t, patch)))
		want := stripNulls(parse(t, after))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("patch %s\nof %s\nmakes %v\nwant  %v", patch, before, got, want)
		}
		if string(patch) != "{}" {
			changed++
		}
		from = to
	}
	if changed < 400 {
		t.Errorf("only %d of 500 patches changed anything", changed)
	}
}

func TestHistory(t *testing.T) {
	h := newHistory()
	start := time.Unix(1_700_000_000, 0)
	h.add(start, map[string]float64{"a": 1})
	h.add(start.Add(Step), map[string]float64{"a": 2, "b": 5})
	h.add(start.Add(3*Step), map[string]float64{"a": 4})
	a := h.get([]string{"a", "b", "c"})
	got := func(name string) string {
		var out []string
		for _, v := range a.Series[name] {
			if v == nil {
				out = append(out, "-")
			} else {
				out = append(out, fmt.Sprint(*v))
			}
		}
		return strings.Join(out, " ")
	}
	if got("a") != "1 2 - 4" || got("b") != "- 5 - -" || a.Series["c"] != nil {
		t.Errorf("a = %q, b = %q, c = %v", got("a"), got("b"), a.Series["c"])
	}
	if a.End != start.Add(3*Step).UnixMilli() {
		t.Errorf("the end is %d", a.End)
	}
	// An hour and more later nothing of then is left.
	h.add(start.Add((Points+5)*Step), map[string]float64{"b": 7})
	a = h.get([]string{"a", "b"})
	if got("a") != "-" || got("b") != "7" {
		t.Errorf("after an hour a = %q, b = %q", got("a"), got("b"))
	}
}

func TestHistoryMemoryIsFixed(t *testing.T) {
	h := newHistory()
	now := time.Unix(1_700_000_000, 0)
	for i := range maxSeries + 100 {
		h.add(now, map[string]float64{fmt.Sprint(i): 1})
	}
	if len(h.series) != maxSeries {
		t.Errorf("%d series are kept, want %d", len(h.series), maxSeries)
	}
	h.add(now.Add((idleSteps+1)*Step), map[string]float64{"new": 1})
	if h.series["new"] == nil {
		t.Error("series that were idle for an hour keep out new ones")
	}
}

func TestRateSettles(t *testing.T) {
	var tr track
	now := time.Unix(1000, 0)
	var got float64
	for i := range 40 {
		got = tr.add(now.Add(time.Duration(i)*500*time.Millisecond), int64(i)*50)
	}
	if got < 99.9 || got > 100.1 {
		t.Errorf("100/s is shown as %v", got)
	}
	for i := range 40 {
		got = tr.add(now.Add(time.Duration(40+i)*500*time.Millisecond), 39*50)
	}
	if got != 0 {
		t.Errorf("a stopped stream is shown as %v/s after 20 s", got)
	}
	if got = tr.add(now.Add(time.Minute), 3); got != 0 {
		t.Errorf("a number that fell is shown as %v/s", got)
	}
}

func TestAgeOfPosition(t *testing.T) {
	var p pastEnds
	now := time.Unix(1000, 0)
	for i := range 11 { // 10 offsets a second for 20 s
		p.add(now.Add(time.Duration(i)*pastStep), int64(i)*20)
	}
	now = now.Add(10 * pastStep)
	for _, c := range []struct {
		position int64
		want     time.Duration
	}{{200, 0}, {150, 5 * time.Second}, {20, 18 * time.Second}} {
		if got, ok := p.age(now, c.position); !ok || (got-c.want).Abs() > 10*time.Millisecond {
			t.Errorf("the log ended at %d %v ago (%v), want %v", c.position, got, ok, c.want)
		}
	}
	if _, ok := p.age(now, -1); ok {
		t.Error("a position from before the watch has an age")
	}
}

type fakeTallies struct {
	inspect.Tallies
	counts map[string]int64
}

func (f fakeTallies) Partitions(_ context.Context, group, topic string) (map[int32]tally.Tally, error) {
	if topic != "events" || group != "counter" {
		return nil, nil
	}
	return map[int32]tally.Tally{0: {Counts: f.counts}}, nil
}

func TestWatchesACluster(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	insp, err := inspect.New(inspect.Config{Client: cl})
	if err != nil {
		t.Fatal(err)
	}
	counts := fakeTallies{counts: map[string]int64{"create": 7}}
	w, err := New(Config{Inspector: insp, Tallies: counts, Interval: 20 * time.Millisecond, Mode: "simulated",
		Streams: []StreamConfig{{Name: "s", Topic: "events", Group: "counter"}},
		Local:   func() map[string]Local { return map[string]Local{"s": {State: "connected", Host: "h"}} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { done <- w.Run(run) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	sub := w.Subscribe()
	defer sub.Close()
	u, ok := sub.Next(ctx)
	if !ok || u.Snapshot == nil {
		t.Fatalf("the first update is %+v", u)
	}
	doc := parse(t, u.Snapshot)
	follow := func(what string, want func(*State, []Entry) bool) {
		t.Helper()
		for {
			u, ok := sub.Next(ctx)
			if !ok {
				t.Fatalf("never saw %s; the state is %s, the log %+v", what, w.Snapshot(), w.Log(20))
			}
			switch {
			case u.Snapshot != nil:
				doc = parse(t, u.Snapshot)
			case u.Patch != nil:
				doc = apply(doc, parse(t, u.Patch)).(map[string]any)
			}
			b, _ := json.Marshal(doc)
			var s State
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if want(&s, u.Log) {
				return
			}
		}
	}
	follow("the stream", func(s *State, _ []Entry) bool {
		st := s.Streams["s"]
		return st != nil && st.State == "connected" && st.Counted == 7 && len(st.Lanes) == 3 && len(s.Cluster.Brokers) == 3
	})
	for i := range 30 {
		if err := cl.ProduceSync(ctx, kgo.KeyStringRecord(fmt.Sprint(i), "v")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	follow("the records", func(s *State, _ []Entry) bool {
		return s.Topics["events"] != nil && s.Topics["events"].Messages == 30 && s.Topics["events"].Rate > 0
	})

	adm := kadm.NewClient(cl)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "events", Partition: 0, At: 1, LeaderEpoch: -1})
	if err := adm.CommitAllOffsets(ctx, "counter", offsets); err != nil {
		t.Fatal(err)
	}
	follow("the group", func(s *State, log []Entry) bool {
		g := s.Groups["counter"]
		return g != nil && g.Positions["events"]["0"] == 1
	})
	if _, err := adm.CreateTopic(ctx, 2, 1, nil, "later"); err != nil {
		t.Fatal(err)
	}
	follow("the new topic in the log", func(_ *State, log []Entry) bool {
		return slices.ContainsFunc(log, func(e Entry) bool { return strings.Contains(e.Text, "topic later was created, with 2 partitions") })
	})
	if err := c.MoveTopicPartition("events", 0, (c.LeaderFor("events", 0)+1)%3); err != nil {
		t.Fatal(err)
	}
	follow("the leader that moved", func(_ *State, log []Entry) bool {
		return slices.ContainsFunc(log, func(e Entry) bool { return e.Kind == LogLeader })
	})
	if h := w.History([]string{"topic/events/rate", "stream/s/count_rate"}); len(h.Series) != 2 {
		t.Errorf("history knows %v", h.Series)
	}
}

func TestSlowSubscriberGetsASnapshot(t *testing.T) {
	w := &Watcher{history: newHistory(), clients: map[*Subscription]struct{}{}, state: &State{}, changed: make(chan struct{}), came: make(chan struct{})}
	quick, slow := w.Subscribe(), w.Subscribe()
	defer quick.Close()
	defer slow.Close()
	for i := range int64(5) {
		w.publish(&State{Time: i + 1}, []Entry{{Text: fmt.Sprint(i)}})
		u, ok := quick.Next(t.Context())
		if !ok || (u.Snapshot != nil) != (i == 0) || len(u.Log) != 1 {
			t.Fatalf("update %d of the quick one: %+v", i, u)
		}
	}
	u, ok := slow.Next(t.Context())
	if !ok || u.Snapshot == nil || u.Version != 5 || len(u.Log) != 5 {
		t.Errorf("the slow one gets %+v", u)
	}
}

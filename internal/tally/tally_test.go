package tally

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/redisd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func apply1(t *testing.T, s *Store, b Batch) Result {
	t.Helper()
	r, err := s.Apply(ctx, []Batch{b})
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func begin(t *testing.T, s *Store, group, topic string, p int32, id string, offset int64) Result {
	t.Helper()
	r, err := s.Begin(ctx, group, topic, p, id, offset)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hash(t *testing.T, c redis.UniversalClient, k string) map[string]string {
	t.Helper()
	m, err := c.HGetAll(ctx, k).Result()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const theKey = "weir:tally:g:t:0"

func TestApplyMovesPositionAndCountsTogether(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		if r := apply1(t, s, Batch{Group: "g", Topic: "t", From: 0, Next: 5}); !errors.Is(r.Err, ErrAbsent) {
			t.Fatalf("without a tally: %+v", r)
		}
		begin(t, s, "g", "t", 0, "id-1", 7)
		if r := begin(t, s, "g", "t", 0, "id-1", 99); !errors.Is(r.Err, ErrStale) || r.Stored.Next != 7 {
			t.Fatalf("begun twice: %+v", r)
		}
		b := Batch{Group: "g", Topic: "t", TopicID: "id-1", From: 7, Next: 12, Counts: map[string]int64{"create": 3, "next": 2}}
		if r := apply1(t, s, b); r.Err != nil || r.Stored != (Position{Next: 12, Start: 7, TopicID: "id-1", Found: true}) {
			t.Fatalf("first: %+v", r)
		}
		// The same batch again (a lost reply), an overlapping one, one that begins
		// later: nothing of them is counted, and the answer says what is stored.
		for _, from := range []int64{7, 10, 13, 0} {
			b.From, b.Next = from, max(from, 14)
			if r := apply1(t, s, b); !errors.Is(r.Err, ErrStale) || r.Stored.Next != 12 || r.Stored.Start != 7 || r.Stored.TopicID != "id-1" {
				t.Fatalf("from %d: %+v", from, r)
			}
		}
		want := map[string]string{"next": "12", "start": "7", "topic_id": "id-1", "k:create": "3", "k:next": "2"}
		if got := hash(t, c, theKey); !maps.Equal(got, want) {
			t.Fatalf("stored is %v, want %v", got, want)
		}
	})
}

// Two members read overlapping stretches: a test that only asks whether the
// position grows counts 15 where 10 is right.
func TestOverlapIsCountedOnce(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		apply1(t, s, Batch{Group: "g", Topic: "t", From: 0, Next: 5, Counts: map[string]int64{"e": 5}})
		apply1(t, s, Batch{Group: "g", Topic: "t", From: 0, Next: 10, Counts: map[string]int64{"e": 10}})
		apply1(t, s, Batch{Group: "g", Topic: "t", From: 5, Next: 10, Counts: map[string]int64{"e": 5}})
		if got, err := s.Totals(ctx, "g", "t"); err != nil || got["e"] != 10 {
			t.Fatalf("counted %v (%v), want 10", got, err)
		}
	})
}

// Lua's numbers are float64: 2^53 and 2^53+1 are the same there.
func TestOffsetsBeyondFloat64(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		const big = int64(1) << 53
		begin(t, s, "g", "t", 0, "", big)
		if r := apply1(t, s, Batch{Group: "g", Topic: "t", From: big + 1, Next: big + 2, Counts: map[string]int64{"e": 1}}); !errors.Is(r.Err, ErrStale) {
			t.Fatalf("2^53+1 passed for 2^53: %+v", r)
		}
		if r := apply1(t, s, Batch{Group: "g", Topic: "t", From: big, Next: math.MaxInt64 - 1, Counts: map[string]int64{"e": 999_999_999_999_999}}); r.Err != nil || r.Stored.Next != math.MaxInt64-1 {
			t.Fatalf("%+v", r)
		}
		if got := hash(t, c, theKey); got["next"] != "9223372036854775806" || got["k:e"] != "999999999999999" {
			t.Fatalf("stored is %v", got)
		}
	})
}

// Whatever is wrong with the key, nothing is changed, not even by half.
func TestGarbageIsRefusedWhole(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		good := map[string]any{"next": "5", "start": "0", "topic_id": ""}
		for name, spoil := range map[string]map[string]any{
			"next is a word":       {"next": "five"},
			"next is negative":     {"next": "-5"},
			"next has zeros":       {"next": "05"},
			"next is a float":      {"next": "5e0"},
			"next is too long":     {"next": "55555555555555555555"},
			"start is empty":       {"start": ""},
			"a count is a word":    {"k:b": "many"},
			"a count is too large": {"k:b": "9223372036854775807"},
			"a count is negative":  {"k:b": "-1"},
			"other is a word":      {"k:(other)": "x"},
		} {
			t.Run(name, func(t *testing.T) {
				c.Del(ctx, theKey)
				c.HSet(ctx, theKey, good)
				c.HSet(ctx, theKey, spoil)
				before := hash(t, c, theKey)
				r := apply1(t, s, Batch{Group: "g", Topic: "t", From: 5, Next: 9, Counts: map[string]int64{"a": 1, "b": 1, "c": 1}})
				if !errors.Is(r.Err, ErrGarbage) || !strings.Contains(r.Err.Error(), theKey) {
					t.Errorf("answered %+v", r)
				}
				if after := hash(t, c, theKey); !maps.Equal(before, after) {
					t.Errorf("changed %v to %v", before, after)
				}
			})
		}
		for name, args := range map[string][]any{
			"string": {"SET", theKey, "5"}, "list": {"RPUSH", theKey, "5"}, "zset": {"ZADD", theKey, "1", "a"},
		} {
			c.Del(ctx, theKey)
			if err := c.Do(ctx, args...).Err(); err != nil {
				t.Fatal(err)
			}
			r := apply1(t, s, Batch{Group: "g", Topic: "t", From: 5, Next: 9})
			if !errors.Is(r.Err, ErrGarbage) || !strings.Contains(r.Err.Error(), name) {
				t.Errorf("%s: %+v", name, r)
			}
			if r := begin(t, s, "g", "t", 0, "", 3); !errors.Is(r.Err, ErrGarbage) {
				t.Errorf("begin over a %s: %+v", name, r)
			}
			pos, err := s.Load(ctx, "g", "t", []int32{0, 1})
			if err != nil || !errors.Is(pos[0].Err, ErrGarbage) || pos[1] != (Position{}) {
				t.Errorf("load of a %s: %v, %v", name, pos, err)
			}
			if _, err := s.All(ctx); !errors.Is(err, ErrGarbage) {
				t.Errorf("all with a %s: %v", name, err)
			}
			if typ := c.Type(ctx, theKey).Val(); typ != name {
				t.Errorf("the %s became a %s", name, typ)
			}
		}
		// A hash of someone else: it has no position, and must not get one.
		c.Del(ctx, theKey)
		c.HSet(ctx, theKey, "k:a", "1")
		if r := begin(t, s, "g", "t", 0, "", 3); !errors.Is(r.Err, ErrGarbage) {
			t.Errorf("begin over another hash: %+v", r)
		}
	})
}

func TestRecreatedTopicIsRefused(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		b := Batch{Group: "g", Topic: "t", From: 0, Next: 1, TopicID: "one", Counts: map[string]int64{"e": 1}}
		if r := apply1(t, s, b); r.Err != nil || r.Stored.TopicID != "one" {
			t.Fatalf("an id is not adopted: %+v", r)
		}
		b.From, b.Next, b.TopicID = 1, 2, "two"
		r := apply1(t, s, b)
		if !errors.Is(r.Err, ErrOtherTopic) || r.Stored.TopicID != "one" {
			t.Fatalf("another id: %+v", r)
		}
		if r := begin(t, s, "g", "t", 0, "two", 0); !errors.Is(r.Err, ErrOtherTopic) {
			t.Fatalf("begin with another id: %+v", r)
		}
		b.TopicID = "" // a cluster without ids
		if r := apply1(t, s, b); r.Err != nil {
			t.Fatalf("no id: %+v", r)
		}
		if got := hash(t, c, theKey)["k:e"]; got != "2" {
			t.Fatalf("counted %s", got)
		}
		if err := s.Reset(ctx, "g", "t", 0, "two", 40); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"next": "40", "start": "40", "topic_id": "two"}
		if got := hash(t, c, theKey); !maps.Equal(got, want) {
			t.Fatalf("after a reset: %v", got)
		}
	})
}

func TestDistinctKindsAreCapped(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		var from, total int64
		for round := range 3 {
			counts := map[string]int64{event.MalformedKind: 1}
			for i := range 600 {
				counts[fmt.Sprintf("kind-%d-%d", round, i)] = 2
			}
			counts[strings.Repeat("x", event.MaxKind+1)] = 5
			counts["bad\xff"] = 5
			for _, n := range counts {
				total += n
			}
			if r := apply1(t, s, Batch{Group: "g", Topic: "t", From: from, Next: from + 1, Counts: counts}); r.Err != nil {
				t.Fatalf("round %d: %+v", round, r)
			}
			from++
		}
		all, err := s.All(ctx)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		if got := all[0].Sum(); got != total {
			t.Errorf("counted %d, want %d", got, total)
		}
		if n := c.HLen(ctx, theKey).Val(); n > MaxKinds+3+2 {
			t.Errorf("the hash has %d fields", n)
		}
		if all[0].Counts[event.MalformedKind] != 3 || all[0].Counts["kind-0-5"] != 2 || all[0].Counts[event.OtherKind] < 800 {
			t.Errorf("(malformed) %d, (other) %d", all[0].Counts[event.MalformedKind], all[0].Counts[event.OtherKind])
		}
		// One batch with more names than there may be.
		counts := map[string]int64{}
		for i := range 5000 {
			counts[fmt.Sprintf("more-%d", i)] = 1
		}
		begin(t, s, "g", "t", 1, "", 0)
		if r := apply1(t, s, Batch{Group: "g", Topic: "t", Partition: 1, From: 0, Next: 5000, Counts: counts}); r.Err != nil {
			t.Fatalf("%+v", r)
		}
		if n := c.HLen(ctx, "weir:tally:g:t:1").Val(); n > MaxKinds+3+2 {
			t.Errorf("the hash has %d fields", n)
		}
	})
}

func TestManyBatchesAndForgottenScripts(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		var batches []Batch
		for p := range int32(60) {
			begin(t, s, "g", "t", p, "", 0)
			batches = append(batches, Batch{Group: "g", Topic: "t", Partition: p, From: 0, Next: 3, Counts: map[string]int64{"e": 3}})
		}
		if err := c.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		batches[7].From = 1 // one is refused, the others are not
		rs, err := s.Apply(ctx, batches)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			if i != 7 && r.Err != nil || i == 7 && !errors.Is(r.Err, ErrStale) {
				t.Errorf("batch %d: %+v", i, r)
			}
		}
		if got, err := s.Totals(ctx, "g", "t"); err != nil || got["e"] != 59*3 {
			t.Errorf("counted %v, %v", got, err)
		}
		if rs, err := s.Apply(ctx, nil); err != nil || len(rs) != 0 {
			t.Errorf("no batches: %v, %v", rs, err)
		}
	})
}

func TestNamesWithColonsAndPatterns(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		groups := []string{"g", "g:t", "g*", "g[a]", `g\`, "g?"}
		for i, g := range groups {
			begin(t, s, g, "t", 0, "", 0)
			apply1(t, s, Batch{Group: g, Topic: "t", From: 0, Next: 1, Counts: map[string]int64{"e": int64(i + 1)}})
		}
		for i, g := range groups {
			got, err := s.Totals(ctx, g, "t")
			if err != nil || !maps.Equal(got, map[string]int64{"e": int64(i + 1)}) {
				t.Errorf("%q: %v, %v", g, got, err)
			}
		}
		all, err := s.All(ctx)
		if err != nil || len(all) != len(groups) {
			t.Fatalf("%v, %v", all, err)
		}
	})
}

func TestBatchesThatCannotBe(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		for _, b := range []Batch{
			{From: -1, Next: 0}, {From: 5, Next: 4},
			{From: 0, Next: 1, Counts: map[string]int64{"e": 0}}, {From: 0, Next: 1, Counts: map[string]int64{"e": -1}},
			{From: 0, Next: 1, Counts: map[string]int64{"e": maxAdd + 1}},
		} {
			b.Group, b.Topic = "g", "t"
			if _, err := s.Apply(ctx, []Batch{b}); err == nil {
				t.Errorf("%+v is accepted", b)
			}
		}
		if err := s.Reset(ctx, "g", "t", 0, "", -1); err == nil {
			t.Error("a reset to -1 is accepted")
		}
	})
}

// Writers race for the same stretches in random pieces; each offset must be
// counted once whoever wins.
func TestRacingWritersCountEachOffsetOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	eachServer(t, func(t *testing.T, url string) {
		s, _ := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		const end = 2000
		kind := func(offset int64) string { return "kind" + strconv.FormatInt(offset%7, 10) }
		var wg sync.WaitGroup
		for w := range uint64(4) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, w))
				for next := int64(0); next < end; {
					to := min(end, next+1+rng.Int64N(40))
					counts := map[string]int64{}
					for o := next; o < to; o++ {
						counts[kind(o)]++
					}
					r, err := s.Apply(ctx, []Batch{{Group: "g", Topic: "t", From: next, Next: to, Counts: counts}})
					if err != nil {
						t.Error(err)
						return
					}
					next = r[0].Stored.Next
				}
			})
		}
		wg.Wait()
		want := map[string]int64{"kind0": 286, "kind1": 286, "kind2": 286, "kind3": 286, "kind4": 286, "kind5": 285, "kind6": 285}
		if got, err := s.Totals(ctx, "g", "t"); err != nil || !maps.Equal(got, want) {
			t.Errorf("counted %v (%v), want %v", got, err, want)
		}
	})
}

// Counts that a Lua number would round are added to exactly, alone and beside small ones.
func TestLargeCountsAreExact(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s, c := openStore(t, url)
		begin(t, s, "g", "t", 0, "", 0)
		if err := c.HSet(ctx, key("g", "t", 0), "k:create", "900719925474099301", "k:update", "999999999999998").Err(); err != nil {
			t.Fatal(err)
		}
		if r := apply1(t, s, Batch{Group: "g", Topic: "t", Partition: 0, From: 0, Next: 6, Counts: map[string]int64{"create": 1, "delete": 2, "update": 3}}); r.Err != nil {
			t.Fatal(r.Err)
		}
		h := hash(t, c, key("g", "t", 0))
		if h["k:create"] != "900719925474099302" || h["k:delete"] != "2" || h["k:update"] != "1000000000000001" || h["next"] != "6" {
			t.Errorf("counted %v", h)
		}
	})
}

func TestKeysRoundTrip(t *testing.T) {
	for _, k := range []string{"weir:tally:", "weir:tally:g", "weir:tally:g:t", "weir:tally:g:t:x", "weir:tally:g:t:-1", "weir:tally:g:t:99999999999", "other:g:t:1"} {
		if g, tp, p, ok := parseKey(k); ok && key(g, tp, p) != k {
			t.Errorf("%q is read as %q %q %d", k, g, tp, p)
		}
	}
	if g, tp, p, ok := parseKey(key("a:b", "t.x-1", 17)); !ok || g != "a:b" || tp != "t.x-1" || p != 17 {
		t.Errorf("%q %q %d %v", g, tp, p, ok)
	}
}

func BenchmarkApply(b *testing.B) {
	srv, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	s, err := Open(ctx, srv.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batches := make([]Batch, 6)
	for p := range batches {
		batches[p] = Batch{Group: "g", Topic: "t", Partition: int32(p), Counts: map[string]int64{"create": 300, "update": 20, "delete": 180}}
		if _, err := s.Begin(ctx, "g", "t", int32(p), "", 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for p := range batches {
			batches[p].Next = batches[p].From + 500
		}
		rs, err := s.Apply(ctx, batches)
		if err != nil {
			b.Fatal(err)
		}
		for p := range batches {
			if rs[p].Err != nil {
				b.Fatal(rs[p].Err)
			}
			batches[p].From = batches[p].Next
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batches)*500), "ns/event")
}

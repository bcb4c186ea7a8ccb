package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// numbers writes n as text.
func numbers(ns ...int) []string {
	var out []string
	for _, n := range ns {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

func (b *bench) expect(name string, q inspect.Query, want ...int) inspect.Progress {
	b.t.Helper()
	got, p := b.read(q)
	if !slices.Equal(got, numbers(want...)) {
		b.t.Errorf("%s: %v, want %v", name, got, want)
	}
	if p.Matched != int64(len(want)) {
		b.t.Errorf("%s: says it matched %d, there are %d", name, p.Matched, len(want))
	}
	return p
}

func TestRead(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 4), at(0, 7), at(1, 2), at(1, 5), at(2, 3), at(2, 6), at(2, 8))
	b.expect("oldest", inspect.Query{}, 1, 2, 3, 4, 5, 6, 7, 8)
	b.expect("partitions", inspect.Query{Partitions: []int32{2, 0}}, 1, 3, 4, 6, 7, 8)
	b.expect("newest", inspect.Query{From: inspect.Newest(3)}, 6, 7, 8)
	b.expect("newest of a partition", inspect.Query{From: inspect.Newest(1), Partitions: []int32{1}}, 5)
	b.expect("newest of more than there are", inspect.Query{From: inspect.Newest(99)}, 1, 2, 3, 4, 5, 6, 7, 8)
	b.expect("no newest", inspect.Query{From: inspect.Newest(0)})
	b.expect("offset", inspect.Query{From: inspect.AtOffset(2)}, 7, 8)
	b.expect("offset from the end", inspect.Query{From: inspect.AtOffset(-1)}, 5, 7, 8)
	b.expect("time", inspect.Query{From: inspect.AtTime(epoch.Add(5 * time.Millisecond))}, 5, 6, 7, 8)
	b.expect("until", inspect.Query{From: inspect.AtTime(epoch.Add(3 * time.Millisecond)), Until: inspect.AtTime(epoch.Add(7 * time.Millisecond))}, 3, 4, 5, 6)
	b.expect("until an offset", inspect.Query{Until: inspect.AtOffset(2)}, 1, 2, 3, 4, 5, 6)
	b.expect("until an offset from the end", inspect.Query{Until: inspect.AtOffset(-1)}, 1, 2, 3, 4, 6)
	b.expect("until the end", inspect.Query{Until: inspect.End()}, 1, 2, 3, 4, 5, 6, 7, 8)
	b.expect("until a time that has not come", inspect.Query{Until: inspect.AtTime(epoch.Add(time.Hour))}, 1, 2, 3, 4, 5, 6, 7, 8)
	b.expect("newest before a time", inspect.Query{From: inspect.Newest(3), Until: inspect.AtTime(epoch.Add(6 * time.Millisecond))}, 3, 4, 5)
	b.expect("end", inspect.Query{From: inspect.End()})
	p := b.expect("limit", inspect.Query{MaxMessages: 5}, 1, 2, 3, 4, 5)
	if p.Stopped != inspect.StoppedLimit {
		t.Errorf("stopped by %q", p.Stopped)
	}
	b.expect("the next page", inspect.Query{From: inspect.AtPositions(p.Next)}, 6, 7, 8)
	if p := b.expect("bytes", inspect.Query{MaxBytes: 8}, 1, 2); p.Stopped != inspect.StoppedLimit || p.Bytes != 6 { // three bytes each
		t.Errorf("%+v", p)
	}

	var seen []int
	p, err := b.Read(t.Context(), inspect.Query{Topic: topic}, func(m inspect.Message) error {
		seen = append(seen, len(m.Value))
		return inspect.ErrStop
	})
	if err != nil || p.Stopped != inspect.StoppedCaller || len(seen) != 1 {
		t.Errorf("stopped by the caller: %v %+v", err, p)
	}
	b.expect("after the stop", inspect.Query{From: inspect.AtPositions(p.Next)}, 2, 3, 4, 5, 6, 7, 8)
	mine := errors.New("mine")
	if _, err := b.Read(t.Context(), inspect.Query{Topic: topic}, func(inspect.Message) error { return mine }); err != mine {
		t.Errorf("the callback's error came back as %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	b := newBench(t)
	none := func(inspect.Message) error { return nil }
	if _, err := b.Read(t.Context(), inspect.Query{Topic: "nope"}, none); !errors.Is(err, inspect.ErrNoTopic) {
		t.Error(err)
	}
	if _, err := b.Read(t.Context(), inspect.Query{Topic: topic, Partitions: []int32{3}}, none); !errors.Is(err, inspect.ErrNoTopic) {
		t.Error(err)
	}
	if _, err := b.Read(t.Context(), inspect.Query{Topic: topic, Follow: true, Until: inspect.AtTime(epoch)}, none); err == nil {
		t.Error("followed to an end")
	}
	if _, err := b.Read(t.Context(), inspect.Query{Topic: topic, Filter: &inspect.Filter{Regexp: "("}}, none); err == nil {
		t.Error("took half an expression")
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.write(at(0, 1), at(0, 2))
	p, err := b.Read(ctx, inspect.Query{Topic: topic, Follow: true}, func(inspect.Message) error { cancel(); return nil })
	if err != nil || p.Stopped != inspect.StoppedCancelled {
		t.Errorf("cancelled: %v %+v", err, p)
	}
}

// TestTails: the ends of the partitions hold what is no message: markers, aborted
// and open transactions. Reading ends all the same, and newest finds what lies
// before them.
func TestTails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.transaction(true, at(0, 1), at(1, 2))
	for range 90 { // more than newest steps back at first
		b.transaction(false, at(0, 100), at(1, 100))
	}
	open := b.client(kgo.TransactionalID("open"))
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := open.ProduceSync(t.Context(), at(1, 200), at(2, 200)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.write(at(2, 300)) // after an open transaction: not to be seen yet
	b.expect("oldest", inspect.Query{}, 1, 2)
	b.expect("newest", inspect.Query{From: inspect.Newest(2)}, 1, 2)
	b.expect("newest one", inspect.Query{From: inspect.Newest(1)}, 2)
	if got, _ := b.read(inspect.Query{Uncommitted: true}); len(got) != 2+180+3 {
		t.Errorf("%d messages with those that are not committed", len(got))
	}
	b.expect("newest uncommitted", inspect.Query{From: inspect.Newest(3), Uncommitted: true}, 200, 200, 300)
	if err := open.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	b.expect("committed", inspect.Query{From: inspect.Newest(4)}, 2, 200, 200, 300)
	b.trim(0, 100)
	b.expect("trimmed", inspect.Query{}, 2, 200, 200, 300)
}

// TestNewestRandom compares with a sort of everything.
func TestNewestRandom(t *testing.T) {
	b := newBench(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var all []int
	for ms := 1; ms <= 1500; ms += 1 + rnd.IntN(3) {
		r := at(rnd.Int32N(parts), ms)
		if rnd.IntN(30) == 0 {
			b.transaction(rnd.IntN(2) == 0 && func() bool { all = append(all, ms); return true }(), r)
			continue
		}
		all = append(all, ms)
		b.write(r)
	}
	for _, n := range []int{1, 2, 7, 64, 65, 300, len(all), len(all) + 10} {
		b.expect(fmt.Sprint("newest ", n), inspect.Query{From: inspect.Newest(int64(n))}, all[max(0, len(all)-n):]...)
	}
	b.expect("all", inspect.Query{}, all...)
	var sevens []int
	for _, ms := range all {
		if ms%10 == 7 {
			sevens = append(sevens, ms)
		}
	}
	if len(sevens) < 20 {
		t.Skip("too few to filter")
	}
	p := b.expect("newest that match", inspect.Query{From: inspect.Newest(10), Filter: &inspect.Filter{Regexp: "^[0-9]*7$"}}, sevens[len(sevens)-10:]...)
	if p.Scanned <= 10 || p.Scanned > int64(len(all)) {
		t.Errorf("says it scanned %d of %d", p.Scanned, len(all))
	}
	// A search that is ended by its limit goes on where it ended, and stays in order.
	var back []string
	for from, rounds := inspect.Newest(10), 0; rounds < 1000; rounds++ {
		got, p := b.read(inspect.Query{From: from, MaxScanned: 60, Filter: &inspect.Filter{Regexp: "^[0-9]*7$"}})
		back = append(got, back...)
		if p.Before == nil {
			break
		}
		from = inspect.NewestBefore(10, p.Before)
	}
	if want := numbers(sevens...); !slices.Equal(back, want) {
		t.Errorf("pages back hold %v, want %v", back, want)
	}
	// Page by page, nothing is lost and nothing comes twice.
	var paged []string
	next := map[int32]int64{0: 0, 1: 0, 2: 0}
	for range 1000 {
		got, p := b.read(inspect.Query{From: inspect.AtPositions(next), MaxMessages: 37})
		paged, next = append(paged, got...), p.Next
		if p.Stopped == inspect.StoppedEnd {
			break
		}
	}
	slices.SortFunc(paged, func(a, b string) int { x, _ := strconv.Atoi(a); y, _ := strconv.Atoi(b); return x - y })
	if !slices.Equal(paged, numbers(all...)) {
		t.Errorf("pages hold %d of %d messages", len(paged), len(all))
	}
}

// TestNewestBefore pages back through messages whose timestamps do not rise along
// a partition: each comes once, and of two of one partition the later one first.
func TestNewestBefore(t *testing.T) {
	b := newBench(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	written := map[int32][]string{}
	for i := range 400 {
		r := at(rnd.Int32N(parts), i-rnd.IntN(40)+40)
		r.Value = strconv.AppendInt(nil, int64(i), 10)
		if rnd.IntN(25) == 0 { // an aborted one leaves a hole
			b.transaction(false, r)
			continue
		}
		b.write(r)
		written[r.Partition] = append(written[r.Partition], string(r.Value))
	}
	even := &inspect.Filter{Regexp: "^[0-9]*[02468]$"}
	for _, q := range []inspect.Query{{}, {Filter: even}, {MaxScanned: 20}, {Filter: even, MaxScanned: 40}, {Filter: even, MaxScanned: 1}, {Filter: even, MaxMessages: 7}} {
		filter := q.Filter
		seen := map[int32][]string{} // oldest first
		from := inspect.Newest(7)
		for pages := 0; ; pages++ {
			if pages > 1500 {
				t.Fatal("the pages do not end")
			}
			page := map[int32][]string{}
			p, err := b.Read(t.Context(), inspect.Query{Topic: topic, From: from, Filter: filter, MaxScanned: q.MaxScanned, MaxMessages: q.MaxMessages}, func(m inspect.Message) error {
				page[m.Partition] = append(page[m.Partition], string(m.Value))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for id, values := range page {
				seen[id] = append(values, seen[id]...)
			}
			if p.Before == nil {
				break
			}
			from = inspect.NewestBefore(7, p.Before)
		}
		for id, all := range written {
			want := slices.DeleteFunc(slices.Clone(all), func(v string) bool {
				return filter != nil && (v[len(v)-1]-'0')%2 == 1
			})
			if !slices.Equal(seen[id], want) {
				t.Errorf("partition %d, filter %v, limit %d: %d messages %v, want %d %v", id, filter != nil, q.MaxScanned, len(seen[id]), seen[id], len(want), want)
			}
		}
	}
}

// TestFilteredMerge: a partition whose filter lets nothing through holds up nobody
// and the order stays.
func TestFilteredMerge(t *testing.T) {
	b := newBench(t)
	for ms := range 3000 {
		b.cl.Produce(t.Context(), at(int32(ms%2), ms), nil)
	}
	b.write(at(2, 10), at(2, 2990))
	if err := b.cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, p := b.read(inspect.Query{Filter: &inspect.Filter{Regexp: "^(10|20|30|2990)$"}})
	if !slices.Equal(got, numbers(10, 10, 20, 30, 2990, 2990)) {
		t.Errorf("%v", got)
	}
	if p.Scanned != 3002 || p.Matched != 6 {
		t.Errorf("%+v", p)
	}
	if _, p := b.read(inspect.Query{MaxScanned: 100, Filter: &inspect.Filter{Contains: "nothing"}}); p.Stopped != inspect.StoppedLimit || p.Scanned < 100 {
		t.Errorf("%+v", p)
	}
}

func TestFollow(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(1, 2))
	b.transaction(true, at(0, 3))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	var later sync.WaitGroup
	defer later.Wait()
	p, err := b.Read(ctx, inspect.Query{Topic: topic, From: inspect.Newest(2), Follow: true, Filter: &inspect.Filter{Regexp: "^[0-8]+$"}}, func(m inspect.Message) error {
		got = append(got, string(m.Value))
		switch len(got) {
		case 2: // the bounded part is over
			later.Go(func() {
				b.transaction(false, at(1, 50))
				b.write(at(2, 99), at(2, 4))
			})
		case 3:
			later.Go(func() { b.write(at(0, 5)) })
		case 4:
			cancel()
		}
		return nil
	})
	if err != nil || p.Stopped != inspect.StoppedCancelled || !slices.Equal(got, numbers(2, 3, 4, 5)) {
		t.Errorf("%v %+v %v", err, p, got)
	}
	if p.Matched != 4 || p.Scanned < 5 {
		t.Errorf("%+v", p)
	}
}

// TestExactBytes: keys, values, headers and times arrive as they were written, nil
// differs from empty, and large messages pass.
func TestExactBytes(t *testing.T) {
	b := newBench(t)
	b.cl = b.client(kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	large := big(4 << 20)
	records := []*kgo.Record{
		{Topic: "large", Key: []byte{0, 255, '\n'}, Value: []byte("\xff\x00 not UTF-8"), Timestamp: epoch, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte{1, 2}}, {Key: "a", Value: nil}}},
		{Topic: "large", Value: []byte{}, Timestamp: epoch.Add(time.Millisecond)},
		{Topic: "large", Key: []byte{}, Timestamp: epoch.Add(2 * time.Millisecond)},
		{Topic: "large", Value: large, Timestamp: epoch.Add(3 * time.Millisecond)},
		{Topic: "large", Value: []byte("9007199254740993"), Timestamp: epoch.Add(4 * time.Millisecond)},
	}
	limit := "8388608"
	if _, err := b.admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, "large"); err != nil {
		t.Fatal(err)
	}
	b.write(records...)
	for name, q := range map[string]inspect.Query{"oldest": {}, "newest": {From: inspect.Newest(5)}} {
		q.Topic = "large"
		var got []inspect.Message
		if _, err := b.Read(t.Context(), q, func(m inspect.Message) error { got = append(got, m); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(records) {
			t.Fatalf("%s: %d messages", name, len(got))
		}
		for i, want := range records {
			m := got[i]
			if string(m.Key) != string(want.Key) || (m.Key == nil) != (want.Key == nil) || string(m.Value) != string(want.Value) || (m.Value == nil) != (want.Value == nil) || !m.Timestamp.Equal(want.Timestamp) || m.Offset != int64(i) || len(m.Headers) != len(want.Headers) {
				t.Errorf("%s: message %d: key %q, %d bytes of value, %v", name, i, m.Key, len(m.Value), m.Timestamp)
			}
		}
		if h := got[0].Headers; string(h[0].Value) != "\x01\x02" || h[1].Key != "a" || h[1].Value != nil {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

// TestEndsBeforeAnOpenTransaction: reading does not wait for what may never be committed.
func TestEndsBeforeAnOpenTransaction(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1))
	open := b.client(kgo.TransactionalID("open"))
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := open.ProduceSync(t.Context(), at(0, 2)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if p := b.expect("committed", inspect.Query{}, 1); p.End[0] != 1 {
		t.Errorf("it ends at %d, the transaction begins at 1", p.End[0])
	}
	if p := b.expect("uncommitted", inspect.Query{Uncommitted: true}, 1, 2); p.End[0] != 2 {
		t.Errorf("it ends at %d, there are 2", p.End[0])
	}
}

// TestBytesOfAPage: headers count, and one message that is larger than a page is a page of its own.
func TestBytesOfAPage(t *testing.T) {
	b := newBench(t)
	large := at(0, 2)
	large.Headers = []kgo.RecordHeader{{Key: "h", Value: big(100)}}
	b.write(at(0, 1), large, at(0, 3), at(0, 4))
	from := inspect.Oldest()
	for _, want := range [][]int{{1}, {2}, {3, 4}} {
		p := b.expect("page", inspect.Query{From: from, MaxBytes: 50}, want...)
		from = inspect.AtPositions(p.Next)
	}
}

// TestManyPartitionsShareTheMemory: the more partitions are read at once, the less a fetch asks for.
func TestManyPartitionsShareTheMemory(t *testing.T) {
	const many = 32
	b := newBench(t)
	if _, err := b.admin.CreateTopic(t.Context(), many, 1, nil, "many"); err != nil {
		t.Fatal(err)
	}
	for p := range int32(many) {
		r := at(p, int(p))
		r.Topic = "many"
		b.write(r)
	}
	var most atomic.Int64
	b.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		for _, of := range req.(*kmsg.FetchRequest).Topics {
			for _, p := range of.Partitions {
				most.Store(max(most.Load(), int64(p.PartitionMaxBytes)))
			}
		}
		return nil, nil, false
	})
	if got, _ := b.read(inspect.Query{Topic: "many"}); len(got) != many || most.Load() != 16<<20/many {
		t.Errorf("%d messages, and a fetch asked for up to %d bytes", len(got), most.Load())
	}
}

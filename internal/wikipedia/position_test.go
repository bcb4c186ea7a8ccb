package wikipedia

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

func part(topic string, partition int32, ms int64) event.Partition {
	return event.Partition{Topic: topic, Partition: partition, TimestampMS: ms}
}

func entryOf(topic string, partition int, position string) string {
	return fmt.Sprintf(`{"topic":%q,"partition":%d,%s}`, topic, partition, position)
}

func ids(entries ...string) string { return "[" + strings.Join(entries, ",") + "]" }

func ts(ms int64) string { return fmt.Sprintf(`"timestamp":%d`, ms) }

const silent = `"offset":-1`

func TestPositions(t *testing.T) {
	type in struct {
		id  string
		own int // the index expected; -2 = an error
	}
	for _, tt := range []struct {
		name  string
		known []event.Partition
		in    []in
		want  []event.Partition
	}{
		{"one partition", nil, []in{{ids(entryOf("a", 0, ts(100))), 0}, {ids(entryOf("a", 0, ts(105))), 0}}, []event.Partition{part("a", 0, 105)}},
		{"out of order by a few ms", nil, []in{{ids(entryOf("a", 0, ts(105))), 0}, {ids(entryOf("a", 0, ts(103))), 0}}, []event.Partition{part("a", 0, 105)}},
		{"an idle one learns the time of the first event", nil,
			[]in{{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, silent)), 0}, {ids(entryOf("a", 0, ts(900)), entryOf("b", 0, silent)), 0}},
			[]event.Partition{part("a", 0, 900), part("b", 0, 100)}},
		{"an idle one wakes up", nil,
			[]in{{ids(entryOf("b", 0, silent), entryOf("a", 0, ts(100))), 1}, {ids(entryOf("b", 0, ts(300)), entryOf("a", 0, ts(100))), 0},
				{ids(entryOf("b", 0, ts(300)), entryOf("a", 0, ts(301))), 1}},
			[]event.Partition{part("b", 0, 300), part("a", 0, 301)}},
		{"a known one keeps its time when it is silent", []event.Partition{part("a", 0, 50), part("b", 0, 70)},
			[]in{{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, silent)), 0}}, []event.Partition{part("a", 0, 100), part("b", 0, 70)}},
		{"an offset is not a time", nil, []in{{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, `"offset":77`)), 0}}, []event.Partition{part("a", 0, 100), part("b", 0, 100)}},
		{"both in one entry", nil, []in{{ids(entryOf("a", 0, `"offset":77,`+ts(100))), 0}}, []event.Partition{part("a", 0, 100)}},
		{"partitions of one topic are two", nil, []in{{ids(entryOf("a", 0, ts(100)), entryOf("a", 1, ts(101))), 1}, {ids(entryOf("a", 0, ts(102)), entryOf("a", 1, ts(101))), 0}},
			[]event.Partition{part("a", 0, 102), part("a", 1, 101)}},
		{"two events of one millisecond", nil, []in{{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, ts(50))), 0}, {ids(entryOf("a", 0, ts(100)), entryOf("b", 0, ts(50))), 0},
			{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, ts(51))), 1}, {ids(entryOf("a", 0, ts(100)), entryOf("b", 0, ts(51))), 1}},
			[]event.Partition{part("a", 0, 100), part("b", 0, 51)}},
		{"the order changes", nil, []in{{ids(entryOf("a", 0, ts(100)), entryOf("b", 0, ts(50))), 0}, {ids(entryOf("b", 0, ts(60)), entryOf("a", 0, ts(100))), 1}},
			[]event.Partition{part("a", 0, 100), part("b", 0, 60)}},
		{"spaces and other members", nil, []in{{`[ {"timestamp": 100 , "x":[1], "topic":"a","partition":0} ]`, 0}, {`[ {"timestamp": 107 , "x":[1], "topic":"a","partition":0} ]`, 0}},
			[]event.Partition{part("a", 0, 107)}},
		{"a name that looks like a timestamp", nil, []in{{ids(entryOf(`"timestamp":5`, 0, ts(100))), 0}, {ids(entryOf(`"timestamp":5`, 0, ts(101))), 0}},
			[]event.Partition{part(`"timestamp":5`, 0, 101)}},
		{"everything silent", nil, []in{{ids(entryOf("a", 0, silent)), -1}, {ids(entryOf("a", 0, ts(9))), 0}}, []event.Partition{part("a", 0, 9)}},
		{"nonsense leaves the position alone", []event.Partition{part("a", 0, 50)}, []in{
			{"", -2}, {"7", -2}, {"[]", -2}, {"[{}]", -2}, {`[{"topic":"a","partition":0,"timestamp":`, -2}, {`[{"topic":"a","partition":0,"timestamp":-4}]`, -2},
			{`[{"topic":"a","partition":0,"timestamp":1e3}]`, -2}, {`[{"topic":"a","partition":0,"timestamp":"5"}]`, -2}, {`[{"topic":"a","partition":99999999999,"timestamp":5}]`, -2},
			{ids(entryOf("a", 0, ts(1e15))), -2}, {ids(entryOf(strings.Repeat("x", 250), 0, ts(5))), -2}, {ids(entryOf("", 0, ts(5))), -2}},
			[]event.Partition{part("a", 0, 50)}},
		{"a good one after nonsense", nil, []in{{ids(entryOf("a", 0, ts(100))), 0}, {"]", -2}, {ids(entryOf("a", 0, ts(200))), 0}}, []event.Partition{part("a", 0, 200)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := positions{known: tt.known, own: -1}
			for i, in := range tt.in {
				own, err := p.update([]byte(in.id))
				if (err != nil) != (in.own == -2) || err == nil && own != in.own {
					t.Errorf("id %d: partition %d, %v; want %d", i, own, err, in.own)
				}
			}
			if !reflect.DeepEqual(p.known, tt.want) {
				t.Errorf("known %v, want %v", p.known, tt.want)
			}
		})
	}
}

// A server that makes up topics must not make the position grow for ever.
func TestPositionsAreBounded(t *testing.T) {
	p := positions{own: -1}
	for i := range 1000 {
		_, _ = p.update([]byte(ids(entryOf(fmt.Sprint("topic", i), 0, ts(int64(i))))))
	}
	if len(p.known) != maxPartitions || len(lastEventID(p.known)) > 4<<10 {
		t.Errorf("%d partitions, a header of %d bytes", len(p.known), len(lastEventID(p.known)))
	}
	if own, err := p.update([]byte(ids(entryOf("topic3", 0, ts(5000))))); own != 3 || err != nil {
		t.Errorf("a known one after that: %d, %v", own, err)
	}
}

// A server can name one partition any number of times.
func TestPositionsThatRepeat(t *testing.T) {
	p := positions{own: -1}
	for ms := range int64(3) {
		id := ids(slices.Repeat([]string{entryOf("a", 0, ts(100+ms))}, 2*maxPartitions)...)
		if own, err := p.update([]byte(id)); own != 0 || err != nil || p.known[0].TimestampMS != 100+ms {
			t.Errorf("partition %d, %v, at %d", own, err, p.known[0].TimestampMS)
		}
	}
}

// An event that is far ahead of the others takes the position a step ahead at most, also where it is the last one.
func TestAPositionFollowsNoSingleEvent(t *testing.T) {
	const hour = 3_600_000
	p := positions{own: -1}
	for _, ms := range []int64{t0, t0 + 1, t0 + hour} {
		if _, err := p.update([]byte(eqiadID(ms))); err != nil {
			t.Fatal(err)
		}
	}
	if at := p.known[0].TimestampMS; at < t0+1 || at > t0+1+stepMS {
		t.Errorf("at %d after %d and one event of an hour later", at, int64(t0+1))
	}
}

func TestPositionsAllocateNothing(t *testing.T) {
	p := positions{own: -1}
	var list [][]byte
	for i := range int64(100) {
		list = append(list, []byte(bothID(t0+i/3, t0)), []byte(bothID(t0+i/3, t0+1)))
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := p.update(list[i%len(list)]); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations an id, want 0", n)
	}
}

func TestLastEventID(t *testing.T) {
	for _, tt := range []struct {
		known []event.Partition
		want  string
	}{
		{nil, ""},
		{[]event.Partition{part("a", 0, 0)}, ""},
		{[]event.Partition{part("a", 0, 20_000)}, `[{"topic":"a","partition":0,"timestamp":5000}]`},
		{[]event.Partition{part("a", 0, 20_000), part("b", 3, 4)}, `[{"topic":"a","partition":0,"timestamp":5000},{"topic":"b","partition":3,"timestamp":0}]`},
	} {
		if got := lastEventID(tt.known); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.known, got, tt.want)
		}
	}
}

// FuzzPositions compares the quick way of reading ids with reading each anew.
func FuzzPositions(f *testing.F) {
	f.Add(bothID(100, 50), bothID(100, 51))
	f.Add(eqiadID(100), eqiadID(101))
	f.Add(`[{"timestamp": 1,"topic":"a","partition":0}]`, `[{"timestamp": 22,"topic":"a","partition":0}]`)
	f.Add(ids(entryOf("a", 0, ts(1)), entryOf("a", 0, ts(2))), ids(entryOf("a", 0, ts(3)), entryOf("a", 0, ts(2))))
	f.Add(`[{"topic":"\"timestamp\":1","partition":0,"timestamp":1}]`, `[{"topic":"\"timestamp\":2","partition":0,"timestamp":1}]`)
	// Names that the parser takes and the quick way does not know.
	f.Add(`[{"topic":"a","partition":0,"timestamp" : 1}]`, `[{"topic":"a","partition":0,"timestamp" : 2}]`)
	f.Add(`[{"topic":"a","partition":0,"timestAmp":0}]`, `[{"topic":"a","partition":0,"timestamp":3}]`)
	f.Add(`[{"topic":"a","partition":0,"timestamp":5,"timestAmp":5}]`, `[{"topic":"a","partition":0,"timestamp":7,"timestAmp":5}]`)
	f.Add(`[{"topic":"a","partition":0,"timestamp":5,"time\u0073tamp":5}]`, `[{"topic":"a","partition":0,"timestamp":7,"time\u0073tamp":5}]`)
	f.Add(`[{"topic":"a","partition":0,"timestamp":5,"timeſtamp":5}]`, `[{"topic":"a","partition":0,"timestamp":7,"timeſtamp":5}]`)
	f.Fuzz(func(t *testing.T, first, second string) {
		quick := positions{own: -1}
		if _, err := quick.update([]byte(first)); err != nil {
			t.Skip()
		}
		slow := positions{known: append([]event.Partition(nil), quick.known...), own: -1}
		_, err := quick.update([]byte(second))
		_, slowErr := slow.update([]byte(second))
		if (err != nil) != (slowErr != nil) {
			t.Fatalf("after %q, %q: %v; read anew: %v", first, second, err, slowErr)
		}
		if err == nil && !reflect.DeepEqual(quick.known, slow.known) {
			t.Errorf("after %q, %q: %v; read anew: %v", first, second, quick.known, slow.known)
		}
	})
}

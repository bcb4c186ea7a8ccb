package inspect_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/inspect"
)

// The text is what kafka-consumer-groups.sh of Apache Kafka 4.3 --export wrote for such names.
const several = `g,short,0,5
"with space",short,1,0
"has ""quotes"", and comma",this-name-has-24-letters,2,17
exactly-24-characters-go,"this-name-has-25-letters.",0,9223372036854775807
größe,short,3,1
`

var severalOffsets = []inspect.GroupOffset{
	{Group: "g", Topic: "short", Partition: 0, Offset: 5},
	{Group: "with space", Topic: "short", Partition: 1, Offset: 0},
	{Group: `has "quotes", and comma`, Topic: "this-name-has-24-letters", Partition: 2, Offset: 17},
	{Group: "exactly-24-characters-go", Topic: "this-name-has-25-letters.", Partition: 0, Offset: 9223372036854775807},
	{Group: "größe", Topic: "short", Partition: 3, Offset: 1},
}

func TestOffsetsAsKafkasToolWritesThem(t *testing.T) {
	var b bytes.Buffer
	if err := inspect.WriteOffsets(&b, severalOffsets, true); err != nil || b.String() != several {
		t.Errorf("%v: wrote\n%swant\n%s", err, b.String(), several)
	}
	if got, err := inspect.ReadOffsets(strings.NewReader(several)); err != nil || !slices.Equal(got, severalOffsets) {
		t.Errorf("%v: read %+v", err, got)
	}
	b.Reset()
	if err := inspect.WriteOffsets(&b, severalOffsets[2:4], false); err != nil || b.String() != "this-name-has-24-letters,2,17\n\"this-name-has-25-letters.\",0,9223372036854775807\n" {
		t.Errorf("one group: %v %q", err, b.String())
	}
	got, err := inspect.ReadOffsets(strings.NewReader("tape, 0, 7\r\ntape,1,8"))
	if err != nil || !slices.Equal(got, []inspect.GroupOffset{{Topic: "tape", Partition: 0, Offset: 7}, {Topic: "tape", Partition: 1, Offset: 8}}) {
		t.Errorf("%v %+v", err, got)
	}
	if got, err := inspect.ReadOffsets(strings.NewReader("")); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v %+v", err, got)
	}
}

func TestFilesOfOffsetsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"t,0\n":                        "line 1: want topic,partition,offset",
		"t,0,1\nt,0,2\n":               "line 2: partition 0 of topic \"t\" stands on line 1 already",
		"t,0,1\ng,t,1,2\n":             "line 2: some lines name a group",
		"topic,partition,offset\n":     "line 1: \"partition\" is not a partition",
		"t,-1,0\n":                     "line 1: \"-1\" is not a partition",
		"t,4294967296,0\n":             "is not a partition",
		"t,0,-5\n":                     "\"-5\" is not an offset",
		",0,5\n":                       "the topic is empty",
		",t,0,5\n":                     "the group is empty",
		"\"t,0,5\n":                    "line 1",
		strings.Repeat("x", 5<<20):     "larger than 4 MiB",
		manyLines(50_001):              "more than 50000 lines",
		"t,0,1\n\n\"a\nb\",0,1\nt,x,0": "line 5",
	} {
		if got, err := inspect.ReadOffsets(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q; read %d", text, err, want, len(got))
		}
	}
	if got, err := inspect.ReadOffsets(strings.NewReader(manyLines(50_000))); err != nil || len(got) != 50_000 {
		t.Errorf("as many as may be: %d %v", len(got), err)
	}
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t,%d,0\n", i)
	}
	return b.String()
}

// TestImportedOffsets: what was exported brings a group back to where it stood, and offsets
// outside of what is retained become its borders.
func TestImportedOffsets(t *testing.T) {
	b := newBench(t)
	store := b.store()
	for ms := range 30 {
		b.write(at(int32(ms%3), ms))
	}
	b.commit("g", 0, 4)
	b.commit("g", 2, 9)
	b.commit("h", 1, 1)
	list, err := b.CommittedOffsets(t.Context(), "h", "g")
	want := []inspect.GroupOffset{{Group: "h", Topic: topic, Partition: 1, Offset: 1}, {Group: "g", Topic: topic, Partition: 0, Offset: 4}, {Group: "g", Topic: topic, Partition: 2, Offset: 9}}
	if err != nil || !slices.Equal(list, want) {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := b.CommittedOffsets(t.Context(), "g", "none"); !errors.Is(err, inspect.ErrNoGroup) {
		t.Errorf("a group that does not exist: %v", err)
	}
	b.trim(0, 6)
	plan, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "new", Offsets: map[string]map[int32]int64{topic: {0: 4, 2: 99}, "other": {0: 0}}, Tallies: store})
	if err != nil || len(plan.Changes) != 3 {
		t.Fatalf("%+v %v", plan, err)
	}
	if err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.stands("new"); !maps.Equal(got, map[int32]int64{0: 6, 2: 10}) {
		t.Errorf("the group stands at %v", got)
	}
	if names, err := b.CommittedOffsets(t.Context(), "new"); err != nil || len(names) != 3 || names[0] != (inspect.GroupOffset{Group: "new", Topic: "other"}) {
		t.Errorf("%+v %v", names, err)
	}
	for name, offsets := range map[string]map[string]map[int32]int64{
		"partition": {topic: {3: 0}}, "topic": {"none": {0: 0}}, "empty": {},
	} {
		if _, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", Offsets: offsets}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// The counts of a counter group begin anew where the file says.
	b.count(store, "g", "", 0, 0, 8, map[string]int64{"create": 8})
	counted, err := b.PlanReset(t.Context(), inspect.ResetQuery{Group: "g", Offsets: map[string]map[int32]int64{topic: {0: 7}}, Tallies: store})
	if err != nil || len(counted.Changes) != 1 || counted.Changes[0].Tally == nil || counted.Changes[0].Tally.Dropped != 8 || counted.Apply(t.Context()) != nil {
		t.Fatalf("%+v %v", counted, err)
	}
	if all, err := store.Partitions(t.Context(), "g", topic); err != nil || all[0].Next != 7 || len(all[0].Counts) != 0 || b.stands("g")[0] != 7 || b.stands("g")[2] != 9 {
		t.Errorf("%+v %v, Kafka %v", all, err, b.stands("g"))
	}
}

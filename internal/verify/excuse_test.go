package verify_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAnotherSourcesDeletionExcusesNothing deletes dead letters of one source, and has another
// one lose some: what is gone of the one does not excuse what is missing of the other.
func TestAnotherSourcesDeletionExcusesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	letter := func(source string, partition int32, lost bool) item {
		return item{topic: "weir.dead-letters", kind: "malformed", source: source, partition: partition, lost: lost, silent: source != "bluesky"}
	}
	h.commit(letter("wikipedia", 1, false), letter("wikipedia", 1, false), letter("wikipedia", 1, false))
	h.trim("weir.dead-letters", 1, 3)
	h.commit(letter("bluesky", 0, true), letter("bluesky", 0, true), letter("bluesky", 0, false))
	check(t, h.verify(), want{dead: 1, lost: 2, problem: "seq 0 to 1 are missing"})
}

// TestCountsThatBeganLater has counts that began in the middle of a partition, as after a reset.
func TestCountsThatBeganLater(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(item{}, item{}, item{kind: "update"}, item{kind: "delete"})
	h.tally("mine", 0, h.topicID(dataTopic), 2, 4, map[string]int64{"update": 1, "delete": 1})
	check(t, h.verify(), want{events: 4, uncounted: 4})
	h.tally("mine", 0, h.topicID(dataTopic), 0, 2, map[string]int64{"create": 2}) // the update is the record that comes next
	check(t, h.verify(), want{events: 4, uncounted: 4})
	h.tally("mine", 0, h.topicID(dataTopic), 2, 4, map[string]int64{"create": 2, "update": 1, "delete": 1})
	check(t, h.verify(), want{events: 4, uncounted: 4, miscounted: 2, problem: `group mine has counted 2 of "create", there are 0`})
}

// TestTrimmedMuchMiscounted counts more than the offsets that were deleted could hold.
func TestTrimmedMuchMiscounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(item{}, item{}, item{}, item{}, item{})
	h.tally("mine", 0, h.topicID(dataTopic), 0, 5, map[string]int64{"create": 25})
	h.trim(dataTopic, 0, 2)
	check(t, h.verify(), want{events: 3, uncounted: 3, trimmed: 2, miscounted: 20, problem: "only 2 offsets were deleted"})
}

// TestOddNumbers has sequence numbers that no ingester writes: they are no numbers.
func TestOddNumbers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(item{}, item{})
	cl := h.client()
	for _, text := range []string{"02", "+2", "-1", "2.0", "", "two", "2222222222222222222"} {
		rec := &kgo.Record{Topic: dataTopic, Value: []byte(`{"id":99,"kind":"create"}`), Headers: []kgo.RecordHeader{{Key: "seq", Value: []byte(text)}}}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	check(t, h.verify(), want{events: 9, foreign: 7, uncounted: 9, note: `7 of these have a "seq" header that is not a number`})
}

// TestTypeThatIsNotCounted has counts without a type that the partition holds.
func TestTypeThatIsNotCounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(item{}, item{kind: "update"}, item{kind: "update"})
	h.tally("mine", 0, h.topicID(dataTopic), 0, 3, map[string]int64{"create": 1})
	check(t, h.verify(), want{events: 3, uncounted: 3, miscounted: 2, problem: `group mine has counted 0 of "update", there are 2`})
}

// TestTrimmedLessThanIsKept counts fewer events than are kept, of a log that the cursor's counts
// cannot settle.
func TestTrimmedLessThanIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	items := make([]item, 12)
	for i := range 6 {
		items[i].kind = "update"
	}
	h.commit(items...)
	h.commit(item{foreign: true})
	h.tally("mine", 0, h.topicID(dataTopic), 0, 12, map[string]int64{"update": 6, "create": 4})
	h.trim(dataTopic, 0, 6)
	check(t, h.verify(), want{events: 7, foreign: 1, uncounted: 7, trimmed: 6, miscounted: 2, unverifiable: 4, problem: `has counted 4 of "create", there are 6`})
}

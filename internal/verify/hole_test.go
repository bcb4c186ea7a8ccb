package verify

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAHoleForgetsTheFirstNumber: retention deletes records while a partition is read. Numbers
// below the first one behind the hole may have been among them, and are not lost.
func TestAHoleForgetsTheFirstNumber(t *testing.T) {
	src := &source{Source: Source{Name: "bluesky"}}
	l := newPortion(&stream{source: src, topic: Topic{Classify: func([]byte) string { return "create" }}}, &partition{topic: "t"})
	read := func(offset int64, seq string) {
		t.Helper()
		r := &kgo.Record{Offset: offset, Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("create")}, {Key: "seq", Value: []byte(seq)}}}
		if err := l.record(r, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	read(0, "5")
	if got := l.below(); got != 0 {
		t.Errorf("nothing was deleted, and numbers below %d may be missing", got)
	}
	l.hole()
	read(40, "50")
	read(41, "51")
	if got := l.below(); got != 50 {
		t.Errorf("numbers below %d may be missing, want 50", got)
	}
}

package watch

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
)

// How far back a topic reaches is the oldest of its partitions' first records. It stays known
// between two answers that say so, and rises with retention.
func TestHowFarBackATopicReaches(t *testing.T) {
	w, err := New(Config{Inspector: new(inspect.Inspector)})
	if err != nil {
		t.Fatal(err)
	}
	meta := kadm.Metadata{Topics: kadm.TopicDetails{"t": {Topic: "t", Partitions: kadm.PartitionDetails{0: {}, 1: {Partition: 1}, 2: {Partition: 2}}}}}
	at := func(zero, one int64) kadm.ListedOffsets {
		return kadm.ListedOffsets{"t": {0: {Timestamp: zero}, 1: {Partition: 1, Timestamp: one}, 2: {Partition: 2, Timestamp: -1}}} // 2 is empty
	}
	for _, tc := range []struct {
		firsts kadm.ListedOffsets
		want   int64
	}{{nil, 0}, {at(5000, 4000), 4000}, {nil, 4000}, {at(5000, 7000), 5000}, {at(-1, -1), 0}} {
		w.applyTopics(time.Now(), meta, logBounds{firsts: tc.firsts})
		if got := w.next.Topics["t"].Oldest; got != tc.want {
			t.Errorf("after %v: %d, want %d", tc.firsts, got, tc.want)
		}
	}
}

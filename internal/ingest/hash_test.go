package ingest

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestHashOfAKey has hashes of Kafka's own UtilsTest, less the sign.
func TestHashOfAKey(t *testing.T) {
	library := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for key, h := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-longer-string": -1486304829, "abc": 479470107} {
		r := &kgo.Record{Key: []byte(key)}
		r.Partition = keyHash(library, r)
		if want := h & math.MaxInt32; r.Partition != want {
			t.Errorf("the hash of %q is %d, want %d", key, r.Partition, want)
		}
		// The partition comes of the hash: this one would choose another.
		if got, want := (keyPartitioner{hashed(1)}).Partition(r, 7), int(h&math.MaxInt32)%7; got != want {
			t.Errorf("%q goes to partition %d, want %d", key, got, want)
		}
	}
}

// TestHashThatIsNotTold has a key whose hash the library's modulo hides: the library
// itself chooses the partition then.
func TestHashThatIsNotTold(t *testing.T) {
	hidden := hashed(math.MaxInt32)
	r := &kgo.Record{Key: []byte("k")}
	r.Partition = keyHash(hidden, r)
	if got, want := (keyPartitioner{hidden}).Partition(r, 6), math.MaxInt32%6; got != want {
		t.Errorf("partition %d, want %d", got, want)
	}
}

// hashed is a partitioner for which all keys have the same hash.
type hashed int

func (hashed) RequiresConsistency(*kgo.Record) bool { return true }

func (h hashed) Partition(_ *kgo.Record, n int) int { return int(h) % n }

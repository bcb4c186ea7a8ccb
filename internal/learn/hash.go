package learn

import (
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// murmur2 is the hash of a key without its sign, as Kafka's Java client uses it to choose a
// partition. Among the largest number of partitions the chosen one is the hash itself.
func murmur2(key []byte) uint32 {
	return uint32(kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: key}, math.MaxInt32))
}

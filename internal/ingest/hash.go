package ingest

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
)

// hashAll hashes the identities and keys of events that are not hashed yet. Called right
// behind the source, it finds their bytes in the processor's cache, which they leave later.
func (s *session) hashAll(events []event.Event) {
	var rec kgo.Record
	for i := range events {
		if e := &events[i]; e.Sum == [2]uint64{} {
			rec.Key = e.Key
			e.Sum, e.Hash = s.filter.ident(e.ID), keyHash(s.hash, &rec)
		}
	}
}

// partitioner sends records with a key where every Kafka client sends them, and
// those of some topics where they say.
type partitioner struct{ manual []string }

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if slices.Contains(p.manual, topic) {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return keyPartitioner{kgo.StickyKeyPartitioner(nil).ForTopic(topic)}
}

// keyPartitioner hides the sticky part of the library's partitioner, which costs
// a lock around every record and matters only to records without a key. Of a record it
// takes the hash from Partition, where keyHash has put it: by the time that records are
// partitioned their keys have left the processor's cache.
type keyPartitioner struct{ murmur2 kgo.TopicPartitioner }

func (keyPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (p keyPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition == unknownHash {
		return p.murmur2.Partition(r, n)
	}
	return int(r.Partition) % n
}

// unknownHash is keyHash's for a key whose hash it cannot tell.
const unknownHash = -1

// keyHash returns the hash of a record's key that every Kafka client takes modulo the
// number of partitions. The library tells a hash only modulo something: 0 may be two.
func keyHash(murmur2 kgo.TopicPartitioner, r *kgo.Record) int32 {
	if r.Key == nil { // chosen when it is produced
		return unknownHash
	}
	if h := murmur2.Partition(r, math.MaxInt32); h != 0 {
		return int32(h)
	}
	return unknownHash
}

package embedded

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// fairShare is what a partition may always bring: no batch of a topic with the
	// default max.message.bytes is larger, so none waits for ever.
	fairShare = 1<<20 + 4<<10
	// maxFetched bounds a response in which every partition brings its fair share. It
	// is below the 100 MB that librdkafka and franz-go accept.
	maxFetched = 90 << 20
)

// shareLimit turns the limit of bytes of a whole Fetch into limits of its partitions.
// When the module reaches the former in the middle of a partition it stops without
// listing the partition's aborted transactions, and the client delivers aborted
// records as committed. Its limit for a partition does not have this fault.
func shareLimit(frame []byte, req *kmsg.FetchRequest) []byte {
	n := 0
	for _, t := range req.Topics {
		n += len(t.Partitions)
	}
	if n > 0 {
		share := max(req.MaxBytes/int32(n), min(fairShare, maxFetched/int32(n)), 1)
		for i := range req.Topics {
			parts := req.Topics[i].Partitions
			for j := range parts {
				parts[j].PartitionMaxBytes = min(parts[j].PartitionMaxBytes, share)
			}
		}
	}
	req.MaxBytes = math.MaxInt32
	return replaceBody(frame, req)
}

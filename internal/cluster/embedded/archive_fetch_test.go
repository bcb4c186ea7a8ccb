package embedded

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch of the archive may be larger than the share that a partition has of a response. The
// response stays as small as the client allows nonetheless, and every partition has its turn.
func TestAFetchOfManyArchivedPartitions(t *testing.T) {
	const partitions, size = 30, 60_000 // ten partitions on each broker
	cfg := config{Config: Config{Dir: t.TempDir(), HotBatches: 1}, maxFetched: 300_000}
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", partitions, nil)
	r := rand.New(rand.NewPCG(1, 2))
	var records []*kgo.Record
	for i := range int32(2 * partitions) {
		records = append(records, &kgo.Record{Topic: "t", Partition: i % partitions, Value: noise(r, size)})
	}
	for _, half := range [][]*kgo.Record{records[:partitions], records[partitions:]} { // two batches each
		if err := client(t, c.Addrs(), manual()).ProduceSync(testCtx(t), half...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	enforce(t, c)
	for p := range int32(partitions) {
		if _, end, _ := c.archive.bounds(partition{"t", p}); end != 1 {
			t.Fatalf("partition %d is archived up to %d, want 1", p, end)
		}
	}
	cl := client(t, c.Addrs(), kgo.ConsumeTopics("t"), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(300_000), kgo.BrokerMaxReadBytes(400_000))
	ctx := testCtx(t)
	read := make(map[partition]int64)
	for n := 0; n < len(records); {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", n, len(records), err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			p := partition{"t", r.Partition}
			if r.Offset != read[p] || len(r.Value) != size {
				t.Errorf("partition %d: offset %d after %d", r.Partition, r.Offset, read[p])
			}
			read[p]++
			n++
		})
	}
}

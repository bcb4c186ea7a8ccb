package embedded

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A client writes a few kilobytes that decompress to 70 MiB, among other records. The pass that archives
// and the one that looks for superseded keys do not decompress them: they say so and go on with other
// partitions. Records that were written stay as they are.
func TestADecompressionBombIsNotArchived(t *testing.T) {
	for name, test := range map[string]struct {
		codec     kgo.CompressionCodec
		announces bool // how large the result is, so that nothing is taken for it
	}{
		"zstd": {kgo.ZstdCompression(), true}, "snappy": {kgo.SnappyCompression(), true},
		"gzip": {kgo.GzipCompression(), false}, "lz4": {kgo.Lz4Compression(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "zstd" {
				t.Skip("makes 140 MiB for each codec; run without -short")
			}
			c := tuned(t, config{Config: Config{Dir: t.TempDir()}, maxBatches: 900})
			createTopic(t, c.Addrs(), "t", 1, map[string]*string{"max.message.bytes": ptr("10000000")})
			createTopic(t, c.Addrs(), "compacted", 1, map[string]*string{"cleanup.policy": ptr("compact"), "max.message.bytes": ptr("10000000")})
			createTopic(t, c.Addrs(), "u", 1, nil)
			bomb := client(t, c.Addrs(), manual(), kgo.ProducerBatchMaxBytes(100<<20), kgo.BrokerMaxWriteBytes(200<<20), kgo.ProducerBatchCompression(test.codec))
			plain := client(t, c.Addrs(), manual(), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.DisableIdempotentWrite())
			for _, topic := range []string{"t", "compacted"} {
				r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: make([]byte, 70<<20)}
				if err := bomb.ProduceSync(testCtx(t), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			bomb.Close()
			for range minTrim/20 + 50 { // enough for both passes: 20 offsets a batch
				for _, topic := range []string{"t", "compacted", "u"} {
					rs := make([]*kgo.Record, 20)
					for i := range rs {
						rs[i] = &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v")}
					}
					if err := plain.ProduceSync(testCtx(t), rs...).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := allocated()
			if err := c.Enforce(testCtx(t)); !errors.Is(err, kgo.ErrMaxDecompress) {
				t.Errorf("the pass ended with %v", err)
			}
			if n := (allocated() - before) >> 20; test.announces && n > 200 {
				t.Errorf("%d MiB were allocated", n)
			}
			if _, _, ok := c.archive.bounds(partition{"u", 0}); !ok {
				t.Error("another partition is not archived")
			}
			if got := consume(t, c.Addrs(), "u", 0); len(got) != 20*(minTrim/20+50) {
				t.Errorf("%d records of the other partition are there", len(got))
			}
		})
	}
}

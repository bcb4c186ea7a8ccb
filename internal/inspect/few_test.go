package inspect_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

// TestFewMessages reads the first ten of many messages. It must not fetch the megabytes behind
// them, and it must get all ten although they do not fit into one fetch.
func TestFewMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	random := rand.NewChaCha8([32]byte{1}) // does not compress
	for n := range 200 {                   // 4 MB, each in a batch of its own
		value := make([]byte, 20<<10)
		_, _ = random.Read(value) // never fails
		value[0] = byte(n)
		if err := b.cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 0, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		max, asked int64
	}{{10, 64 << 10}, {100, 400 << 10}, {0, 2 << 20}} {
		var most atomic.Int64
		b.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			for _, of := range req.(*kmsg.FetchRequest).Topics {
				for _, p := range of.Partitions {
					most.Store(max(most.Load(), int64(p.PartitionMaxBytes)))
				}
			}
			return nil, nil, false
		})
		var got []byte
		_, err := b.Read(t.Context(), inspect.Query{Topic: topic, From: inspect.AtOffset(0), MaxMessages: test.max}, func(m inspect.Message) error {
			got = append(got, m.Value[0])
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := int(test.max)
		if want == 0 {
			want = 200
		}
		for n, v := range got {
			if int(v) != n {
				t.Fatalf("message %d is %d", n, v)
			}
		}
		if len(got) != want || most.Load() != test.asked {
			t.Errorf("at most %d messages: got %d, want %d; asked for %d bytes, want %d", test.max, len(got), want, most.Load(), test.asked)
		}
	}
}

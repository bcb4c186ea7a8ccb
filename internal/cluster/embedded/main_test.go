package embedded

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	decompressor = decompressOutside(decompressor)
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// outside decompresses in a goroutine that is in no bubble: the decoders of zstd have channels,
// which a finalizer closes, and that must not be done to channels of a bubble.
type outside struct {
	mu   sync.Mutex
	jobs chan job
	done chan job
}

type job struct {
	raw   []byte
	codec kgo.CompressionCodecType
	err   error
}

func decompressOutside(d kgo.Decompressor) *outside {
	o := &outside{jobs: make(chan job), done: make(chan job)}
	go func() {
		for j := range o.jobs {
			j.raw, j.err = d.Decompress(j.raw, j.codec)
			o.done <- j
		}
	}()
	return o
}

func (o *outside) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.jobs <- job{raw: src, codec: codec}
	j := <-o.done
	return j.raw, j.err
}

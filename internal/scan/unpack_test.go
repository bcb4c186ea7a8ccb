package scan

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBounded: a batch that decompresses to more than is allowed is an error, one
// that just fits is not.
func TestBounded(t *testing.T) {
	const limit = 1 << 20
	pack := map[string]struct {
		codec kgo.CompressionCodecType
		pack  func([]byte) []byte
	}{
		"gzip": {kgo.CodecGzip, func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, _ = w.Write(b)
			_ = w.Close()
			return out.Bytes()
		}},
		"lz4": {kgo.CodecLz4, func(b []byte) []byte {
			var out bytes.Buffer
			w := lz4.NewWriter(&out)
			_, _ = w.Write(b)
			_ = w.Close()
			return out.Bytes()
		}},
		"zstd": {kgo.CodecZstd, func(b []byte) []byte {
			w, _ := zstd.NewWriter(nil)
			defer w.Close()
			return w.EncodeAll(b, nil)
		}},
		"snappy": {kgo.CodecSnappy, func(b []byte) []byte { return s2.EncodeSnappy(nil, b) }},
	}
	for name, p := range pack {
		d := newBounded(limit)
		if out, err := d.Decompress(p.pack(make([]byte, limit)), p.codec); err != nil || len(out) != limit {
			t.Errorf("%s: what fits: %d bytes, %v", name, len(out), err)
		}
		if _, err := d.Decompress(p.pack(make([]byte, limit+1)), p.codec); !errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("%s: one byte too many: %v", name, err)
		}
		if _, err := d.Decompress(p.pack(make([]byte, 50*limit)), p.codec); !errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("%s: a bomb: %v", name, err)
		}
		if _, err := d.Decompress([]byte("garbage that is no frame"), p.codec); err == nil {
			t.Errorf("%s: took garbage", name)
		}
	}
}

package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// javaSnappy begins a batch of Java clients: the magic bytes, a version, and the oldest version that
// can read it. Blocks of snappy follow, each behind its length in four bytes.
const javaSnappy = "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"

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
		"snappy of Java clients": {kgo.CodecSnappy, func(b []byte) []byte {
			out := []byte(javaSnappy)
			for block := range slices.Chunk(b, 32<<10) {
				packed := s2.EncodeSnappy(nil, block)
				out = append(binary.BigEndian.AppendUint32(out, uint32(len(packed))), packed...)
			}
			return out
		}},
	}
	for name, p := range pack {
		d := NewDecompressor(limit)
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

// TestAnnouncedSizesTakeNoMemory: snappy says how large its result is before it is decompressed. A few
// bytes that announce a gigabyte take no memory, also in the blocks of Java clients.
func TestAnnouncedSizesTakeNoMemory(t *testing.T) {
	const limit = 1 << 20
	huge := string(binary.AppendUvarint(nil, 1<<30)) + "\x00x"
	small := string(s2.EncodeSnappy(nil, []byte("fine")))
	block := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	d := NewDecompressor(limit)
	for name, src := range map[string]string{
		"one block":                  huge,
		"a block of a Java client":   javaSnappy + block(huge),
		"a block behind another one": javaSnappy + block(small) + block(huge),
		"many blocks together":       javaSnappy + strings.Repeat(block(string(binary.AppendUvarint(nil, limit/2))+"\x00x"), 2000),
		"a block that is cut off":    javaSnappy + block(small) + block(huge)[:7],
		"a negative length":          javaSnappy + "\xff\xff\xff\xff" + huge,
		"half a length":              javaSnappy + block(small) + "\x00\x00",
	} {
		before := allocated()
		if out, err := d.Decompress([]byte(src), kgo.CodecSnappy); err == nil {
			t.Errorf("%s: %d bytes came of it", name, len(out))
		}
		if n := allocated() - before; n > 4*limit {
			t.Errorf("%s: %d MiB were allocated", name, n>>20)
		}
	}
}

// allocated is how many bytes this process has allocated since it began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

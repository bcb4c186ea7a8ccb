package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// NewDecompressor returns a decompressor of batches up to a size in bytes, beyond which it fails with
// kgo.ErrMaxDecompress. The client's own limit cannot be had outside a consumer, and the decompressor
// that can has none worth the name.
func NewDecompressor(limit int) kgo.Decompressor {
	// Concurrency 0 lets every caller have a decoder of its own; DecodeAll is safe
	// for concurrent use and starts no goroutine.
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		panic(err) // the options are constants
	}
	return &bounded{max: limit, inner: kgo.DefaultDecompressor(), zstd: z}
}

type bounded struct {
	max   int
	inner kgo.Decompressor
	zstd  *zstd.Decoder
}

// Decompress implements kgo.Decompressor.
func (b *bounded) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	switch codec {
	case kgo.CodecZstd:
		out, err := b.zstd.DecodeAll(src, nil)
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || err == nil && len(out) > b.max {
			return nil, kgo.ErrMaxDecompress
		}
		return out, err
	case kgo.CodecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return b.readAll(r)
	case kgo.CodecSnappy:
		if announced(src) > b.max {
			return nil, kgo.ErrMaxDecompress
		}
	case kgo.CodecLz4:
		return b.readAll(lz4.NewReader(bytes.NewReader(src)))
	}
	return b.inner.Decompress(src, codec)
}

// announced is how many bytes a snappy batch says that it becomes, for which memory is taken at once.
// Java clients put it in blocks behind a header of 16 bytes (xerial), each behind its length. What is
// broken is refused when it is decompressed.
func announced(src []byte) (total int) {
	if len(src) <= 16 || !bytes.HasPrefix(src, []byte("\x82SNAPPY\x00")) {
		total, _ = s2.DecodedLen(src)
		return total
	}
	for rest := src[16:]; len(rest) > 4; {
		size := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; int64(size) > int64(len(rest)) {
			return total
		}
		n, _ := s2.DecodedLen(rest[:size])
		total, rest = total+n, rest[size:]
	}
	return total
}

func (b *bounded) readAll(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(r, int64(b.max)+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n > int64(b.max) {
		return nil, kgo.ErrMaxDecompress
	}
	return out.Bytes(), nil
}

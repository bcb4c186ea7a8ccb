package bluesky

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-project/weir/internal/event"
)

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// received are the events of one message, as a batch has them.
func received(c *conn, kind int, frame []byte) (events []event.Event, pos Pos, err error) {
	b := event.NewBatch()
	defer b.Release()
	pos, err = c.event(b, kind, message{data: frame, size: int64(len(frame))})
	for _, ev := range b.Events {
		ev.Key, ev.Value, ev.ID, ev.Kind = bytes.Clone(ev.Key), bytes.Clone(ev.Value), bytes.Clone(ev.ID), strings.Clone(ev.Kind)
		events = append(events, ev)
	}
	return events, pos, err
}

// FuzzCompressed decodes a frame that is compressed with Jetstream's way as the text itself, and takes frames
// of any bytes: what becomes an event is what the streaming decoder reads, and no frame takes more
// memory than the largest message and a few copies of itself.
func FuzzCompressed(f *testing.F) {
	dict := dictionary(f, 77)
	z, other := compressor(f, dict), compressor(f, dictionary(f, 78))
	plain, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{v1(1, t0+1), "", "{", strings.Repeat("[", 600), v1(2, t0+2) + " ", large(3, t0+3, 20_000), "\x00\xff"} {
		f.Add([]byte(text), true)
		f.Add(z.EncodeAll([]byte(text), nil), false)
		f.Add(other.EncodeAll([]byte(text), nil), false)
		f.Add(plain.EncodeAll([]byte(text), nil), false)
	}
	f.Add(z.EncodeAll(make([]byte, 64<<20), nil), false)
	f.Add(append(z.EncodeAll([]byte(v1(1, t0+1)), nil), z.EncodeAll([]byte(v1(2, t0+2)), nil)...), false)
	f.Add([]byte("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00"), false) // announces 2^63 bytes
	f.Add([]byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"), false)                                 // a skippable frame of 4 GiB
	s, err := New(Config{URLs: []string{"ws://127.0.0.1:1/subscribe"}, Compress: true, Dictionary: dict})
	if err != nil {
		f.Fatal(err)
	}
	stream, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dict), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stream.Close)
	c := &conn{zstd: s.zstd, host: &host{addr: "h:1"}}
	f.Fuzz(func(t *testing.T, data []byte, text bool) {
		if text {
			want, wantPos, err := received(c, websocket.TextMessage, data)
			if err != nil {
				t.Fatal(err)
			}
			got, pos, err := received(c, websocket.BinaryMessage, z.EncodeAll(data, nil))
			if len(data) > 0 && (err != nil || pos != wantPos || !reflect.DeepEqual(got, want)) {
				t.Errorf("%q: %+v at %+v, %v; as text %+v at %+v", data, got, pos, err, want, wantPos)
			}
			return
		}
		before := allocated()
		got, _, err := received(c, websocket.BinaryMessage, data)
		if took := allocated() - before; took > 3*event.MaxValue+64*uint64(len(data))+1<<20 {
			t.Errorf("a frame of %d bytes took %d", len(data), took)
		}
		if err != nil {
			var se *event.StreamError
			if !errors.As(err, &se) || !se.Permanent || len(got) != 0 {
				t.Errorf("%q: %+v, %v", data, got, err)
			}
			return
		}
		if len(got) != 1 || len(got[0].Value) > event.MaxValue {
			t.Fatalf("%q: %d events", data, len(got))
		}
		undone := got[0].Route == event.Reject && (got[0].Kind == event.ReasonBinary || got[0].Kind == event.ReasonTooLarge)
		if undone && !bytes.Equal(got[0].Value, data[:min(len(data), len(got[0].Value))]) {
			t.Errorf("%q is kept as %q", data, got[0].Value)
		}
		if err := stream.Reset(iotest.OneByteReader(bytes.NewReader(data))); err != nil {
			return
		}
		inflated, err := io.ReadAll(io.LimitReader(stream, event.MaxValue+1))
		switch {
		case undone && got[0].Kind == event.ReasonBinary && err == nil && len(inflated) > 0:
			t.Errorf("%q is refused, and is %q", data, inflated)
		case errors.Is(err, zstd.ErrWindowSizeExceeded): // which it needs memory for, and weir's way does not
		case !undone && (err != nil || !slices.Equal(inflated, got[0].Value)):
			t.Errorf("%q is read as %q, and by the streaming decoder as %q, %v", data, got[0].Value, inflated, err)
		}
	})
}

// TestCompressedFramesThatAnnounceMore: sizes that are only announced take no memory.
func TestCompressedFramesThatAnnounceMore(t *testing.T) {
	s, err := New(Config{URLs: []string{"ws://127.0.0.1:1/subscribe"}, Compress: true, Dictionary: dictionary(t, 77)})
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{zstd: s.zstd, host: &host{addr: "h:1"}}
	for name, frame := range map[string]string{
		"2^63 bytes":                  "\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00",
		"4 MiB, and a byte":           "\x28\xb5\x2f\xfd\xa0\x00\x00\x40\x00\x09\x00\x00x",
		"a skippable frame of 4 GiB":  "\x50\x2a\x4d\x18\xff\xff\xff\xff",
		"a window of more than a TiB": "\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00",
	} {
		before := allocated()
		got, _, err := received(c, websocket.BinaryMessage, []byte(frame))
		if took := allocated() - before; took > 6<<20 {
			t.Errorf("%s: %d bytes were taken", name, took)
		}
		if err != nil || len(got) != 1 || got[0].Route != event.Reject || string(got[0].Value) != frame {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

package wikipedia

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

// BenchmarkReceive measures an event's way from the socket into a batch, beside
// decoding alone. The server's writing is no part of it: it repeats a buffer.
func BenchmarkReceive(b *testing.B) {
	data := page(1, t0, 1378)
	b.Run("decode", func(b *testing.B) {
		d, batch := NewDecoder(), event.NewBatch()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := d.Decode(batch, batch.CopyString(data)); err != nil {
				b.Fatal(err)
			}
			if batch.Bytes() >= upstream.MaxBatchBytes {
				batch.Release()
				batch = event.NewBatch()
			}
		}
	})
	b.Run("socket+decode", func(b *testing.B) {
		var events strings.Builder
		for i := range int64(100) {
			events.WriteString(message(eqiadID(t0+i), data))
		}
		s, err := New(Config{URL: "http://192.0.2.1/", Dial: repeat([]byte(events.String()))})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		n := 0
		_ = s.Stream(b.Context(), event.Cursor{}, func(batch *event.Batch) error {
			if n == 0 {
				b.ResetTimer()
			}
			n += len(batch.Events)
			batch.Release()
			if n >= b.N {
				return context.Canceled
			}
			return nil
		})
		b.StopTimer()
	})
}

// repeat returns a Dial to a server that sends the same events for ever.
func repeat(events []byte) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			var request [4 << 10]byte
			_, _ = c.Read(request[:])
			write(c, head)
			for {
				if _, err := c.Write(events); err != nil {
					return
				}
			}
		}()
		return net.Dial("tcp", l.Addr().String())
	}
}

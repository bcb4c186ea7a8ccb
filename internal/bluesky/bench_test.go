package bluesky

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

// BenchmarkReceive measures an event's way from the socket into a batch, beside
// its parts: decoding alone, and what most clients do with a WebSocket
// (ReadMessage, which allocates every message). The server's writing is part of
// none: it repeats a buffer of frames.
func BenchmarkReceive(b *testing.B) {
	b.Run("decode", func(b *testing.B) {
		d, batch := NewDecoder(), event.NewBatch()
		b.SetBytes(int64(len(benchFrame)))
		for b.Loop() {
			if _, err := d.Decode(batch, batch.CopyString(benchFrame)); err != nil {
				b.Fatal(err)
			}
			if batch.Bytes() >= upstream.MaxBatchBytes {
				batch.Release()
				batch = event.NewBatch()
			}
		}
	})
	b.Run("socket+decode", func(b *testing.B) {
		s, err := New(Config{URLs: []string{"ws://192.0.2.1/"}, Dial: repeat(b)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		b.ReportAllocs()
		b.SetBytes(int64(len(benchFrame)))
		n := 0
		_ = s.Stream(ctx, event.Cursor{}, func(batch *event.Batch) error {
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
	b.Run("ReadMessage", func(b *testing.B) {
		d := websocket.Dialer{NetDialContext: repeat(b)}
		ws, _, err := d.DialContext(b.Context(), "ws://192.0.2.1/", nil)
		if err != nil {
			b.Fatal(err)
		}
		defer ws.Close()
		b.ReportAllocs()
		b.SetBytes(int64(len(benchFrame)))
		for b.Loop() {
			if _, _, err := ws.ReadMessage(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// repeat returns a Dial to a server that sends the benchmark's frame for ever.
func repeat(b *testing.B) func(context.Context, string, string) (net.Conn, error) {
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
			p := &rawPeer{Conn: c, br: newBuffered(c)}
			p.upgrade()
			frames := []byte(strings.Repeat(rawFrame(fin|opText, benchFrame), 200))
			for {
				if _, err := c.Write(frames); err != nil {
					return
				}
			}
		}()
		return net.Dial("tcp", l.Addr().String())
	}
}

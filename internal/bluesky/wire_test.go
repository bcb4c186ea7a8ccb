package bluesky

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

// large returns a commit of exactly size bytes.
func large(n int, timeUS int64, size int) string {
	head, tail, _ := strings.Cut(v1(n, timeUS), `"text":"`)
	return head + `"text":"` + strings.Repeat("x", size-len(head)-len(tail)-len(`"text":"`)) + tail
}

// What is over the limit is kept by its head, size and digest, and the
// connection stays; what is not comes through whole, whatever libraries' default
// limits are (32 KiB, 64 KiB).
func TestLargeMessages(t *testing.T) {
	sizes := []int{32<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20, event.MaxValue, event.MaxValue + 1, 9 << 20}
	srv := serve(t, func(p *peer) {
		for i, size := range sizes {
			p.text(large(i, t0+int64(i), size))
		}
		p.text(v1(99, t0+99))
		p.bye()
	})
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	all := out.all()
	if len(all) != len(sizes)+1 {
		t.Fatalf("%d events, want %d", len(all), len(sizes)+1)
	}
	for i, size := range sizes {
		sent, got := large(i, t0+int64(i), size), all[i]
		if size <= event.MaxValue {
			if got.Route != event.Data || got.Value != sent {
				t.Errorf("%d bytes: %v of %d bytes: not what was sent", size, got.Route, len(got.Value))
			}
			continue
		}
		want := record{Route: event.Reject, Kind: event.ReasonTooLarge, ID: event.RejectID(sha256.Sum256([]byte(sent))), Value: sent[:event.MaxHead], Size: int64(size),
			Detail: "message of over 4 MiB"}
		if got != want {
			t.Errorf("%d bytes: %v %s, %s, size %d, head of %d", size, got.Route, got.Kind, got.ID, got.Size, len(got.Value))
		}
	}
	if last := all[len(sizes)]; last.ID != commitID(99) {
		t.Errorf("the event after them is %q", last.ID)
	}
}

// A message without end must neither grow the memory nor last for ever.
func TestEndlessMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("receives 256 MiB; run without -short")
	}
	piece := strings.Repeat("x", 1<<20)
	next := []byte(rawFrame(opContinue, piece))
	url := rawServer(t, func(p *rawPeer) {
		p.upgrade()
		p.send(rawFrame(opText, piece))
		for range 300 {
			if _, err := p.Write(next); err != nil {
				return
			}
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errEndless) {
		t.Errorf("ended with %v, want %v", err, errEndless)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("allocated %d MiB for it", grown>>20)
	}
}

func TestFragmentsAndControlFrames(t *testing.T) {
	whole := v1(1, t0)
	pong := make(chan string, 4)
	url := rawServer(t, func(p *rawPeer) {
		p.upgrade()
		p.send(rawFrame(opText, whole[:10]) + rawFrame(fin|opPing, "between") + rawFrame(opContinue, whole[10:100]) + rawFrame(opContinue, "") +
			rawFrame(fin|opPong, "unasked") + rawFrame(fin|opContinue, whole[100:]))
		for i := range v1(2, t0+1) { // a byte at a time
			p.send(rawFrame(fin|opText, v1(2, t0+1))[i : i+1])
		}
		p.send(rawFrame(fin|opText, v1(2, t0+1))[len(v1(2, t0+1)):])
		p.send(rawFrame(fin|opText, "") + rawFrame(fin|opPing, "again"))
		for range 2 {
			op, payload, err := p.readFrame()
			if err != nil || op != opPong {
				p.t.Errorf("client sent opcode %d, %v; want a pong", op, err)
			}
			pong <- payload
		}
	})
	out, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	if err == nil || !strings.Contains(err.Error(), "1006") {
		t.Errorf("ended with %v, want 1006", err)
	}
	if a, b := <-pong, <-pong; a != "between" || b != "again" {
		t.Errorf("pings answered with %q, %q", a, b)
	}
	all := out.all()
	if len(all) != 3 || all[0].Value != whole || all[1].Value != v1(2, t0+1) || all[2].Kind != event.ReasonMalformed || all[2].Value != "" {
		t.Errorf("got %v", all)
	}
}

// What breaks the protocol ends the connection with a reason and nothing worse;
// what came whole before it is kept.
func TestBrokenConnections(t *testing.T) {
	ok := rawFrame(fin|opText, v1(1, t0))
	for _, tt := range []struct{ name, bytes, want string }{
		{"closed without a close frame", ok, "1006"},
		{"cut inside a frame", ok + rawFrame(fin|opText, v1(2, t0))[:50], "1006"},
		{"cut inside a header", ok + rawFrame(fin|opText, v1(2, t0))[:3], "1006"},
		{"cut between fragments", ok + rawFrame(opText, "{"), "1006"},
		{"unknown opcode", ok + rawFrame(fin|0x3, "x"), "bad opcode"},
		{"reserved bit", ok + rawFrame(fin|0x40|opText, "x"), "RSV1"},
		{"continuation of nothing", ok + rawFrame(fin|opContinue, "x"), "continuation"},
		{"large control frame", ok + rawFrame(fin|opPing, strings.Repeat("x", 126)), "control"},
		{"masked by a server", ok + string([]byte{fin | opText, 0x81, 1, 2, 3, 4, 5}), "MASK"},
		{"length of 2^63", ok + string([]byte{fin | opText, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}), "limit"},
		{"close with a reason", ok + rawFrame(fin|0x8, "\x03\xe9bye"), "1001"},
		{"close with a bad code", ok + rawFrame(fin|0x8, "\x00\x01"), "bad close code"},
		{"not WebSocket at all", ok + "HTTP/1.1 200 OK\r\n\r\n", "RSV1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := rawServer(t, func(p *rawPeer) {
				p.upgrade()
				p.send(tt.bytes)
			})
			out, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
			var se *event.StreamError
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &se) {
				t.Errorf("ended with %v, want %q, and worth another try", err, tt.want)
			}
			if ids := out.ids(); len(ids) != 1 || ids[0] != commitID(1) {
				t.Errorf("brought %q, want the one whole event", ids)
			}
		})
	}
}

func TestUnexpectedBinary(t *testing.T) {
	srv := serve(t, func(p *peer) {
		p.frame(websocket.BinaryMessage, []byte("\x28\xb5\x2f\xfd rest"))
		p.text(v1(1, t0))
		p.bye()
	})
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	all := out.all()
	if len(all) != 2 || all[0].Route != event.Reject || all[0].Kind != event.ReasonBinary || all[0].Value != "\x28\xb5\x2f\xfd rest" || all[1].ID != commitID(1) {
		t.Errorf("got %v", all)
	}
}

// dictionary makes a zstd dictionary of posts, as Jetstream has one.
func dictionary(t testing.TB, id uint32) []byte {
	t.Helper()
	var samples [][]byte
	for i := range 300 {
		samples = append(samples, []byte(v1(i*7919, t0+int64(i)*977)))
	}
	history := []byte(strings.Repeat(v1(1, t0), 4))
	dict, err := zstd.BuildDict(zstd.BuildDictOptions{ID: id, Contents: samples, History: history, Offsets: [3]int{1, 4, 8}, Level: zstd.SpeedDefault})
	if err != nil {
		t.Fatal(err)
	}
	return dict
}

func compressor(t testing.TB, dict []byte) *zstd.Encoder {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dict), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestCompression(t *testing.T) {
	dict := dictionary(t, 77)
	z := compressor(t, dict)
	bomb := z.EncodeAll(make([]byte, 64<<20), nil)
	big := large(3, t0+3, 300_000) // outgrows the guess about its size
	srv := serve(t, func(p *peer) {
		p.frame(websocket.BinaryMessage, z.EncodeAll([]byte(v1(1, t0+1)), nil))
		p.text(v1(2, t0+2))
		p.frame(websocket.BinaryMessage, z.EncodeAll([]byte(big), nil))
		p.frame(websocket.BinaryMessage, []byte("no zstd"))
		p.frame(websocket.BinaryMessage, bomb)
		p.frame(websocket.BinaryMessage, z.EncodeAll([]byte(v1(4, t0+4)), nil))
		p.bye()
	})
	out, _ := streamOnce(t, open(t, Config{Compress: true, Dictionary: dict}, srv.url()), event.Cursor{})
	if got := srv.request(0).URL.Query().Get("compress"); got != "true" {
		t.Errorf("compress=%q", got)
	}
	type row struct{ kind, value string }
	want := []row{{"create", v1(1, t0+1)}, {"create", v1(2, t0+2)}, {"create", big}, {event.ReasonBinary, "no zstd"}, {event.ReasonTooLarge, string(bomb)}, {"create", v1(4, t0+4)}}
	var got []row
	for _, ev := range out.all() {
		got = append(got, row{ev.Kind, ev.Value})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %.2000v\nwant %.2000v", got, want)
	}
}

func TestAnotherDictionary(t *testing.T) {
	z := compressor(t, dictionary(t, 78))
	srv := serve(t, func(p *peer) { p.frame(websocket.BinaryMessage, z.EncodeAll([]byte(v1(1, t0)), nil)); p.bye() })
	out, err := streamOnce(t, open(t, Config{Compress: true, Dictionary: dictionary(t, 77)}, srv.url()), event.Cursor{})
	var se *event.StreamError
	if !errors.As(err, &se) || !se.Permanent || !strings.Contains(err.Error(), "dictionary") || len(out.ids()) != 0 {
		t.Errorf("brought %q, ended with %v; want a permanent error about the dictionary", out.ids(), err)
	}
}

// inMemory returns a Dial whose far end is run by step.
func inMemory(t *testing.T, step func(*rawPeer)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			step(&rawPeer{Conn: far, br: newBuffered(far), t: t})
		}()
		return near, nil
	}
}

// No data and no ping for 45 s: the peer is dead, whatever TCP thinks. A ping
// in time is a sign of life.
func TestDeadPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) {
			p.upgrade()
			p.send(rawFrame(fin|opText, v1(1, t0)))
			for range 5 { // v1 servers ping every 30 s
				time.Sleep(30 * time.Second)
				p.send(rawFrame(fin|opPing, ""))
				if op, _, err := p.readFrame(); op != opPong || err != nil {
					t.Errorf("client sent opcode %d, %v; want a pong", op, err)
				}
			}
			p.send(rawFrame(fin|opText, v1(2, t0))[:20]) // half a frame, and then nothing, without a FIN
			_, _, _ = p.readFrame()
		})}, "ws://192.0.2.1/subscribe")
		start := time.Now()
		out := newSink()
		err := s.Stream(t.Context(), event.Cursor{}, out.emit)
		if took := time.Since(start); took != 150*time.Second+45*time.Second {
			t.Errorf("ended after %v, want 3m15s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "no message and no ping for 45s") {
			t.Errorf("ended with %v", err)
		}
		if ids := out.ids(); len(ids) != 1 {
			t.Errorf("brought %q", ids)
		}
	})
}

func TestSilentHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) { _, _ = io.Copy(io.Discard, p.br) })}, "ws://192.0.2.1/subscribe")
		start := time.Now()
		err := s.Stream(t.Context(), event.Cursor{}, newSink().emit)
		if took := time.Since(start); took != 15*time.Second || err == nil || !strings.Contains(err.Error(), "no answer for 15s") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A server that never ends its header must not fill the memory.
func TestEndlessHeader(t *testing.T) {
	var sent atomic.Int64
	url := rawServer(t, func(p *rawPeer) {
		_, _ = http.ReadRequest(p.br)
		p.send("HTTP/1.1 101 Switching Protocols\r\n")
		line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
		for {
			n, err := io.WriteString(p.Conn, line)
			sent.Add(int64(n))
			if err != nil || sent.Load() > 64<<20 {
				return
			}
		}
	})
	_, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	if err == nil || !strings.Contains(err.Error(), "256 kB") {
		t.Errorf("ended with %v after %d kB", err, sent.Load()>>10)
	}
	if sent.Load() > 32<<20 {
		t.Errorf("%d MB were accepted", sent.Load()>>20)
	}
}

// What has arrived is handed on before the next read, not when a batch is full;
// what arrives together travels together.
func TestHandOverIsPrompt(t *testing.T) {
	more, done := make(chan bool), make(chan bool)
	srv := serve(t, func(p *peer) {
		p.text(v1(1, t0))
		<-more
		p.text(v1(2, t0+1))
		<-done
	})
	s := open(t, Config{}, srv.url())
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := newSink(), make(chan error, 1)
	go func() { ended <- s.Stream(ctx, event.Cursor{}, out.emit) }()
	out.until(t, 1)
	if st := s.Status(); !st.Connected || st.Frames != 1 || st.LastEvent.IsZero() {
		t.Errorf("status %+v", st)
	}
	close(more)
	out.until(t, 2)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if st := s.Status(); st.Connected || st.LastError != "" {
		t.Errorf("status after a stop %+v", st)
	}
	close(done)
}

// Batches are bounded by events and bytes. The frames come in one write.
func TestBatchesAreBounded(t *testing.T) {
	const frames = 5000
	url := rawServer(t, func(p *rawPeer) {
		p.upgrade()
		var b strings.Builder
		for i := range frames {
			b.WriteString(rawFrame(fin|opText, v1(i, t0+int64(i))))
		}
		p.send(b.String())
	})
	out, _ := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	total := 0
	for _, n := range out.sizes {
		if n > upstream.MaxBatchEvents {
			t.Errorf("a batch of %d events", n)
		}
		total += n
	}
	if total != frames || len(out.sizes) > frames/50 {
		t.Errorf("%d events in %d batches, want %d in at most %d", total, len(out.sizes), frames, frames/50)
	}
	for i, ev := range out.all() {
		if ev.Value != v1(i, t0+int64(i)) {
			t.Fatalf("event %d is %q", i, ev.Value)
		}
	}
}

// While the queue is full nothing is read, so the socket stops the server.
func TestBackpressureReachesTheServer(t *testing.T) {
	var sent atomic.Int64
	frame := rawFrame(fin|opText, large(1, t0, 60_000))
	url := rawServer(t, func(p *rawPeer) {
		p.upgrade()
		for {
			if _, err := io.WriteString(p.Conn, frame); err != nil {
				return
			}
			sent.Add(int64(len(frame)))
		}
	})
	s := open(t, Config{}, url)
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan bool, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Stream(ctx, event.Cursor{}, func(b *event.Batch) error {
			b.Release()
			blocked <- true
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-blocked
	last, still := int64(-1), 0
	for still < 5 { // until the server has stood still for a while
		time.Sleep(20 * time.Millisecond)
		if now := sent.Load(); now == last {
			still++
		} else {
			last, still = now, 0
		}
		if last > 256<<20 {
			t.Fatal("the server could send 256 MB while nothing was taken")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestEmitErrorComesBackUnchanged(t *testing.T) {
	srv := serve(t, func(p *peer) { p.text(v1(1, t0)); p.text(v1(2, t0)) })
	full := errors.New("queue closed")
	err := open(t, Config{}, srv.url()).Stream(t.Context(), event.Cursor{}, func(b *event.Batch) error { b.Release(); return full })
	if !errors.Is(err, full) || err.Error() != full.Error() {
		t.Errorf("ended with %v, want emit's own error", err)
	}
}

func TestStopWhileConnecting(t *testing.T) {
	connected := make(chan bool)
	url := rawServer(t, func(p *rawPeer) { close(connected); _, _ = io.Copy(io.Discard, p.br) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-connected; cancel() }()
	start := time.Now()
	if err := open(t, Config{}, url).Stream(ctx, event.Cursor{}, newSink().emit); !errors.Is(err, context.Canceled) || time.Since(start) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// Events must survive being cut into reads anywhere.
func TestAnyCutting(t *testing.T) {
	var stream strings.Builder
	for i := range 300 {
		stream.WriteString(rawFrame(fin|opText, v1(i, t0+int64(i))))
		if i%50 == 0 {
			stream.WriteString(rawFrame(fin|opPing, ""))
		}
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 0))
				s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) {
					p.upgrade()
					go func() { _, _ = io.Copy(io.Discard, p.br) }() // pongs
					for rest := stream.String(); rest != ""; {
						n := 1 + rng.IntN(min(len(rest), 1500))
						p.send(rest[:n])
						rest = rest[n:]
					}
				})}, "ws://192.0.2.1/subscribe")
				out := newSink()
				_ = s.Stream(t.Context(), event.Cursor{}, out.emit)
				all := out.all()
				if len(all) != 300 {
					t.Fatalf("%d events, want 300", len(all))
				}
				for i, ev := range all {
					if ev.Value != v1(i, t0+int64(i)) {
						t.Fatalf("event %d is %q", i, ev.Value)
					}
				}
			})
		})
	}
}

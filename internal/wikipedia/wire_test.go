package wikipedia

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

// rawServer accepts connections, reads the request, and hands each to the next
// step, below HTTP.
func rawServer(t *testing.T, steps ...func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for _, step := range steps {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Errorf("read request: %v", err)
			}
			step(c)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/v2/stream/recentchange"
}

// inMemory returns a Dial whose far end is run by step once it has the request.
func inMemory(step func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				step(far)
			}
		}()
		return near, nil
	}
}

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

func write(c net.Conn, s string) { _, _ = io.WriteString(c, s) }

// page is an event of which the data has exactly size bytes.
func page(n int, ms int64, size int) string {
	before, after, _ := strings.Cut(editData(n, ms), `"comment":"`)
	return before + `"comment":"` + strings.Repeat("x", size-len(before)-len(after)-len(`"comment":"`)) + after
}

// Messages reach 4 MiB, where a scanner of 64 KiB breaks. What is larger is kept
// by its head, size and digest, and the connection stays.
func TestLargeMessages(t *testing.T) {
	sizes := []int{32<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20, event.MaxValue, event.MaxValue + 1, 9 << 20}
	srv := serve(t, func(p *peer) {
		for i, size := range sizes {
			p.send(message(eqiadID(t0+int64(i)), page(i, t0+int64(i), size)))
		}
		p.send(": "+strings.Repeat("x", 6<<20)+"\n", edit(99, t0+99))
	})
	out, err := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	all := out.all()
	if len(all) != len(sizes)+1 || err != nil {
		t.Fatalf("%d events, %v; want %d", len(all), err, len(sizes)+1)
	}
	for i, size := range sizes {
		sent, got := page(i, t0+int64(i), size), all[i]
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
	if last := all[len(sizes)]; last.ID != uuid(99) {
		t.Errorf("the event after them is %q", last.ID)
	}
}

// As the standard allows it: a byte order mark, any line end, data on many lines,
// comments, an id of its own or the one before.
func TestOddButValidStreams(t *testing.T) {
	one := strings.Replace(editData(1, t0), `"type"`, "\n\"type\"", 1)
	url := rawServer(t, func(c net.Conn) {
		write(c, head+"\ufeff:ok\r\n\r\nevent: message\r\nid: "+eqiadID(t0)+"\r\ndata: "+strings.ReplaceAll(one, "\n", "\r\ndata: ")+"\r\n\r\n")
		write(c, "data: "+editData(2, t0)+"\r\r")
		write(c, ": a comment\n"+edit(3, t0+1)+"event: message\ndata: unfinished")
	})
	out, err := streamOnce(t, open(t, Config{}, url), event.Cursor{})
	if err != nil {
		t.Error(err)
	}
	all := out.all()
	if len(all) != 3 || all[0].Value != one || all[1].ID != uuid(2) || all[2].ID != uuid(3) {
		t.Errorf("got %v", all)
	}
}

// There are no heartbeats: 60 s of silence mean a dead peer. Comments count as life.
func TestDeadPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan bool)
		defer close(hold)
		s := open(t, Config{Dial: inMemory(func(c net.Conn) {
			write(c, head+edit(1, t0))
			for range 5 {
				time.Sleep(50 * time.Second)
				write(c, ":\n")
			}
			write(c, edit(2, t0)[:30]) // and then nothing, without a FIN
			<-hold
		})}, "http://192.0.2.1/v2/stream/recentchange")
		start, out := time.Now(), newSink()
		err := s.Stream(t.Context(), event.Cursor{}, out.emit)
		if took := time.Since(start); took != 310*time.Second || err == nil || !strings.Contains(err.Error(), "nothing for 1m0s") {
			t.Errorf("ended after %v with %v; want 5m10s, silence", took, err)
		}
		if ids := out.ids(); len(ids) != 1 {
			t.Errorf("brought %q", ids)
		}
		if st := s.Status(); st.Connected || st.LastError != err.Error() {
			t.Errorf("status %+v", st)
		}
	})
}

func TestSilentHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan bool)
		defer close(hold)
		s := open(t, Config{Dial: inMemory(func(net.Conn) { <-hold })}, "http://192.0.2.1/v2/stream/recentchange")
		start := time.Now()
		err := s.Stream(t.Context(), event.Cursor{}, newSink().emit)
		if took := time.Since(start); took != openTimeout || err == nil || !strings.Contains(err.Error(), "no answer for 30s") {
			t.Errorf("ended after %v with %v", took, err)
		}
	})
}

// Waiting for a full queue is not silence of the server.
func TestBackpressureIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(func(c net.Conn) { write(c, head+edit(1, t0)+edit(2, t0+1)) })}, "http://192.0.2.1/v2/stream/recentchange")
		err := s.Stream(t.Context(), event.Cursor{}, func(b *event.Batch) error {
			b.Release()
			time.Sleep(time.Hour)
			return nil
		})
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

// Connections live 15 minutes at most, however they end then: nobody needs to know.
func TestEndOfLifeIsNormal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		age    time.Duration
		end    string
		normal bool
	}{
		{"in good order", time.Minute, "0\r\n\r\n", true},
		{"cut inside a chunk, early", time.Minute, "ffff\r\nevent: mess", false},
		{"cut inside a chunk, at the end of its life", 15 * time.Minute, "ffff\r\nevent: mess", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := int(tt.age / (30 * time.Second))
				s := open(t, Config{Dial: inMemory(func(c net.Conn) {
					write(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
					for n := range events {
						ev := edit(n, t0+int64(n))
						write(c, fmt.Sprintf("%x\r\n%s\r\n", len(ev), ev))
						time.Sleep(30 * time.Second)
					}
					write(c, tt.end)
				})}, "http://192.0.2.1/v2/stream/recentchange")
				out := newSink()
				err := s.Stream(t.Context(), event.Cursor{}, out.emit)
				var se *event.StreamError
				if (err == nil) != tt.normal || errors.As(err, &se) {
					t.Errorf("ended with %v", err)
				}
				if got := len(out.ids()); got != events {
					t.Errorf("%d events, want %d", got, events)
				}
			})
		})
	}
}

// `retry:` is honoured by waiting with the next connection.
func TestReconnectionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(func(c net.Conn) { write(c, head+"retry: 7000\n\n"+edit(1, t0)) })}, "http://192.0.2.1/v2/stream/recentchange")
		start, out := time.Now(), newSink()
		for i := range 3 {
			if err := s.Stream(t.Context(), event.Cursor{}, out.emit); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != time.Duration(i)*7*time.Second {
				t.Errorf("connection %d ended after %v", i, took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Stream(ctx, event.Cursor{}, out.emit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped while waiting: %v", err)
		}
	})
}

// A position without partitions (ids that could not be read) resumes by time.
func TestResumeByTimeAlone(t *testing.T) {
	srv := serve(t, func(p *peer) {
		p.send("id: nonsense\ndata: "+editData(1, t0)+"\n\n", "data: "+editData(2, t0+1)+"\n\n")
	}, func(*peer) {})
	s := open(t, Config{}, srv.url())
	out, err := streamOnce(t, s, event.Cursor{})
	if err != nil || !reflect.DeepEqual(out.ids(), []string{uuid(1), uuid(2)}) {
		t.Fatalf("brought %q, %v", out.ids(), err)
	}
	if _, err := streamOnce(t, s, out.cursor(t)); err != nil {
		t.Error(err)
	}
	if r := srv.request(1); r.URL.RawQuery != "since=1791110045550" || r.Header.Get("Last-Event-ID") != "" {
		t.Errorf("asked with %q", r.URL.RawQuery)
	}
}

// An error event has no position, whatever id was current.
func TestErrorEventIsNoPosition(t *testing.T) {
	srv := serve(t, func(p *peer) {
		p.send(edit(1, t0), "event: error\nid: "+eqiadID(t0+3_600_000)+"\ndata: oops\n\n")
	})
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	if c := out.cursor(t); c.Partitions[0].TimestampMS != t0+1 || c.Last != uuid(1) {
		t.Errorf("cursor %+v", c)
	}
}

// What has arrived is handed on before the next read.
func TestHandOverIsPrompt(t *testing.T) {
	more, done := make(chan bool), make(chan bool)
	srv := serve(t, func(p *peer) {
		p.send(":ok\n\n", edit(1, t0))
		<-more
		p.send(edit(2, t0+1))
		<-done
	})
	s := open(t, Config{}, srv.url())
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := newSink(), make(chan error, 1)
	go func() { ended <- s.Stream(ctx, event.Cursor{}, out.emit) }()
	out.until(t, 1)
	if st := s.Status(); !st.Connected || st.Frames != 1 {
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

func TestBatchesAreBounded(t *testing.T) {
	const events = 3000
	srv := serve(t, func(p *peer) {
		var b strings.Builder
		for i := range events {
			b.WriteString(edit(i, t0+int64(i)))
		}
		p.send(b.String())
	})
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	total := 0
	for _, n := range out.sizes {
		if n > upstream.MaxBatchEvents {
			t.Errorf("a batch of %d events", n)
		}
		total += n
	}
	if total != events || len(out.sizes) > events/20 {
		t.Errorf("%d events in %d batches, want %d in at most %d", total, len(out.sizes), events, events/20)
	}
	for i, ev := range out.all() {
		if ev.Value != editData(i, t0+int64(i)) {
			t.Fatalf("event %d is %q", i, ev.Value)
		}
	}
}

func TestBackpressureReachesTheServer(t *testing.T) {
	var sent atomic.Int64
	big := message(eqiadID(t0), page(1, t0, 60_000))
	url := rawServer(t, func(c net.Conn) {
		write(c, head)
		for {
			if _, err := io.WriteString(c, big); err != nil {
				return
			}
			sent.Add(int64(len(big)))
		}
	})
	s := open(t, Config{}, url)
	ctx, cancel := context.WithCancel(t.Context())
	blocked, ended := make(chan bool, 1), make(chan error, 1)
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
	srv := serve(t, func(p *peer) { p.send(edit(1, t0)) })
	full := errors.New("queue closed")
	err := open(t, Config{}, srv.url()).Stream(t.Context(), event.Cursor{}, func(b *event.Batch) error { b.Release(); return full })
	if !errors.Is(err, full) || err.Error() != full.Error() {
		t.Errorf("ended with %v, want emit's own error", err)
	}
}

func TestEndlessHeader(t *testing.T) {
	url := rawServer(t, func(c net.Conn) {
		write(c, "HTTP/1.1 200 OK\r\n")
		line := "X-Filler: " + strings.Repeat("x", 1000) + "\r\n"
		for range 64 << 10 {
			if _, err := io.WriteString(c, line); err != nil {
				return
			}
		}
		t.Error("64 MB of header were taken")
	})
	if _, err := streamOnce(t, open(t, Config{}, url), event.Cursor{}); err == nil {
		t.Error("no error")
	}
}

package web

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l pipes) Close() error   { close(l.done); return nil }
func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// piped serves one connection in memory. It returns the client's end, what is closed when the server lets
// go of its own end, and what stops the server.
func piped(t *testing.T, handle http.HandlerFunc) (outside net.Conn, gone chan struct{}, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &Server{handler: handle}
	s.cfg.Log = slog.New(slog.DiscardHandler)
	s.work.open()
	l, ended := pipes{make(chan net.Conn), make(chan struct{})}, make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	outside, inside := net.Pipe()
	gone = make(chan struct{})
	l.conns <- &closing{Conn: inside, closed: gone}
	return outside, gone, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A client that sends a byte a second, or that does not read its answer, loses its connection, so that
// it holds a place and memory for a bounded time.
func TestSlowClientsAreLetGo(t *testing.T) {
	for name, c := range map[string]struct {
		send, drip string
		took       time.Duration
	}{
		"a header that drips":        {"", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: and on and on and on and on", 5 * time.Second},
		"a header that does not end": {"GET / HTTP/1.1\r\nHost: localhost\r\n", "", 5 * time.Second},
		"a body that drips":          {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", "{ and on and on and on and on and on and on and on", 30 * time.Second},
		"an answer that is not read": {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", answerTime},
		"nothing at all":             {"", "", 5 * time.Second},
		"an answer and then no more": {"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\n", "", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outside, gone, stop := piped(t, func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.ReadAll(r.Body); err == nil {
						_, _ = w.Write(make([]byte, 1<<20))
					}
				})
				begun := time.Now()
				var client sync.WaitGroup
				if name != "an answer that is not read" {
					client.Go(func() { _, _ = io.Copy(io.Discard, outside) })
				}
				client.Go(func() {
					_, _ = io.WriteString(outside, c.send)
					for i := range c.drip {
						if _, err := io.WriteString(outside, c.drip[i:i+1]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				<-gone
				if took := time.Since(begun); took < c.took || took > c.took+time.Second {
					t.Errorf("let go after %v, want %v", took, c.took)
				}
				_ = outside.Close()
				client.Wait()
				stop()
			})
		})
	}
}

// closing is a connection that notes when it is closed.
type closing struct {
	net.Conn
	closed chan struct{}
}

func (c *closing) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return c.Conn.Close()
}

// A live stream goes on for as long as its reader reads, however long the answer to a request may take.
func TestStreamsOutliveTheTimeOfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 5
		outside, _, stop := piped(t, func(w http.ResponseWriter, _ *http.Request) {
			out, err := newStream(w)
			for range events {
				time.Sleep(answerTime)
				out.event("alive", "", []byte("{}"))
				if err = cmp.Or(err, out.send()); err != nil {
					t.Error(err)
				}
			}
		})
		go func() {
			_, _ = io.WriteString(outside, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		}()
		got, err := io.ReadAll(outside)
		if n := strings.Count(string(got), "event: alive\n"); n != events || err != nil {
			t.Errorf("%d events of %d, %v", n, events, err)
		}
		_ = outside.Close()
		stop()
	})
}

// deadlines is a response that notes what was done with it.
type deadlines struct {
	*httptest.ResponseRecorder
	done []string
}

func (d *deadlines) SetWriteDeadline(time.Time) error {
	d.done = append(d.done, "deadline")
	return nil
}
func (d *deadlines) Write(b []byte) (int, error) {
	d.done = append(d.done, "write")
	return d.ResponseRecorder.Write(b)
}

// TestDownloadHasTimeForItsEnd: a filter may look for long behind the last message that it finds. What is
// buffered is written after that, and must not meet the deadline of that message.
func TestDownloadHasTimeForItsEnd(t *testing.T) {
	srv, cl := newServer(t, nil)
	produceAll(t, cl, 50)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?from=oldest", nil)
	r.SetPathValue("topic", "events")
	if err := srv.Config.Handler.(*Server).download(w, r); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.done, "write") || w.done[len(w.done)-1] != "deadline" {
		t.Errorf("the last thing is not a new deadline: %q", w.done[max(len(w.done)-4, 0):])
	}
}

package bluesky

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/event"
)

// strange sends frames of another service until the client goes.
func strange(kind int) func(*peer) {
	return func(p *peer) {
		for n := range 10_000 {
			if p.WriteMessage(kind, fmt.Appendf(nil, `{"price":%d}`, n)) != nil {
				return
			}
		}
	}
}

// A stream of something else ends before anything of it is stored.
func TestStreamThatIsNotUnderstood(t *testing.T) {
	for kind, missing := range map[int]string{websocket.TextMessage: "malformed", websocket.BinaryMessage: "binary message"} {
		srv := serve(t, strange(kind))
		s := open(t, Config{}, srv.url())
		out, err := streamOnce(t, s, event.Cursor{})
		var se *event.StreamError
		if !errors.As(err, &se) || !se.Permanent || len(out.all()) != 0 {
			t.Fatalf("%d events were handed on, %v; want none and a permanent error", len(out.all()), err)
		}
		for _, want := range []string{srv.url(), "50", missing, "--bluesky-url"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not name %s", err, want)
			}
		}
		if st := s.Status(); st.Connected || st.LastError != err.Error() || st.Rejects != 0 {
			t.Errorf("status %+v", st)
		}
	}
}

// A server that is none costs nothing where there is another one.
func TestStrangeServerIsLeftOut(t *testing.T) {
	const us = 1_791_110_060_549_000
	bad, good := serve(t, strange(websocket.TextMessage)), serve(t, func(p *peer) {
		p.text(`{"bad":1}`, `{"bad":2}`, v1(1, us))
	}, func(p *peer) { p.text(`{"bad":3}`) })
	s := open(t, Config{}, bad.url(), good.url())
	out, err := streamOnce(t, s, event.Cursor{})
	var se *event.StreamError
	if !errors.As(err, &se) || se.Permanent || len(out.all()) != 0 {
		t.Fatalf("%d events were handed on, %v; want none and a reason to try the next server", len(out.all()), err)
	}
	for i, want := range []int{3, 1} { // the few bad ones at the start, or the end, are dead letters
		out, err = streamOnce(t, s, event.Cursor{})
		if got := len(out.all()); got != want || err == nil || errors.As(err, &se) && se.Permanent {
			t.Errorf("connection %d to the other server: %d events, %v; want %d", i, got, err, want)
		}
	}
}

// An answer that is not a stream is refused soon, though it stays open.
func TestOpenAnswerIsRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n<html>":             "text/html",
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100000\r\n\r\ncome back later":              "come back later",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: and no end": "no whole answer for 2s",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) {
				_, _ = http.ReadRequest(p.br)
				time.Sleep(10 * time.Second) // a slow start is not a fault
				p.send(answer)
				_, _ = io.Copy(io.Discard, p.br)
			})}, "ws://192.0.2.1/subscribe")
			start := time.Now()
			err := s.Stream(t.Context(), event.Cursor{}, newSink().emit)
			if took := time.Since(start); took != 12*time.Second || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("after %v: %v; want %q after 12 s", took, err, want)
			}
		})
	}
}

// Bytes alone are no sign of life: pongs that nobody asked for, the pieces of a
// message that does not end.
func TestStreamWithoutMessagesIsNoticed(t *testing.T) {
	for name, drip := range map[string]string{"pongs": rawFrame(fin|opPong, "x"), "a message without an end": rawFrame(opContinue, "x")} {
		for _, every := range []time.Duration{10 * time.Millisecond, 7 * time.Second} {
			t.Run(name+" "+every.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) {
						p.upgrade()
						go func() { _, _ = io.Copy(io.Discard, p.br) }()
						p.send(rawFrame(fin|opText, v1(1, t0)))
						time.Sleep(40 * time.Second)
						p.send(rawFrame(fin|opPing, "") + rawFrame(opText, "{"))
						if drip[0] == fin|opPong {
							p.send(rawFrame(fin|opContinue, "}"))
						}
						for {
							time.Sleep(every)
							if _, err := io.WriteString(p.Conn, drip); err != nil {
								return
							}
						}
					})}, "ws://192.0.2.1/subscribe")
					start, out := time.Now(), newSink()
					err := s.Stream(t.Context(), event.Cursor{}, out.emit)
					if took := time.Since(start); took != 85*time.Second || err == nil || !strings.Contains(err.Error(), "no message and no ping for 45s") {
						t.Errorf("ended after %v with %v; want 1m25s and the reason", took, err)
					}
					time.Sleep(10 * time.Second) // the server notices
				})
			})
		}
	}
}

// A message that takes minutes to come is progress.
func TestSlowLargeMessageIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(t, func(p *rawPeer) {
			p.upgrade()
			go func() { _, _ = io.Copy(io.Discard, p.br) }()
			p.send(rawFrame(fin|opText, v1(1, t0)) + rawFrame(opText, "{"))
			for range 20 {
				p.send(rawFrame(opContinue, strings.Repeat("x", 1<<20)))
				time.Sleep(20 * time.Second)
			}
			p.send(rawFrame(fin|opContinue, "") + rawFrame(fin|opText, v1(2, t0+1)))
		})}, "ws://192.0.2.1/subscribe")
		out := newSink()
		_ = s.Stream(t.Context(), event.Cursor{}, out.emit)
		if all := out.all(); len(all) != 3 || all[1].Kind != event.ReasonTooLarge || all[1].Size != 20<<20+1 || all[2].ID != commitID(2) {
			t.Errorf("%d events: %v", len(all), out.ids())
		}
	})
}

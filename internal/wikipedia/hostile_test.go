package wikipedia

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// A proxy that compresses unasked would otherwise make a stream that is open and
// brings nothing.
func TestEncodedStreamIsRefused(t *testing.T) {
	for _, encodings := range [][]string{{"gzip"}, {"GZIP"}, {"br"}, {"identity", "zstd"}, {"identity, deflate"}} {
		t.Run(strings.Join(encodings, "+"), func(t *testing.T) {
			asked, gone := make(chan string, 1), make(chan bool)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Header.Get("Accept-Encoding")
				w.Header().Set("Content-Type", "text/event-stream")
				w.Header()["Content-Encoding"] = encodings
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, edit(1, t0))
				_ = z.Flush()
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done() // it stays open until the client goes
				close(gone)
			}))
			defer srv.Close()
			s := open(t, Config{}, srv.URL)
			out, err := streamOnce(t, s, event.Cursor{})
			var se *event.StreamError
			if err == nil || errors.As(err, &se) || len(out.ids()) != 0 {
				t.Fatalf("brought %q, %v; want nothing and an error after which weir connects again", out.ids(), err)
			}
			for _, want := range []string{strings.ToLower(strings.Join(encodings, ", ")), "Content-Encoding", "proxy", srv.Listener.Addr().String()} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
			if got := <-asked; got != "identity" {
				t.Errorf("asked for %q", got)
			}
			<-gone
			if st := s.Status(); st.Connected || st.Reconnects != 0 || st.LastError != err.Error() {
				t.Errorf("status %+v", st)
			}
		})
	}
	srv := serve(t, func(p *peer) { p.Header().Set("Content-Encoding", "identity"); p.send(edit(1, t0)) })
	if out, err := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{}); err != nil || len(out.ids()) != 1 {
		t.Errorf("identity: brought %q, %v", out.ids(), err)
	}
}

// Bytes alone are no sign of life: compressed ones without a header that says so,
// a page, lines that are neither an event nor a comment.
func TestStreamOfSomethingElseIsNoticed(t *testing.T) {
	for name, drip := range map[string]string{
		"binary": "\x1f\x8b\x08\x00\xff", "a page": "<p>wait</p>\n", "blank lines": "\n", "fields without data": "id: 1\nevent: message\n\n",
		"an endless event": "data: x\n", "an endless line": "data: xxxx",
	} {
		for _, every := range []time.Duration{0, 7 * time.Second} {
			t.Run(name+" "+every.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := open(t, Config{Dial: inMemory(func(c net.Conn) {
						write(c, head+":ok\n\n"+edit(1, t0))
						time.Sleep(50 * time.Second)
						write(c, ": a comment\n")
						begin := time.Now()
						for {
							time.Sleep(max(every, 10*time.Millisecond))
							if _, err := io.WriteString(c, drip); err != nil {
								break
							}
						}
						if took := time.Since(begin); took > 70*time.Second {
							t.Errorf("read for %v", took)
						}
					})}, "http://192.0.2.1/v2/stream/recentchange")
					start, out := time.Now(), newSink()
					err := s.Stream(t.Context(), event.Cursor{}, out.emit)
					if took := time.Since(start); took != 110*time.Second || err == nil || !strings.Contains(err.Error(), "neither an event nor a comment") {
						t.Errorf("ended after %v with %v; want 1m50s and the reason", took, err)
					}
					if ids := out.ids(); len(ids) != 1 || s.Status().LastError != err.Error() {
						t.Errorf("brought %q, status %+v", ids, s.Status())
					}
					time.Sleep(10 * time.Second) // the server notices
				})
			})
		}
	}
}

// An event over the limit that takes minutes to come is progress: a connection that
// ended there would meet it again and again.
func TestSlowLargeEventIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{Dial: inMemory(func(c net.Conn) {
			write(c, head+edit(1, t0)+"data: ")
			for range 20 {
				write(c, strings.Repeat("x", 1<<20))
				time.Sleep(10 * time.Second)
			}
			write(c, "\n\n"+edit(2, t0+1))
		})}, "http://192.0.2.1/v2/stream/recentchange")
		out := newSink()
		if err := s.Stream(t.Context(), event.Cursor{}, out.emit); err != nil {
			t.Error(err)
		}
		if all := out.all(); len(all) != 3 || all[1].Kind != event.ReasonTooLarge || all[1].Size != 20<<20 || all[2].ID != uuid(2) {
			t.Errorf("%d events, %v", len(all), out.ids())
		}
	})
}

// An answer that stays open is judged by its header, or by what came in a second.
func TestOpenAnswerIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, head, body string
		took             time.Duration
		want             []string
	}{
		{"a web page", "200 OK\r\nContent-Type: Text/HTML; charset=utf-8", "<html>", 0, []string{"web page", "text/html", "--wikipedia-url"}},
		{"a web page of which nothing comes", "200 OK\r\nContent-Type: text/html", "", 0, []string{"web page", "text/html"}},
		{"another type", "200 OK\r\nContent-Type: application/json", "{}", 0, []string{"application/json", "--wikipedia-url"}},
		{"a type of many bytes", "200 OK\r\nContent-Type: " + strings.Repeat("x", 4000), "", 0, []string{`"xxx`, "--wikipedia-url"}},
		{"a broken header", "200 OK\r\nContent-Type: \x1b" + strings.Repeat("x", 4000), "", 0, []string{"malformed"}},
		{"no type", "200 OK", "<!doctype html>", time.Second, []string{"web page"}},
		{"overloaded", "503 Service Unavailable", "come back later", time.Second, []string{"come back later"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan bool)
				defer close(hold)
				s := open(t, Config{Dial: inMemory(func(c net.Conn) {
					write(c, "HTTP/1.1 "+tt.head+"\r\nContent-Length: 100000\r\n\r\n"+tt.body)
					<-hold
				})}, "http://192.0.2.1/v2/stream/recentchange")
				start := time.Now()
				err := s.Stream(t.Context(), event.Cursor{}, newSink().emit)
				if took := time.Since(start); took != tt.took || err == nil {
					t.Fatalf("ended after %v with %v; want %v", took, err, tt.took)
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
						t.Errorf("%q does not name %s shortly", err, want)
					}
				}
			})
		})
	}
}

// A server cannot silence the stream for long, and its wish is reported.
func TestReconnectionTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := open(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Dial: inMemory(func(c net.Conn) {
			write(c, head+"retry: 86400000\n\n"+edit(1, t0))
		})}, "http://192.0.2.1/v2/stream/recentchange")
		if err := s.Stream(t.Context(), event.Cursor{}, newSink().emit); err != nil {
			t.Error(err)
		}
		until := time.Now().Add(time.Minute)
		for _, want := range []string{"192.0.2.1:80", "24h0m0s", "1m0s", until.Format(time.TimeOnly)} {
			if st := s.Status(); st.Connected || !strings.Contains(st.LastError, want) || !strings.Contains(log.String(), want) {
				t.Errorf("status %+v and log\n%s\ndo not both name %s", st, &log, want)
			}
		}
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("no warning in\n%s", &log)
		}
		if err := s.Stream(t.Context(), event.Cursor{}, newSink().emit); err != nil || !time.Now().Equal(until) {
			t.Errorf("the next connection ended at %v with %v, want %v", time.Now(), err, until)
		}
	})
}

// An event of a type that weir does not know is a dead letter and moves nothing,
// not even through the next event that has no ID of its own.
func TestOtherEventTypesAreNoPosition(t *testing.T) {
	later := eqiadID(t0 + 3_600_000)
	for name, sent := range map[string]string{
		"unknown":                "event: foo\nid: " + later + "\ndata: {}\n\n",
		"error":                  "event: error\nid: " + later + "\ndata: {}\n\n",
		"upper case":             "event: Message\nid: " + later + "\ndata: {}\n\n",
		"and one without an ID":  "event: foo\nid: " + later + "\ndata: {}\n\ndata: " + editData(2, t0+5) + "\n\n",
		"without data":           "event: foo\nid: " + eqiadID(t0) + "\n\n",
		"no ID, then the old ID": "event: foo\ndata: {}\n\ndata: " + editData(2, t0+5) + "\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(p *peer) { p.send(edit(1, t0), sent) })
			out, err := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
			if err != nil {
				t.Error(err)
			}
			c := out.cursor(t)
			if len(c.Partitions) != 2 || c.Partitions[0] != part(eqiad, 0, t0+1) {
				t.Errorf("cursor %+v: moved by an event that is no recent change", c)
			}
			for _, ev := range out.all()[1:] {
				if want := map[bool]event.Route{true: event.Reject, false: event.Data}[ev.Value == "{}"]; ev.Route != want {
					t.Errorf("%s became %v", ev.Value, ev.Route)
				}
			}
		})
	}
	// An ID of its own moves the position again, and one that stands alone counts for the next event.
	srv := serve(t, func(p *peer) {
		p.send(edit(1, t0), "event: foo\nid: "+later+"\ndata: {}\n\n", "id: "+eqiadID(t0+7)+"\n\n", "data: "+editData(2, t0+7)+"\n\n")
	})
	out, _ := streamOnce(t, open(t, Config{}, srv.url()), event.Cursor{})
	if c := out.cursor(t); c.Partitions[0] != part(eqiad, 0, t0+8) || c.Last != uuid(2) {
		t.Errorf("cursor %+v: want it at the last event", c)
	}
}

// pageChange is an event of another stream: it has no `type`.
func pageChange(n int, ms int64) string {
	return message(eqiadID(ms), fmt.Sprintf(`{"$schema":"/mediawiki/page/change/1.2.0","meta":{"id":%q,"domain":"en.wikipedia.org","dt":%q},"page_change_kind":"edit","wiki_id":"enwiki"}`,
		uuid(n), dt(ms)))
}

// A stream of something else ends before anything of it is stored, however it comes.
func TestStreamThatIsNotUnderstood(t *testing.T) {
	for name, pause := range map[string]bool{"in one piece": false, "one by one": true} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan int, 1)
			srv := serve(t, func(p *peer) {
				n := 0
				for ; p.r.Context().Err() == nil && n < 10_000; n++ {
					if pause {
						p.send(pageChange(n, t0+int64(n)))
					} else {
						_, _ = io.WriteString(p, pageChange(n, t0+int64(n)))
					}
				}
				sent <- n
			})
			url := srv.URL + "/events"
			s := open(t, Config{}, url)
			out, err := streamOnce(t, s, event.Cursor{})
			var se *event.StreamError
			if !errors.As(err, &se) || !se.Permanent || len(out.all()) != 0 || len(out.cursors) != 0 {
				t.Fatalf("%d events were handed on, %v; want none and a permanent error", len(out.all()), err)
			}
			for _, want := range []string{url, "50", "type is missing", "--wikipedia-url"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
			if n := <-sent; n < 50 {
				t.Errorf("it ended after %d events", n)
			}
			if st := s.Status(); st.Connected || st.LastError != err.Error() || st.Rejects != 0 {
				t.Errorf("status %+v", st)
			}
		})
	}
}

// Bad events at the start of a connection become dead letters, each of them, with
// the position after them: when an event comes that is understood, or at the end.
func TestBadEventsFirst(t *testing.T) {
	bad := func(n int) string { return message(eqiadID(t0+int64(n)), fmt.Sprintf(`{"bad":%d}`, n)) }
	var many string
	for n := range 47 {
		many += bad(10 + n)
	}
	step := make(chan bool)
	srv := serve(t,
		func(p *peer) { p.send(bad(1), bad(2)) },
		func(p *peer) { p.send(many, edit(60, t0+60)) },
		func(p *peer) { p.send(bad(61)); <-step; p.send(edit(60, t0+60), edit(62, t0+62)); <-step },
		func(p *peer) { p.send(edit(62, t0+62), bad(63)); <-step; p.send(edit(64, t0+64)) })
	s := open(t, Config{}, srv.url())
	var from event.Cursor
	var got []string
	for i, end := range []int64{t0 + 3, t0 + 61, t0 + 63, t0 + 65} {
		out, ended := newSink(), make(chan error, 1)
		go func() { ended <- s.Stream(t.Context(), from, out.emit) }()
		switch i {
		case 2: // the connection stays open: the good one releases what was held
			step <- true
			out.until(t, 3)
			step <- true
		case 3: // nothing is held once there was a good one
			out.until(t, 2)
			step <- true
		}
		if err := <-ended; err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		for _, ev := range out.all() {
			got = append(got, ev.Value)
		}
		if from = out.cursor(t); from.Partitions[0].TimestampMS != end {
			t.Errorf("connection %d: position %+v, want it at %d", i, from, end)
		}
	}
	want := []string{`{"bad":1}`, `{"bad":2}`}
	for n := range 47 {
		want = append(want, fmt.Sprintf(`{"bad":%d}`, 10+n))
	}
	want = append(want, editData(60, t0+60), `{"bad":61}`, editData(60, t0+60), editData(62, t0+62), editData(62, t0+62), `{"bad":63}`, editData(64, t0+64))
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

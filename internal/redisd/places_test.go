package redisd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/tally"
)

// talk opens a connection, sends a request and returns it with a reader.
func talk(t *testing.T, s *Server, format string, args ...any) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(40 * time.Second))
	if _, err := fmt.Fprintf(nc, format, args...); err != nil {
		t.Fatal(err)
	}
	return nc, bufio.NewReader(nc)
}

// Clients that send one request and then nothing lose their connection to others.
// Clients that wait, and those that subscribe, do not. weir's counters are admitted
// even if every place is taken by clients that wait.
func TestPlacesOfRedis(t *testing.T) {
	const conns = 6
	s, err := Open(Config{Addr: "127.0.0.1:0", conns: conns})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var silent []*bufio.Reader
	for range conns {
		_, r := talk(t, s, "PING\r\n")
		if got, err := r.ReadString('\n'); got != "+PONG\r\n" {
			t.Fatal(got, err)
		}
		silent = append(silent, r)
	}
	for i := range conns {
		if i%2 == 0 {
			talk(t, s, "BLPOP none 0\r\n")
			until(t, "the command waits", func() bool { return int(s.blocking.Load()) == i/2+1 })
			continue
		}
		_, r := talk(t, s, "SUBSCRIBE news\r\n")
		if got, err := r.ReadString('\n'); got != "*3\r\n" {
			t.Fatal(got, err)
		}
	}
	for i, r := range silent {
		if got, err := r.ReadString('\n'); err == nil {
			t.Errorf("silent connection %d: %q", i, got)
		}
	}
	_, r := talk(t, s, "PING\r\n")
	if got, _ := r.ReadString('\n'); !strings.HasPrefix(got, "-ERR max number of clients") {
		t.Errorf("one more than the bound: %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	counts, err := tally.Open(ctx, s.URL())
	if err != nil {
		t.Fatalf("weir's own connection: %v", err)
	}
	_ = counts.Close()
}

// Requests that the server works on keep others waiting, and close no connection.
// What MULTI has queued gives way.
func TestRequestsInWorkHaveABound(t *testing.T) {
	const bound, size = 4 << 20, 1 << 20
	s, err := Open(Config{Addr: "127.0.0.1:0", held: maxRequest + bound})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := func(command, key string) string {
		return fmt.Sprintf("*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(command), command, len(key), key, size, strings.Repeat("v", size))
	}
	s.gate.Lock() // the server is slow
	var replies []*bufio.Reader
	for i := range 12 {
		nc, r := talk(t, s, "")
		go func() { _, _ = nc.Write([]byte(set("SET", fmt.Sprint("k", i)))) }()
		replies = append(replies, r)
	}
	reached := func() bool { return s.budget.Waits() > 0 }
	for deadline := time.Now().Add(40 * time.Second); !reached() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s.gate.Unlock()
	for i, r := range replies {
		if got, err := r.ReadString('\n'); got != "+OK\r\n" {
			t.Errorf("reply %d: %q, %v", i, got, err)
		}
	}
	if s.budget.Waits() == 0 || s.budget.Closed() != 0 {
		t.Errorf("%d requests waited, %d connections closed", s.budget.Waits(), s.budget.Closed())
	}
	until(t, "nothing is held", func() bool { return s.budget.Held() == 0 })

	for range bound / size {
		talk(t, s, "MULTI\r\n%s", set("SET", "k"))
	}
	until(t, "all have arrived", func() bool { return s.budget.Held() > bound-size })
	setOK(t, s, size)
	if s.budget.Closed() == 0 {
		t.Errorf("nothing was closed, and %d bytes are held", s.budget.Held())
	}
}

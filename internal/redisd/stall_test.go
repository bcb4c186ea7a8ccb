package redisd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// stall opens a connection that announces a SET of 31 MiB and sends part of it.
func stall(t *testing.T, s *Server, sent int) {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if _, err := fmt.Fprintf(nc, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s", 31<<20, strings.Repeat("x", sent)); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// setOK stores a value as another client does and expects OK.
func setOK(t *testing.T, s *Server, size int) {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(nc, "*3\r\n$3\r\nSET\r\n$3\r\nown\r\n$%d\r\n%s\r\n", size, strings.Repeat("y", size))
	if got, err := bufio.NewReader(nc).ReadString('\n'); got != "+OK\r\n" {
		t.Errorf("SET of %d bytes: %q, %v", size, got, err)
	}
}

func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Open(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Only what has arrived counts: requests that were announced and not sent keep
// nobody else from being served.
func TestAnnouncedBytesDoNotCount(t *testing.T) {
	s := serve(t)
	const clients, sent = 20, 64 << 10
	for range clients {
		stall(t, s, sent)
	}
	counted := int64(clients * (sent + len("SETk") + 3*32 - intake.Free))
	until(t, "all bytes have arrived", func() bool { return s.budget.Held() == counted })
	setOK(t, s, 10)
	setOK(t, s, 1<<20)
}

// The bound closes clients that stall, and not the one that goes on.
func TestStalledRequestsHaveABound(t *testing.T) {
	const bound = 8 << 20
	s, err := Open(Config{Addr: "127.0.0.1:0", held: maxRequest + bound})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 4 {
		stall(t, s, 3<<20)
	}
	until(t, "a connection is closed", func() bool { return s.budget.Closed() > 0 })
	if n := s.budget.Held(); n > bound {
		t.Errorf("%d bytes held, the bound is %d", n, bound)
	}
	setOK(t, s, 10)
	setOK(t, s, 1<<20)
}

func TestARequestHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outside, inside := net.Pipe()
		defer outside.Close()
		q := &requestReader{
			r: bufio.NewReader(inside), request: intake.NewBudget(maxHeld).Request(func() {}),
			deadline: inside.SetReadDeadline,
		}
		go func() { _, _ = outside.Write([]byte("*2\r\n$3\r\nGET\r\n$1")) }()
		begun := time.Now()
		_, err := q.next()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != intake.Deadline {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
	})
}

// Connections that send nothing complete do not keep others out.
func TestManyConnections(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("WEIR_TEST_CONNECTIONS"))
	if err != nil {
		t.Skip("a long check; run it with: WEIR_TEST_CONNECTIONS=10000 go test -run ManyConnections ./internal/...")
	}
	s := serve(t)
	for range n {
		nc, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, _ = nc.Write([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$32000000\r\nx"))
	}
	until(t, "every connection was accepted", func() bool { return int(s.connections.Load()) >= n })
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d connections: %d MiB of the system's memory", n, m.Sys>>20)
	if m.Sys > 512<<20 {
		t.Errorf("%d MiB of the system's memory", m.Sys>>20)
	}
	setOK(t, s, 10)
	setOK(t, s, 1<<20)
}

// BenchmarkRequest is one small request and its reply, through the listener.
func BenchmarkRequest(b *testing.B) {
	s, err := Open(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	answer := make([]byte, 64)
	for b.Loop() {
		if _, err := nc.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}

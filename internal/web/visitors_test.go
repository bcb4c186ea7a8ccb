package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// stalled opens n connections to a server and sends part of a header on each. It
// returns the address.
func stalled(t *testing.T, n int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s := &Server{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
	s.cfg.Log = slog.New(slog.DiscardHandler)
	s.work.open()
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for range n {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nContent-Length: 99000000\r\n")
	}
	return l.Addr().String()
}

func getServed(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("a client among stalled ones: %v", err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "served" {
		t.Errorf("answered %q", b)
	}
}

// Connections that stall are displaced, and keep no other client out.
func TestStalledConnectionsAreDisplaced(t *testing.T) {
	getServed(t, stalled(t, intake.Share(maxVisitors)+20))
}

func TestManyConnections(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("WEIR_TEST_CONNECTIONS"))
	if err != nil {
		t.Skip("a long check; run it with: WEIR_TEST_CONNECTIONS=10000 go test -run ManyConnections ./internal/...")
	}
	getServed(t, stalled(t, n))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d connections: %d MiB of the system's memory", n, m.Sys>>20)
	if m.Sys > 512<<20 {
		t.Errorf("%d MiB of the system's memory", m.Sys>>20)
	}
}

// Bodies that were begun and not ended hold a bounded number of bytes.
func TestBodiesHaveABound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	list := newVisitors(l, 100, slog.New(slog.DiscardHandler))
	ended := make(chan struct{}, 20)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, ConnContext: connContext, Handler: served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		_, _ = io.ReadAll(r.Body)
	}))}
	go func() { _ = srv.Serve(list) }()
	defer srv.Close()
	const each, clients = 8 << 20, 12
	for range clients {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", each+1)
		go func() { _, _ = nc.Write(make([]byte, each)) }()
	}
	for range clients - maxBodies/each { // those that began first are closed
		<-ended
	}
	if n := list.bodies.Held(); n > maxBodies || list.bodies.Closed() == 0 {
		t.Errorf("%d bytes held, %d connections closed", n, list.bodies.Closed())
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
}

package kit

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestStalledConnectionsWaitAndAreCounted has clients that come, are served and close. The server
// serves one after the other, so each has to close its connection.
func TestStalledConnectionsWaitAndAreCounted(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	var passed atomic.Int64
	dial := stalled(func() time.Duration { return time.Microsecond }, &passed)
	for range 20 {
		c, err := dial(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
			t.Fatalf("the answer is %q, %v", got, err)
		}
		_ = c.Close()
	}
	if passed.Load() < 20 {
		t.Errorf("%d requests were delayed", passed.Load())
	}
	_ = ln.Close()
	<-ended
}

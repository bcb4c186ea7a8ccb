package kit

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// TestTheProxyForgetsClosedConnections has clients that come, are served and close.
func TestTheProxyForgetsClosedConnections(t *testing.T) {
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
	p, addr, err := openProxy("redis://"+ln.Addr().String(), func() time.Duration { return time.Microsecond }, &passed)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
			t.Fatalf("the proxy answers %q, %v", got, err)
		}
		_ = c.Close()
	}
	ok, err := Until(t.Context(), func() bool { return p.open.Load() == 0 })
	if err != nil || !ok {
		t.Errorf("the proxy still has %d connections (%v)", p.open.Load(), err)
	}
	if passed.Load() < 20 {
		t.Errorf("%d requests were delayed", passed.Load())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	_ = ln.Close()
	<-ended
}

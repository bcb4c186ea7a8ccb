package kit

import (
	"io"
	"net"
	"net/url"
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
	p, addr, err := openProxy("redis://"+ln.Addr().String(), time.Microsecond)
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
	ok, err := Until(t.Context(), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 0
	})
	if err != nil || !ok {
		t.Errorf("the proxy still knows %d connections (%v)", len(p.conns), err)
	}
	if p.Passed.Load() < 20 {
		t.Errorf("%d requests were delayed", p.Passed.Load())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	_ = ln.Close()
	<-ended
}

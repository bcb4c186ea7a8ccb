package web

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// TestVisitorsHaveABound: a connection too many takes the place of the one that was idle for
// longest, which is closed.
func TestVisitorsHaveABound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := newVisitors(l, 2, slog.New(slog.DiscardHandler))
	defer v.Close()
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted, err := v.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		clients = append(clients, c)
	}
	_ = clients[0].SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := clients[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first of three connections, of which there is room for two: %v", err)
	}
	_ = clients[1].SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := clients[1].Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		t.Error("the second one is closed, too")
	}
}

// TestBodiesAreCounted: what was read of a body counts until the request is answered.
func TestBodiesAreCounted(t *testing.T) {
	const size = 1 << 20
	budget := intake.NewBudget(8 * size)
	request := budget.Request(func() {})
	body := &countedBody{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, size))), request: request}
	if b, err := io.ReadAll(body); err != nil || len(b) != size {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if n := budget.Held(); n != size-intake.Free {
		t.Errorf("%d bytes are counted of %d", n, size)
	}
	if request.Done(); budget.Held() != 0 {
		t.Errorf("%d bytes are counted of an answered request", budget.Held())
	}
}

package kit

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is a frame as a client writes it in one call.
func request(key kmsg.Key) []byte {
	frame := make([]byte, 12)
	binary.BigEndian.PutUint32(frame, 8)
	binary.BigEndian.PutUint16(frame[4:], uint16(key))
	return frame
}

// TestANetworkCutsConnections writes Produce requests to a server that answers each with itself: the
// second is swallowed, the response to the fourth is lost. Then the network is cut for good.
func TestANetworkCutsConnections(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan int64, 1)
	go func() {
		n := int64(0)
		for {
			c, err := ln.Accept()
			if err != nil {
				arrived <- n / int64(len(request(kmsg.Produce)))
				return
			}
			got, _ := io.Copy(c, c)
			n += got
			_ = c.Close()
		}
	}()
	m := NewNetwork()
	m.CutEvery = 2
	var c net.Conn
	ask := func() error {
		if c == nil {
			if c, err = m.dial()(t.Context(), "tcp", ln.Addr().String()); err != nil {
				return err
			}
		}
		frame := request(kmsg.Produce)
		if _, err := c.Write(frame); err != nil {
			return err
		}
		_, err := io.ReadFull(c, frame)
		if err != nil {
			c = nil
		}
		return err
	}
	for i, want := range []error{nil, net.ErrClosed, nil, errCut, nil} {
		if err := ask(); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("request %d: %v, want %v", i+1, err, want)
		}
	}
	m.Cut()
	if err := ask(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the cut: %v", err)
	}
	c = nil
	if err := ask(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a new connection after the cut: %v", err)
	}
	_ = ln.Close()
	if n := <-arrived; n != 4 {
		t.Errorf("%d requests have arrived, want 4 of 5", n)
	}
	if s := m.State(); !s.Cut || s.Swallowed != 1 || s.Voided != 1 {
		t.Errorf("state = %+v", s)
	}
}

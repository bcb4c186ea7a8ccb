package simulate

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// WebSocket opcodes (RFC 6455).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// socket is a WebSocket that is written by hand, so that many frames go out with
// one write, half a frame when a fault says so, and nothing at all when the peer
// is to look dead. gorilla/websocket shakes hands and reads.
type socket struct {
	ws *websocket.Conn
	nc net.Conn

	mu    sync.Mutex // one writer at a time
	muted bool       // send nothing any more, not even a pong

	deadline sync.Mutex
	ending   bool // the deadline is final
}

func newSocket(ws *websocket.Conn) *socket {
	s := &socket{ws: ws, nc: ws.NetConn()}
	ws.SetReadLimit(maxClientMessage)
	ws.SetPingHandler(func(data string) error {
		return s.frame(opPong, []byte(data), time.Second)
	})
	ws.SetCloseHandler(func(code int, _ string) error {
		_ = s.frame(opClose, binary.BigEndian.AppendUint16(nil, uint16(code)), time.Second)
		return nil
	})
	return s
}

// follow ends reads and writes soon after ctx has ended.
func (s *socket) follow(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		s.deadline.Lock()
		defer s.deadline.Unlock()
		s.ending = true
		_ = s.nc.SetDeadline(time.Now().Add(100 * time.Millisecond))
	})
}

func (s *socket) within(d time.Duration) {
	s.deadline.Lock()
	defer s.deadline.Unlock()
	if !s.ending {
		_ = s.nc.SetWriteDeadline(time.Now().Add(d))
	}
}

// write sends bytes that are whole frames. patience is how long the peer may
// take nothing at all.
func (s *socket) write(p []byte, patience time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.muted {
		return nil
	}
	for len(p) > 0 {
		s.within(patience)
		n, err := s.nc.Write(p)
		p = p[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}

func (s *socket) frame(op byte, payload []byte, patience time.Duration) error {
	return s.write(append(appendFrameHeader(nil, op, len(payload)), payload...), patience)
}

// close sends the close frame and ends the connection.
func (s *socket) close(code int, reason string) {
	if len(reason) > 123 {
		reason = reason[:120] + "..."
	}
	_ = s.frame(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...), time.Second)
	_ = s.nc.Close()
}

func (s *socket) mute(m bool) {
	s.mu.Lock()
	s.muted = m
	s.mu.Unlock()
}

// appendFrameHeader appends the head of an unmasked, unfragmented frame.
func appendFrameHeader(dst []byte, op byte, n int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return append(dst, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// usualHeader is the head's size of frames of 126 to 65,535 bytes.
const usualHeader = 4

// sealFrame puts the head before the payload that begins at dst[at+usualHeader:].
func sealFrame(dst []byte, at int, op byte) []byte {
	payload := dst[at+usualHeader:]
	if n := len(payload); n < 126 || n >= 1<<16 {
		payload = slices.Clone(payload) // another head moves it
	}
	return append(appendFrameHeader(dst[:at], op, len(payload)), payload...)
}

//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/bluesky"
)

// serve is a process of its own: a Jetstream that sends all events as fast as the
// client reads them, many frames a write. It prints its URL, and ends with its
// standard input.
func serve(ctx context.Context, s settings) (result, error) {
	lines, err := load(s.file(sourceBS))
	if err != nil {
		return result{}, err
	}
	up := websocket.Upgrader{WriteBufferSize: 1 << 10}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer ws.Close()
		if flood(ws.NetConn(), lines) == nil {
			_, _, _ = ws.ReadMessage() // until the client has gone
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	fmt.Fprintf(os.Stderr, "ws://%s/subscribe\n", ln.Addr())
	srv := &http.Server{Handler: h} //nolint:gosec // the only client is this program
	go func() { <-ctx.Done(); _ = srv.Close() }()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return result{}, err
	}
	return result{}, nil
}

// flood writes text frames without a mask, as servers do.
func flood(conn net.Conn, lines [][]byte) error {
	var buf bytes.Buffer
	for i, line := range lines {
		var head [4]byte
		head[0] = 0x80 | websocket.TextMessage
		if len(line) > 125 && len(line) < 1<<16 {
			head[1] = 126
			binary.BigEndian.PutUint16(head[2:], uint16(len(line)))
			buf.Write(head[:4])
		} else if len(line) <= 125 {
			head[1] = byte(len(line))
			buf.Write(head[:2])
		} else {
			return fmt.Errorf("event %d is too long for this server: %d bytes", i, len(line))
		}
		buf.Write(line)
		if buf.Len() >= 64<<10 || i == len(lines)-1 {
			if _, err := conn.Write(buf.Bytes()); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	return nil
}

func ingestWebSocket(ctx context.Context, s settings) (_ result, err error) {
	lines, err := load(s.file(sourceBS)) // to know how many
	if err != nil {
		return result{}, err
	}
	url, stop, err := s.server(ctx)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	src, err := bluesky.New(bluesky.Config{URLs: []string{url}})
	if err != nil {
		return result{}, err
	}
	return ingestAll(ctx, s, src, len(lines))
}

package redisd

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"

	"github.com/alicebob/miniredis/v2/server"
)

// inner is a connection of this package itself to miniredis. Its user holds the gate.
type inner struct {
	srv  *server.Server
	peer *server.Peer
	buf  bytes.Buffer // the reply
	rd   *bufio.Reader
	err  error // the first one of do
}

// inner returns a connection in the state of ctx; nil for a new one.
func (s *Server) inner(ctx any) *inner {
	in := &inner{srv: s.redis.Server()}
	in.peer = server.NewPeer(bufio.NewWriter(&in.buf))
	in.peer.Ctx = ctx
	in.rd = bufio.NewReader(&in.buf)
	return in
}

// dispatch runs a command and returns its reply.
func (in *inner) dispatch(args ...string) (any, error) {
	in.buf.Reset()
	in.srv.Dispatch(in.peer, args)
	in.peer.Flush()
	in.rd.Reset(&in.buf)
	return server.ParseReply(in.rd)
}

// do runs a command in a database and returns its reply, nil after an error.
func (in *inner) do(db int, args ...string) any {
	_, err := in.dispatch("SELECT", strconv.Itoa(db))
	if err == nil {
		var v any
		if v, err = in.dispatch(args...); err == nil {
			return v
		}
	}
	if in.err == nil {
		in.err = fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func list(v any) []any { l, _ := v.([]any); return l }

func text(v any) string {
	if t, ok := v.(server.Simple); ok {
		return string(t)
	}
	t, _ := v.(string)
	return t
}

// pairs turns a flat list of names and values into a map.
func pairs(v any) map[string]any {
	l := list(v)
	m := make(map[string]any, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		m[text(l[i])] = l[i+1]
	}
	return m
}

package web

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// maxVisitors bounds the connections of the web server.
const maxVisitors = 1000

// visitors is a listener that admits maxVisitors connections. If there is no room
// for another one, it closes the oldest connection that never sent a complete
// request header, so that connections that stall keep nobody out.
type visitors struct {
	net.Listener

	mu     sync.Mutex
	number uint64
	conns  map[*visitor]struct{}
}

type visitor struct {
	net.Conn
	list   *visitors
	number uint64
	served atomic.Bool
}

// Accept implements net.Listener.
func (l *visitors) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err // net/http waits and calls again if it can
		}
		if v := l.admit(nc); v != nil {
			return v, nil
		}
		_ = nc.Close()
	}
}

func (l *visitors) admit(nc net.Conn) *visitor {
	l.mu.Lock()
	var oldest *visitor
	if len(l.conns) >= maxVisitors {
		for v := range l.conns {
			if !v.served.Load() && (oldest == nil || v.number < oldest.number) {
				oldest = v
			}
		}
		if oldest == nil {
			l.mu.Unlock()
			return nil
		}
		delete(l.conns, oldest)
	}
	l.number++
	v := &visitor{Conn: nc, list: l, number: l.number}
	l.conns[v] = struct{}{}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close()
	}
	return v
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.list.mu.Lock()
	delete(v.list.conns, v)
	v.list.mu.Unlock()
	return v.Conn.Close()
}

type visitorKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, visitorKey{}, c)
}

// served marks the connection of each request that has arrived.
func served(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := r.Context().Value(visitorKey{}).(*visitor); ok {
			v.served.Store(true)
		}
		h.ServeHTTP(w, r)
	})
}
